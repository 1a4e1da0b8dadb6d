"""The results of searches, the same for every engine, for the service and for its client.

The types need neither NumPy nor an index, so a program that only talks to a service imports them at no cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from lexhound.retrieval.documents.document import JSON, Document

if TYPE_CHECKING:
    from lexhound.index.topk import SearchStats
    from lexhound.retrieval.documents.snippet import Snippet

DENSE_TERM, SPARSE_TERM = "(dense)", "(sparse)"
"""What stands for a side in an explanation, where there is no term to name."""

RankedIds: TypeAlias = list[tuple[str, float]]
"""(id, score) of the hits of one query, best first."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one term gave to a score: query weight x document weight, up to the index's quantisation.

    `typed` is false for a term that the encoder added to those of the query's own words.
    """

    term: str
    query_weight: float
    document_weight: float
    score: float
    typed: bool = True


@dataclass(frozen=True, slots=True)
class Share:
    """What one side of a dense or hybrid search gave to a hit.

    Attributes:
        side: "sparse" or "dense".
        score: this side's own score of the document.
        rank: the document's rank among the candidates of this side, None where it does not match (no term in common).
        value: the score as fusion maps it (`query.fusion`).
        weight: the side's.
        share: weight x value.
    """

    side: str
    score: float
    rank: int | None
    value: float
    weight: float
    share: float


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer; what was not asked for is None.

    Attributes:
        rank: from 1.
        title, text, metadata: those of the document.
        snippet: the stretch of the text that shows best why it was found, where highlights were asked for.
        contributions: where an explanation was asked for: what each term gave, and the dense vectors as one entry named
            DENSE_TERM. They sum to `score` in every mode: in a hybrid search the terms divide the sparse side's share
            in proportion to what they gave to that side's own score.
        shares: likewise, in modes dense and hybrid: what each side gave. They sum to `score`.
    """

    rank: int
    id: str
    score: float
    title: str | None = None
    text: str | None = None
    metadata: Mapping[str, JSON] | None = None
    snippet: Snippet | None = None
    contributions: tuple[Contribution, ...] | None = None
    shares: tuple[Share, ...] | None = None

    @property
    def document(self) -> Document:
        """The document, of which what was not asked for is empty."""
        return Document(self.id, self.text or "", self.title or "", self.metadata or {})

    @property
    def explanation(self) -> tuple[Contribution, ...] | None:
        """The contributions, by the name that the service has for them."""
        return self.contributions


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The answers to one query.

    Attributes:
        hits: best first.
        took: seconds from the query's text to the hits; encoding: those of them that went into its vector.
        stats: how much was read; None where nothing tells it.
        unknown: terms of a query given as weights that the collection does not know.
        mode: "sparse", "dense" or "hybrid": how it was searched; empty where a service does not tell.
        terms: the ids of the query's terms that the collection knows, for marking them in texts.
    """

    hits: tuple[Hit, ...]
    took: float
    stats: SearchStats | None = None
    unknown: tuple[str, ...] = ()
    mode: str = ""
    terms: frozenset[int] = frozenset()
    encoding: float = 0.0

    @property
    def took_ms(self) -> float:
        """Milliseconds that the search took."""
        return self.took * 1000

    @property
    def unknown_terms(self) -> tuple[str, ...]:
        """The unknown terms, by the name that the service has for them."""
        return self.unknown


class FacetValue(NamedTuple):
    """A value and how many documents have it."""

    value: str | int | float
    # A NamedTuple counts the occurrences of a value by a method of this name, which nobody needs here.
    count: int  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Facet:
    """One metadata field.

    Attributes:
        kind: `number` where every value is a number, else `text`.
        values: the most frequent values, most frequent first, then in ascending order.
        minimum, maximum: of the numbers; None where there is none.
        documents: how many documents have the field.
    """

    field: str
    kind: Literal["text", "number"]
    values: tuple[FacetValue, ...]
    minimum: float | None
    maximum: float | None
    documents: int


def dense_shares(scores: Sequence[float]) -> list[tuple[Share, ...]]:
    """Return the shares of a search by dense vectors alone, whose scores are one side's."""
    return [(Share("dense", score, rank, score, 1.0, score),) for rank, score in enumerate(scores, 1)]


def shared_contributions(
    contributions: tuple[Contribution, ...], shares: tuple[Share, ...]
) -> tuple[Contribution, ...]:
    """Return contributions to the sparse side's own score as contributions to the sum of the shares; largest first."""
    shared: list[Contribution] = []
    for share in shares:
        total = sum(each.score for each in contributions)
        if share.side == "sparse" and total > 0:
            shared += [replace(each, score=share.share * (each.score / total)) for each in contributions]
        elif share.side == "dense" or share.share:
            term = DENSE_TERM if share.side == "dense" else SPARSE_TERM
            shared.append(Contribution(term, share.weight, share.value, share.share))
    return tuple(sorted(shared, key=lambda each: (-each.score, each.term)))
