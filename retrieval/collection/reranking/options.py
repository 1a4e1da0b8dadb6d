"""How a search is reranked."""

from __future__ import annotations

from dataclasses import dataclass

from lexhound.retrieval.errors import QueryError

NO_RERANKER = "none"
"""What a request says that is not to be reranked by the model that the collection keeps."""
LATE = "late"
"""In the place of a model: late interaction over the vectors of tokens that the collection keeps."""
MAX_RERANKED = 1000
DEPTH, LATE_DEPTH = 50, 100
"""Hits that are reranked unless a request says otherwise: by a cross-encoder, and by late interaction, which is quick.
"""
LATE_WEIGHT = 0.3


@dataclass(frozen=True, slots=True)
class Rerank:
    """The reranking of a search.

    Attributes:
        model: the folder, or the hub name, of a cross-encoder of sentence-transformers; or "late" for late interaction.
        depth: how many of the first hits are reranked; a search has no more than these. DEPTH unless given, LATE_DEPTH
            of late interaction.
        weight: of late interaction, its share of the sum with the score that a hit had before, both as z-scores over
            the hits that are reranked; 0 to 1, LATE_WEIGHT unless given. None of a cross-encoder, whose score stands
            alone.
    """

    model: str
    depth: int | None = None  # a number once it is made
    weight: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model.strip() or self.model == NO_RERANKER:
            raise QueryError(f"the reranker is {self.model!r}", hint="give the folder or the hub name of a model")
        if self.depth is None:
            object.__setattr__(self, "depth", LATE_DEPTH if self.is_late else DEPTH)
        if self.is_late and self.weight is None:
            object.__setattr__(self, "weight", LATE_WEIGHT)
        self._check_weight()
        if not isinstance(self.depth, int) or isinstance(self.depth, bool) or not 1 <= self.depth <= MAX_RERANKED:
            raise QueryError(f"the depth of reranking is {self.depth!r}", hint=f"it must be from 1 to {MAX_RERANKED:,}")

    @property
    def hits(self) -> int:
        """The depth, as a number."""
        return self.depth or DEPTH

    @property
    def is_late(self) -> bool:
        """Whether it is late interaction, and not a cross-encoder."""
        return self.model == LATE

    def _check_weight(self) -> None:
        if self.weight is None:
            return
        if not self.is_late:
            raise QueryError(
                "a weight goes with late interaction alone: a cross-encoder's score stands by itself",
                hint="leave the weight out",
            )
        number = isinstance(self.weight, int | float) and not isinstance(self.weight, bool)
        if not number or not 0 <= self.weight <= 1:
            raise QueryError(f"the weight of late interaction is {self.weight!r}", hint="it must be from 0 to 1")


def no_token_vectors() -> QueryError:
    """Return what is raised where a collection without vectors of tokens is to be reranked by them."""
    return QueryError(
        "the collection keeps no vectors of tokens, which reranking by late interaction needs",
        hint="make the collection again with late=True, or name a cross-encoder",
        cli_hint="index the corpus again with --late, or name a cross-encoder",
    )


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
