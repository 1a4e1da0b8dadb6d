"""The results of searches, the same for every engine, for the service and for its client.

The types need neither NumPy nor an index, so a program that only talks to a service imports them at no cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from lexhound.core.extras import extra
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.documents.passages import Passage
from lexhound.retrieval.documents.snippet import Snippet

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

    from lexhound.index.topk import SearchStats

DENSE_TERM, SPARSE_TERM = "(dense)", "(sparse)"
"""What stands for a side in an explanation, where there is no term to name."""

RankedIds: TypeAlias = list[tuple[str, float]]
"""(id, score) of the hits of one query, best first."""


# The service's schema is made of the three classes that follow, and of what stands under their attributes.


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one term gave to a score: factor x query weight x document weight."""

    term: str
    query_weight: float
    document_weight: float
    score: float
    typed: bool
    """False for a term that the encoder added to the query's own words (expansion)."""
    in_text: bool = True
    """False for a term that the encoder added to the document's own words (expansion)."""
    factor: float = 1.0
    """In mode hybrid, what the fusion makes of one unit of the sparse side's score for this document."""
    kind: Literal["term", "dense", "sparse"] = "term"
    """What gave it: a term, or a whole side, whose weight and value stand for the two weights."""
    synonym_of: str | None = None
    """The words of the query that brought the term by a synonym of the collection; null for other terms."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one side of a dense or hybrid search gave to a score: weight x value."""

    side: Literal["sparse", "dense"]
    score: float
    """This side's own score of the document."""
    rank: int | None
    """Among the candidates; null where the document has no term of the query."""
    value: float
    """The score as the fusion maps it."""
    weight: float
    share: float


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer; which of `title`, `text` and `metadata` it has, `fields` says."""

    rank: int
    id: str
    score: float
    title: str | None = None
    text: str | None = None
    metadata: Mapping[str, Any] | None = None
    snippet: Snippet | None = None
    contributions: tuple[Contribution, ...] | None = None
    """What each term gave, and the dense vectors as one entry; null where nobody asked for it. Largest first; they sum
    to the score in every mode: in mode hybrid the terms divide the sparse side's share."""
    shares: tuple[Share, ...] | None = None
    """In modes dense and hybrid, by side; they sum to the score."""
    retrieval_rank: int | None = None
    """Of a reranked hit, whose score is the reranker's: the rank that it had before."""
    retrieval_score: float | None = None
    """Likewise the score, to which contributions and shares sum."""
    passage: Passage | None = None
    """Of a document that is split, its best passage; null for one that is whole."""
    late_score: float | None = None
    """Of a hit that late interaction reranked, its MaxSim, -1 to 1; null where it, or the query, has no token."""

    @property
    def document(self) -> Document:
        """The document, of which what was not asked for is empty."""
        return Document(self.id, self.text or "", self.title or "", self.metadata or {})

    @property
    def explanation(self) -> tuple[Contribution, ...] | None:
        """The contributions, by their former name."""
        return self.contributions


@dataclass(frozen=True, slots=True)
class Total:
    """How many documents match a search, those beyond its `k` too; hits left out by `collapse` count."""

    value: int
    relation: Literal["exact", "lower_bound"] = "exact"
    """`lower_bound` where the search looks at candidates alone, and there may be more: in mode hybrid."""

    def __str__(self) -> str:
        """Return it as a person reads it: `1,234`, or `at least 1,000`."""
        return f"{self.value:,}" if self.relation == "exact" else f"at least {self.value:,}"


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The answers to one query.

    Attributes:
        hits: best first.
        seconds: from the query's text to the hits; encoding: those of them that went into its vector.
        stats: how much was read; None where nothing tells it.
        unknown: terms of a query given as weights that the collection does not know.
        mode: "lexical" (by BM25), "sparse" (by a learned encoder's index), "dense" or "hybrid": how it was searched;
            empty where a service does not tell.
        terms: the ids of the query's terms that the collection knows, for marking them in texts.
        total: how many documents match; None where nobody asked.
        query_cut: whether the query is longer than a model reads, so that its end is left out.
        reranked_cut: how many of the hits that a cross-encoder reranked are longer than it reads, with the query: it
            judges them by their beginnings.
    """

    hits: tuple[Hit, ...]
    seconds: float
    stats: SearchStats | None = None
    unknown: tuple[str, ...] = ()
    mode: str = ""
    terms: frozenset[int] = frozenset()
    encoding: float = 0.0
    total: Total | None = None
    query_cut: bool = False
    reranked_cut: int = 0

    def __iter__(self) -> Iterator[Hit]:
        """Go over the hits, best first."""
        return iter(self.hits)

    def __len__(self) -> int:
        """Return how many hits there are."""
        return len(self.hits)

    def __getitem__(self, position: int) -> Hit:
        """Return the hit at a position, 0 for the best."""
        return self.hits[position]

    def to_arrow(self) -> pyarrow.Table:
        """Return the hits as a table of pyarrow: rank, id, score, and what else they have (`frames.hits_table`)."""
        from lexhound.retrieval.frames import hits_table

        return hits_table(self.hits)

    def to_pandas(self) -> pandas.DataFrame:
        """Return the same as a DataFrame of pandas."""
        return self.to_arrow().to_pandas()

    def to_polars(self) -> polars.DataFrame:
        """Return the same as a DataFrame of polars."""
        with extra("frames", "a DataFrame of polars"):
            import polars
        return polars.DataFrame(self.to_arrow())

    def _repr_html_(self) -> str:
        """Return the hits as a table for notebooks; texts of documents are escaped."""
        from lexhound.retrieval.notebook import result_html

        return result_html(self)

    @property
    def took(self) -> float:
        """The seconds, by their former name."""
        return self.seconds

    @property
    def took_ms(self) -> float:
        """Milliseconds that the search took."""
        return self.seconds * 1000

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


@dataclass(frozen=True, slots=True)
class Suggestions:
    """What a query may become.

    Attributes:
        did_you_mean: the query with its misspelt words put right; None where there is none, or nothing near it.
        completions: the query with its last word completed, by how many documents have the word, most first.
    """

    did_you_mean: str | None
    completions: tuple[str, ...]


def dense_shares(scores: Sequence[float]) -> list[tuple[Share, ...]]:
    """Return the shares of a search by dense vectors alone, whose scores are one side's."""
    return [(Share("dense", score, rank, score, 1.0, score),) for rank, score in enumerate(scores, 1)]


def shared_contributions(
    contributions: tuple[Contribution, ...], shares: tuple[Share, ...]
) -> tuple[Contribution, ...]:
    """Return contributions to the sparse side's own score as contributions to the sum of the shares; largest first."""
    shared: list[Contribution] = []
    total = sum(each.score for each in contributions)
    for share in shares:
        if share.side == "sparse" and total > 0:
            factor = share.share / total
            shared += [replace(each, score=share.share * (each.score / total), factor=factor) for each in contributions]
        elif share.side == "dense" or share.share:
            term = DENSE_TERM if share.side == "dense" else SPARSE_TERM
            shared.append(Contribution(term, share.weight, share.value, share.share, typed=True, kind=share.side))
    return tuple(sorted(shared, key=lambda each: (-each.score, each.term)))
