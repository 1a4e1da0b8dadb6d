"""Names of parameters and fields that a caller may have meant."""

from __future__ import annotations

from collections.abc import Collection

from lexhound.core.suggestions import nearest

# What others call them: (names, ours). Of ours, the first that the address or the body knows counts.
_OTHERS = {
    "q": ("query",),
    "query": ("q", "queries"),
    "text": ("q", "query"),
    **dict.fromkeys(("limit", "n", "size", "top_k", "topk", "count", "rows"), ("k",)),
    **dict.fromkeys(("from", "skip", "start"), ("offset",)),
    **dict.fromkeys(("where", "fq", "query_filter"), ("filter",)),
    **dict.fromkeys(("field", "select", "fl"), ("fields",)),
    "fields": ("field",),
    "explanation": ("explain",),
    "contributions": ("explain",),
}


def hint_for(name: str, known: Collection[str]) -> str:
    """Return what to write in place of a name that is not known."""
    if name == "query" and "vector" in known:
        return "give a query or a vector, not both"
    meant = [each for each in _OTHERS.get(name.lower(), ()) if each in known][:1] or nearest(name, known)
    if meant:
        return f"did you mean {' or '.join(meant)}?"
    return f"it may be one of {', '.join(known)}" if known else "leave it out"
