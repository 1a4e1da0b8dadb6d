"""Which lane a search goes by: what its request asks for says how long it may take, before it has begun."""

from __future__ import annotations

from lexhound.serve.api.schemas import models

from .admission import Lane

# A hit with a snippet takes some times as long as one without, one with an explanation too.
_SNIPPET, _EXPLANATION = 4, 5
_HITS = 150
_DEEP = 1000
_CHARACTERS, _TERMS = 1000, 200


def lane_of(body: models.SearchRequest) -> Lane:
    """`search` for a page as people ask for it, `wide` for what costs as much as many of them."""
    page = body.k * (1 + _SNIPPET * body.highlight + _EXPLANATION * body.explain)
    if page > _HITS or body.offset + body.k > _DEEP:
        return "wide"
    if body.fusion is not None and body.fusion.depth > _DEEP:
        return "wide"
    if isinstance(body, models.TextSearch):
        return "wide" if len(body.query) > _CHARACTERS else "search"
    return "wide" if len(body.vector) > _TERMS else "search"
