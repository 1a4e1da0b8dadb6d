"""How a search is reranked."""

from __future__ import annotations

from dataclasses import dataclass

from lexhound.retrieval.errors import QueryError

NO_RERANKER = "none"
"""What a request says that is not to be reranked by the model that the collection keeps."""
LATE = "late"
"""The name that is reserved for late interaction over vectors of tokens, which no collection keeps yet."""
MAX_RERANKED = 1000


@dataclass(frozen=True, slots=True)
class Rerank:
    """The reranking of a search.

    Attributes:
        model: the folder, or the hub name, of a cross-encoder of sentence-transformers.
        depth: how many of the first hits it reads; a search has no more than these.
    """

    model: str
    depth: int = 50

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model.strip() or self.model == NO_RERANKER:
            raise QueryError(f"the reranker is {self.model!r}", hint="give the folder or the hub name of a model")
        if self.model == LATE:
            raise QueryError(
                "the collection keeps no vectors of tokens, which reranking by late interaction needs",
                hint="give the folder or the hub name of a cross-encoder",
            )
        if not isinstance(self.depth, int) or isinstance(self.depth, bool) or not 1 <= self.depth <= MAX_RERANKED:
            raise QueryError(f"the depth of reranking is {self.depth!r}", hint=f"it must be from 1 to {MAX_RERANKED:,}")


def rerank_of(value: object) -> Rerank | str | None:
    """Return what a request means: a model's name stands for its reranking, "none" for that there is none.

    Raises:
        QueryError: it is no reranking.
    """
    if value is None or isinstance(value, Rerank) or value == NO_RERANKER:
        return value
    if isinstance(value, str):
        return Rerank(value)
    raise QueryError(f"rerank is {value!r}", hint="it must be the name of a model, a Rerank, or 'none'")
