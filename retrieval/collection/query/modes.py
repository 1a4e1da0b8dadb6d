"""Which of the modes of a search a request means."""

from __future__ import annotations

from lexhound.retrieval.collection.fields.sparse_field import SparseField
from lexhound.retrieval.collection.request import RankingOptions
from lexhound.retrieval.errors import QueryError


def index_mode(sparse_field: SparseField) -> str:
    """Return what a search by the inverted index is called: `lexical` with BM25, `sparse` with a learned encoder."""
    return "lexical" if sparse_field.frequencies else "sparse"


def modes_of(sparse_field: SparseField, *, dense: bool) -> tuple[str, ...]:
    """Return the modes that searches of a collection may ask for, beside `auto`."""
    index = index_mode(sparse_field)
    return (index, "dense", "hybrid") if dense else (index,)


def resolve_mode(request: RankingOptions, sparse_field: SparseField, *, dense: bool) -> str:
    """Return `sparse`, `dense` or `hybrid`: what a request is to a collection that has dense vectors or not.

    `sparse` is the inverted index, whatever fills it; `lexical` is another name of it where that is BM25.

    Raises:
        QueryError: the collection, the query or the fusion do not go with its mode.
    """
    mode, fusion = request.mode, request.fusion
    index = index_mode(sparse_field)
    if mode == "lexical" and index != "lexical":
        raise QueryError(
            "the collection has no lexical index: its encoder is learned", hint=f"search it in mode {index}"
        )
    by_vector = mode in ("dense", "hybrid") or (mode == "auto" and dense and request.by_text)
    if by_vector and not request.by_text:
        raise QueryError(
            f"a query by term weights cannot be searched in mode {mode}", hint=f"use mode {index}, or give a text"
        )
    if by_vector and not dense:
        raise QueryError(
            f"the collection has no dense vectors, which mode {mode} needs",
            hint=f"search it in mode {index}, or make it again with a model for `dense`",
            cli_hint=f"search it in mode {index}, or index the corpus again with --dense MODEL",
        )
    if fusion is not None and (not by_vector or mode == "dense"):
        raise QueryError(
            f"fusion is for mode hybrid, and this search is in mode {mode}",
            hint="leave it out" if dense else "leave it out: the collection has no dense vectors",
        )
    if not by_vector:
        return "sparse"
    return "dense" if mode == "dense" else "hybrid"
