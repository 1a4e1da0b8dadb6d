"""Collections in other engines: one protocol, one set of addresses. See `opening` for how one is opened."""
