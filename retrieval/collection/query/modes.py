"""The modes of a search, and which of them a request means."""

from __future__ import annotations

from lexhound.retrieval.errors import QueryError

from .fusion import Fusion

MODES = ("auto", "sparse", "dense", "hybrid")
"""How a search may be asked for: `sparse` is the inverted index, whether of BM25 or of a learned encoder; `auto` is
`hybrid` where the collection has dense vectors, and `sparse` elsewhere."""


def resolve_mode(mode: str, fusion: Fusion | None, *, dense: bool, by_text: bool) -> str:
    """`sparse`, `dense` or `hybrid`: what a search in `mode` is, of a collection that has dense vectors or not.

    Raises:
        QueryError: there is no such mode, or the collection, the query or the fusion do not go with it.
    """
    if mode not in MODES:
        raise QueryError(f"the mode is {mode!r}", hint=f"it must be one of {', '.join(MODES)}")
    wanted = mode in ("dense", "hybrid") or (mode == "auto" and dense and by_text)
    if wanted and not by_text:
        raise QueryError(
            f"a query by term weights cannot be searched in mode {mode}", hint="use mode sparse, or give a text"
        )
    if wanted and not dense:
        raise QueryError(
            f"the collection has no dense vectors, which mode {mode} needs",
            hint="search it in mode sparse, or index the corpus again with --dense MODEL",
        )
    if fusion is not None and (not wanted or mode == "dense"):
        raise QueryError(
            f"fusion is for mode hybrid, and this search is in mode {mode}",
            hint="leave it out" if dense else "leave it out: the collection has no dense vectors",
        )
    if not wanted:
        return "sparse"
    return "dense" if mode == "dense" else "hybrid"
