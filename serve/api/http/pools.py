"""Which thread pool runs a search: the request says how long it may take, before it has begun."""

from __future__ import annotations

from lexhound.retrieval.collection.clauses.tree import CLAUSES
from lexhound.retrieval.collection.request import SearchRequest

from .admission import Pool

# A hit with a snippet takes some times as long as one without, one with an explanation too.
_SNIPPET, _EXPLANATION = 4, 5
_HITS = 150
_DEEP = 1000
_CHARACTERS, _TERMS = 1000, 200


def pool_of(request: SearchRequest) -> Pool:
    """Return `search` for a page as people ask for it, `wide` for what costs as much as many of them."""
    page = request.k * (1 + _SNIPPET * request.highlight + _EXPLANATION * request.explain)
    if page > _HITS or request.depth > _DEEP or request.sort or request.collapse is not None:
        return "wide"
    if request.fusion is not None and request.fusion.depth > _DEEP:
        return "wide"
    if isinstance(request.query, CLAUSES):
        return "wide"
    return "wide" if len(request.query) > (_CHARACTERS if request.by_text else _TERMS) else "search"
