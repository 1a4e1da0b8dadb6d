"""Which of the modes of a search a request means."""

from __future__ import annotations

from lexhound.retrieval.collection.request import RankingOptions
from lexhound.retrieval.errors import QueryError


def resolve_mode(request: RankingOptions, *, dense: bool) -> str:
    """Return `sparse`, `dense` or `hybrid`: what a request is to a collection that has dense vectors or not.

    Raises:
        QueryError: the collection, the query or the fusion do not go with its mode.
    """
    mode, fusion = request.mode, request.fusion
    by_vector = mode in ("dense", "hybrid") or (mode == "auto" and dense and request.by_text)
    if by_vector and not request.by_text:
        raise QueryError(
            f"a query by term weights cannot be searched in mode {mode}", hint="use mode sparse, or give a text"
        )
    if by_vector and not dense:
        raise QueryError(
            f"the collection has no dense vectors, which mode {mode} needs",
            hint="search it in mode sparse, or index the corpus again with --dense MODEL",
        )
    if fusion is not None and (not by_vector or mode == "dense"):
        raise QueryError(
            f"fusion is for mode hybrid, and this search is in mode {mode}",
            hint="leave it out" if dense else "leave it out: the collection has no dense vectors",
        )
    if not by_vector:
        return "sparse"
    return "dense" if mode == "dense" else "hybrid"
