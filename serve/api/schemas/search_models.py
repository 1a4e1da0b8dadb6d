"""The shapes of requests and answers about searches, counts and facets."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from lexhound.retrieval.collection import request
from lexhound.retrieval.collection.request import MAX_DEPTH, Fusion
from lexhound.retrieval.collection.result import Contribution, Hit
from lexhound.retrieval.filters.sort_keys import MAX_SORT_KEYS

from .base import JsonScalar, Strict, Told, Whole

# Of a query or filter in an address: written in percents, a character may take twelve, and an address has 64 KiB.
ADDRESS_CHARACTERS = 2000
FIELD_CHARACTERS = 210

AllowUnknownFields = Annotated[
    bool, Field(description="Let the filter name fields, and kinds of values, that no document has.")
]
Recall = Annotated[
    float | None,
    Field(gt=0, le=1, description="Which share of the exact hits is enough, for a faster search.", examples=[0.95]),
]

Group = Annotated[
    Literal["document", "none"],
    Field(description="What hits are: documents, each with its best passage, or (`none`) passages."),
]


Reranking = Annotated[
    Literal["none", "late"] | None,
    Field(
        description="`late`: late interaction, in a collection with token vectors; `none`: leave out the reranker that "
        "the collection keeps, if it keeps one."
    ),
]


class FusionOptions(Strict):
    """How a hybrid search fuses its two sides; see docs/hybrid.md."""

    method: Literal["min-max", "z-score", "rrf", "fixed"] = "z-score"  # a test holds that this is Fusion's own
    dense_weight: Annotated[float, Field(ge=0, le=1)] = Field(
        Fusion().dense_weight, description="The dense side's share of the sum."
    )
    depth: Whole = Field(Fusion().depth, ge=1, le=MAX_DEPTH, description="How many candidates each side brings.")
    rank_constant: Annotated[float, Field(ge=0, le=1e6)] = Field(Fusion().rank_constant, description="Of `rrf`.")
    sparse_low: float | None = Field(Fusion().sparse_low, description="Of `min-max` and `fixed`: what becomes 0.")
    sparse_high: float | None = Field(Fusion().sparse_high, description="Of `fixed`: what becomes 1.")
    dense_low: float | None = Field(Fusion().dense_low, description="As `sparse_low`.")
    dense_high: float | None = Field(Fusion().dense_high, description="As `sparse_high`.")

    def fusion(self) -> Fusion:
        """Return the library's options; raises QueryError where two of them contradict each other."""
        return Fusion(**self.model_dump())


class SearchOptions(Strict):
    """What searches of both kinds have in common."""

    k: Whole = Field(10, ge=1, description="How many hits.")
    offset: Whole = Field(0, ge=0, description="How many hits to pass over first.")
    mode: Literal["auto", "lexical", "sparse", "dense", "hybrid"] = Field(
        "auto", description="One of the collection's modes; `auto` is the first of them, by term weights the index."
    )
    fusion: FusionOptions | None = Field(None, description="For mode `hybrid`.")
    filter: str | None = Field(None, description="Only documents whose metadata passes.", examples=['lang = "en"'])
    allow_unknown_fields: AllowUnknownFields = False
    explain: bool = Field(False, description="Tell what each term gave to each score.")
    highlight: bool = Field(True, description="Give each hit a snippet with the places of the query's words.")
    fields: list[str] = Field(
        ["title", "metadata"],
        max_length=100,
        description="What to tell of each document: `title`, `text`, `metadata`, or single values: `metadata.NAME`.",
    )
    stats: bool = Field(False, description="Tell how much was read.")
    total: bool = Field(False, description="Tell how many documents match.")
    sort: list[Annotated[str, Field(max_length=FIELD_CHARACTERS)]] = Field(
        [],
        max_length=MAX_SORT_KEYS,
        description="Fields that order the hits in place of the score: `FIELD`, `FIELD:asc` or `FIELD:desc`.",
        examples=[["year:desc"]],
    )
    collapse: str | None = Field(
        None,
        min_length=1,
        max_length=FIELD_CHARACTERS,
        description="A field; the best hit of each of its values stays.",
    )
    recall: Recall = None
    rerank: Reranking = None
    group: Group = "document"

    @property
    @abstractmethod
    def text_or_weights(self) -> str | dict[str, float]:
        """The query: a text, or the weights of terms."""

    def request(self, mode: str) -> request.SearchRequest:
        """Return the library's request; `mode` is the library's name of the mode.

        Raises:
            QueryError: two values contradict each other.
        """
        return request.SearchRequest(
            self.text_or_weights,
            k=self.k,
            offset=self.offset,
            mode=mode,
            fusion=None if self.fusion is None else self.fusion.fusion(),
            filter=self.filter,
            allow_unknown_fields=self.allow_unknown_fields,
            explain=self.explain,
            highlight=self.highlight,
            fields=self.fields,
            stats=self.stats,
            total=self.total,
            sort=self.sort,
            collapse=self.collapse,
            recall=self.recall,
            rerank=self.rerank,
            group=self.group,
        )


class TextSearch(SearchOptions):
    """A search by text."""

    query: str = Field(examples=["heat transfer"])

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"query": "heat transfer", "k": 5, "explain": True, "filter": "year >= 1960"}]}
    )

    @property
    def text_or_weights(self) -> str:
        """The text."""
        return self.query


class VectorSearch(SearchOptions):
    """A search by term weights, named as explanations name terms."""

    vector: dict[str, Annotated[float, Field(gt=0, lt=1e9)]] = Field(examples=[{"heat": 2.1, "transfer": 1.4}])

    model_config = ConfigDict(json_schema_extra={"examples": [{"vector": {"heat": 2.1, "transfer": 1.4}, "k": 5}]})

    @property
    def text_or_weights(self) -> dict[str, float]:
        """The weights."""
        return self.vector


class AddressSearch(BaseModel):
    """A search by text whose options stand in the address."""

    q: str = Field(max_length=ADDRESS_CHARACTERS, description="The query.", examples=["heat transfer"])
    k: int = Field(10, ge=1)
    offset: int = Field(0, ge=0)
    mode: Literal["auto", "lexical", "sparse", "dense", "hybrid"] = "auto"
    fusion: Literal["min-max", "z-score", "rrf", "fixed"] | None = Field(
        None, description="Of mode `hybrid`: the method."
    )
    dense_weight: float | None = Field(None, ge=0, le=1, description="Likewise: the dense side's share.")
    filter: str | None = Field(None, max_length=ADDRESS_CHARACTERS, description="A filter expression.")
    allow_unknown_fields: AllowUnknownFields = False
    explain: bool = False
    highlight: bool = True
    fields: str = Field("title,metadata", max_length=400, description="Separated by commas.")
    stats: bool = False
    total: bool = Field(False, description="Tell how many documents match.")
    sort: str = Field("", max_length=400, description="Fields to sort by, as `year:desc`; separated by commas.")
    collapse: str | None = Field(None, min_length=1, max_length=FIELD_CHARACTERS)
    recall: float | None = Field(None, gt=0, le=1, description="Which share of the exact hits is enough.")
    rerank: Reranking = None
    group: Group = "document"

    def body(self) -> TextSearch:
        """Return the same search as a body gives it; its values have been checked, lists by the library."""
        fusion = {"method": self.fusion, "dense_weight": self.dense_weight}
        options = {name: value for name, value in fusion.items() if value is not None}
        return TextSearch.model_construct(
            query=self.q,
            k=self.k,
            offset=self.offset,
            mode=self.mode,
            fusion=FusionOptions(**options) if options else None,  # type: ignore[arg-type]
            filter=self.filter,
            allow_unknown_fields=self.allow_unknown_fields,
            explain=self.explain,
            highlight=self.highlight,
            fields=_listed(self.fields),
            stats=self.stats,
            total=self.total,
            sort=_listed(self.sort),
            collapse=self.collapse,
            recall=self.recall,
            group=self.group,
        )


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def _which_search(value: object) -> str:
    return "vector" if isinstance(value, dict) and "vector" in value else "text"


SearchBody = Annotated[
    Annotated[TextSearch, Tag("text")] | Annotated[VectorSearch, Tag("vector")], Discriminator(_which_search)
]


class Stats(Told):
    """How much a search read."""

    postings_read: int
    rows_scored: int
    documents_scored: int = Field(deprecated=True, description="The former name of `rows_scored`.")


@dataclass(frozen=True)
class AnsweredHit(Hit):
    """One answer; which of `title`, `text` and `metadata` it has, `fields` says."""

    explanation: tuple[Contribution, ...] | None = None
    """The former name of `contributions`; deprecated."""


class TotalMatching(Told):
    """How many documents match, those beyond `k` too; in mode hybrid it may be a lower bound."""

    value: int
    relation: Literal["exact", "lower_bound"]


class SearchAnswer(Told):
    """The hits of one query, best first. Scores depend on neither `k` nor `offset`."""

    hits: list[AnsweredHit]
    seconds: float
    took_ms: float = Field(deprecated=True, description="Use `seconds`.")
    stats: Stats | None = None
    total: TotalMatching | None = Field(None, description="Where the request asks for it.")
    unknown_terms: list[str] | None = Field(None, description="Of a query by weights: terms the collection lacks.")
    query_cut: bool | None = Field(
        None, description="True where the query is longer than a model reads, so that its end is left out."
    )
    reranked_cut: int | None = Field(
        None, description="How many reranked hits are longer than the reranker reads; it judges their beginnings."
    )


class BatchRequest(Strict):
    """Many queries at once."""

    queries: list[str] = Field(min_length=1, examples=[["heat transfer", "boundary layer"]])
    k: Whole = Field(10, ge=1)
    filter: str | None = None
    allow_unknown_fields: AllowUnknownFields = False
    recall: Recall = None
    mode: Literal["auto", "lexical", "sparse", "dense", "hybrid"] = "auto"
    fusion: FusionOptions | None = None
    rerank: Reranking = None
    group: Group = "document"

    def request(self, mode: str) -> request.BatchRequest:
        """Return the library's request; `mode` is the library's name of the mode.

        Raises:
            QueryError: two values contradict each other.
        """
        return request.BatchRequest(
            self.queries,
            k=self.k,
            mode=mode,
            fusion=None if self.fusion is None else self.fusion.fusion(),
            filter=self.filter,
            allow_unknown_fields=self.allow_unknown_fields,
            recall=self.recall,
            rerank=self.rerank,
            group=self.group,
            threads=1,  # the service's own threads are there to share the processors between requests
        )


class BatchHit(Told):
    """One answer of a batch."""

    id: str
    score: float


class BatchResult(Told):
    """The hits of one query of a batch, best first."""

    hits: list[BatchHit]


class BatchAnswer(Told):
    """One result a query, in their order."""

    results: list[BatchResult]
    seconds: float
    took_ms: float = Field(deprecated=True, description="Use `seconds`.")


class CountRequest(Strict):
    """What to count: all documents, or those that pass a filter."""

    filter: str | None = Field(None, examples=["year >= 1990"])
    allow_unknown_fields: AllowUnknownFields = False


class CountAnswer(Told):
    """How many documents there are."""

    count: int


class FacetValue(Told):
    """A value and how many documents have it."""

    value: JsonScalar
    count: int


class Facet(Told):
    """One metadata field: its most frequent values, and the range of its numbers."""

    field: str
    kind: Literal["text", "number"]
    documents: int
    values: list[FacetValue]
    min: float | None
    max: float | None


class FacetAnswer(Told):
    """Metadata fields by name."""

    fields: list[Facet]


class SuggestAnswer(Told):
    """What a query may become."""

    did_you_mean: str | None = Field(
        description="The query with its misspelt words put right; null where there is none, or nothing near it.",
        examples=["hypersonic flow"],
    )
    completions: list[str] = Field(
        description="The query with its last word completed; the word that most documents have first.",
        examples=[["heat transfer", "heat transport"]],
    )
