"""The shapes of requests and answers, as OpenAPI tells them.

Requests are checked strictly: a number is no text and an unknown field is a mistake. Answers are written by hand where
speed counts; tests hold them against these models.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from lexhound.retrieval.collection.request import MAX_DEPTH, Fusion
from lexhound.retrieval.corpus.rows import FieldNames
from lexhound.serve.api.registry.names import NAME_PATTERN

JsonScalar = str | int | float


def _whole(value: object) -> object:
    """JSON has one kind of number: 5.0 is 5."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole)]


class Strict(BaseModel):
    """What a caller sends."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Told(BaseModel):
    """What the service answers."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


# Errors


class ErrorDetail(Told):
    """What went wrong, where in the request, and what to do about it."""

    code: str = Field(description="A stable name for programs.", examples=["filter_syntax"])
    message: str = Field(description="What is wrong, for people.", examples=["there is no such collection"])
    where: str | None = Field(description="The part of the request that is meant.", examples=["body.k"])
    hint: str | None = Field(description="What to do about it.", examples=["ask for at least one hit"])
    request_id: str = Field(description="Also in the header X-Request-ID, and in the service's log.")


class Error(Told):
    """Every answer with a status from 400 on."""

    error: ErrorDetail


# Collections


class EncoderSummary(Told):
    """Which encoder makes a collection's vectors."""

    kind: str = Field(examples=["bm25"])
    name: str = Field(examples=["bm25"])


class EncoderDescription(EncoderSummary):
    """The encoder and its settings."""

    settings: dict[str, Any] = Field(examples=[{"k1": 0.9, "b": 0.4, "language": "english"}])


Health = Literal["ok", "unfinished", "damaged", "unavailable"]
Mode = Literal["lexical", "sparse", "dense", "hybrid"]


class CollectionSummary(Told):
    """A collection in the list. Of one that cannot be opened, the counts are null and `health` is `unavailable`.

    `damaged` is one of which something that was read is not what was written; searches are refused where they could be
    wrong by it.

    What another engine does not tell of a collection that it keeps is null.
    """

    name: str = Field(examples=["my"])
    documents: int | None
    segments: int | None
    bytes: int | None = Field(description="On disk: documents and indexes.")
    encoder: EncoderSummary | None
    modes: list[Mode] = Field(description="The modes that searches may ask for; the first is what `auto` means.")
    health: Health


class CollectionList(Told):
    """All collections that the key opens."""

    collections: list[CollectionSummary]


class SegmentDescription(Told):
    """One segment: an immutable part of the index."""

    name: str
    rows: int
    deleted: int
    postings: int
    bytes: int


class DenseDescription(Told):
    """The dense vectors of a collection: their model and length; their number and bytes in our own segments."""

    encoder: EncoderDescription
    width: int
    vectors: int | None
    bytes: int | None
    index: Literal["auto", "flat", "spann"] | None = Field(description="How our own segments are to index them.")
    clustered: int | None = Field(
        description="How many of them are in clustered segments, where a search may miss some."
    )


class EngineDescription(Told):
    """Another engine that keeps a collection."""

    name: str = Field(description="With its version.", examples=["milvus 2.5.10"])
    settings: dict[str, Any]
    refused: list[str] = Field(description="What it cannot do, a sentence each; asking for it is answered 400.")


class Damage(Told):
    """Something of a collection that is not what was written."""

    where: str = Field(examples=["segments/00000001/lexical/impacts.bin"])
    message: str


class Running(Told):
    """The process that is at a run."""

    pid: int
    since: float = Field(description="Seconds since 1970.")


class UnfinishedRun(Told):
    """A run of `lexhound index` or `add` whose documents are not visible: it goes on, or it was cut short.

    The same command finishes one that was cut short; `POST .../discard-unfinished` drops it.
    """

    source: str = Field(description="Its corpus.")
    documents: int = Field(description="How many it holds.")
    running: Running | None = Field(description="Null where it was cut short.")


class Discarded(Told):
    """What was held of a run that was cut short is dropped."""

    discarded: int = Field(description="How many documents that was.")


class FarAverage(Told):
    """Lexical weights that were made for another average length than today's; compaction makes them anew."""

    documents: int = Field(description="Searchable documents whose weights were.")
    stored: float = Field(description="The average that they were made for, in words; the farthest.")
    today: float = Field(description="That of all documents.")


class CollectionDescription(Told):
    """The figures of a collection; null is what another engine does not tell of one that it keeps."""

    name: str
    documents: int = Field(description="Searchable documents.")
    deleted: int | None = Field(description="Rows of deleted documents that compaction will drop.")
    pending: int | None = Field(description="Searchable documents that are in no segment yet.")
    segments: list[SegmentDescription] | None
    bytes: int | None = Field(description="On disk: documents and indexes.")
    index_bytes: int | None
    document_bytes: int | None
    log_bytes: int | None
    terms: int | None = Field(description="Distinct terms of the vocabulary.")
    postings: int | None
    unfinished: UnfinishedRun | None = Field(description="Null where there is none.")
    average_length: float | None = Field(description="Mean number of words a document (lexical).")
    far_average: FarAverage | None = Field(description="Null where weights are those of today, or nearly.")
    clipped: int | None = Field(description="Weights that were too large for their 8 bits, and lost their tail.")
    encoder: EncoderDescription
    dense: DenseDescription | None = Field(description="Null where there are no dense vectors.")
    engine: EngineDescription | None = Field(description="Null where our own index keeps the collection.")
    modes: list[Mode] = Field(description="The modes that searches may ask for; the first is what `auto` means.")
    health: Health
    damage: list[Damage] = Field(description="What is known to be damaged; empty unless `health` is `damaged`.")


class LexicalOptions(Strict):
    """Settings of the encoder `bm25`; none of them can be changed later."""

    k1: Annotated[float, Field(ge=0, le=1000)] = 0.9
    b: Annotated[float, Field(ge=0, le=1)] = 0.4
    language: str = Field(default="english", description='Of stemmer and stop words: a name, an ISO code, or "none".')
    stemming: bool = True
    stop_words: bool = True


class CollectionRequest(Strict):
    """A collection to make."""

    name: str = Field(pattern=NAME_PATTERN, examples=["my"])
    encoder: str = Field("bm25", description="One of the encoders that the service offers.")
    settings: LexicalOptions | None = Field(None, description="For `bm25` only.")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "my", "encoder": "bm25", "settings": {"k1": 0.9, "b": 0.4, "language": "english"}}]
        }
    )


class Deleted(Told):
    """A collection that is gone."""

    deleted: str


class BackupRequest(Strict):
    """A backup; by default its name is the time of the request."""

    name: str | None = Field(None, pattern=NAME_PATTERN, description="What to call it.", examples=["before-upgrade"])


class BackupMade(Told):
    """A backup that is whole, verified and on the disk, as NAME in the collection's folder of backups."""

    name: str
    documents: int
    segments: int
    bytes: int
    seconds: float


class CompactStarted(Told):
    """Compaction goes on in the background."""

    status: Literal["started", "running"]


# Documents


def _alternatives(schema: dict[str, Any]) -> None:
    """The other names of an id and a text, of each of which one is needed."""
    names = FieldNames()
    of_id, of_text = ([{"required": [each]} for each in group] for group in (names.id, names.text))
    for first, group in (("id", names.id), ("text", names.text)):
        # An alternative is of the type of the first, which is therefore said once.
        kinds = {key: value for key, value in schema["properties"][first].items() if key in ("type", "anyOf")}
        for other in group[1:]:
            schema["properties"][other] = kinds | {"description": f"Read as `{first}` where that is absent or null."}
    del schema["required"]
    schema["allOf"] = [{"anyOf": of_id}, {"anyOf": of_text}]


class DocumentBody(BaseModel):
    """A document to insert, or to put in the place of the one with the same id. Further fields are metadata."""

    model_config = ConfigDict(extra="allow", json_schema_extra=_alternatives)

    id: Annotated[str, Field(min_length=1, max_length=512)] | int = Field(
        description="At most 512 bytes of UTF-8, without control characters; an integer becomes its decimal form.",
    )
    text: str
    title: str | None = ""
    metadata: dict[str, Any] = Field(
        default_factory=dict,
        description="What JSON holds; nested objects and lists can be filtered by. A field of the document itself wins "
        "over one in here.",
    )


class StoredDocument(Told):
    """A document as it is stored."""

    id: str
    title: str
    text: str
    metadata: dict[str, Any]


class ItemError(Told):
    """Why a document was not stored."""

    code: str
    message: str
    hint: str | None


class Item(Told):
    """What became of one document; `place` counts the documents of the request from 0."""

    place: int
    id: str | None = Field(description="Null where the document has no id that can be read.")
    status: Literal["added", "replaced", "unchanged", "error"]
    error: ItemError | None = None


class BulkAnswer(Told):
    """What became of the documents; everything but `errors` is durable."""

    items: list[Item]
    added: int
    replaced: int
    unchanged: int
    errors: int


class DeleteByIds(Strict):
    """Documents to delete by id."""

    ids: list[str] = Field(examples=[["a", "b"]])


class DeleteByFilter(Strict):
    """Documents to delete by a filter expression."""

    filter: str = Field(examples=["year < 1990"])


def _which_deletion(value: object) -> str:
    return "filter" if isinstance(value, dict) and "filter" in value else "ids"


DeleteRequest = Annotated[
    Annotated[DeleteByIds, Tag("ids")] | Annotated[DeleteByFilter, Tag("filter")], Discriminator(_which_deletion)
]


class DeleteAnswer(Told):
    """How many documents are gone, and which ids there were none of."""

    deleted: int
    missing: list[str]


# Searches


Recall = Annotated[
    float | None,
    Field(gt=0, le=1, description="Which share of the exact hits is enough, for a faster search.", examples=[0.95]),
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
        """The library's options; raises QueryError where two of them contradict each other."""
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
    explain: bool = Field(False, description="Tell what each term gave to each score.")
    highlight: bool = Field(True, description="Give each hit a snippet with the places of the query's words.")
    fields: list[str] = Field(
        ["title", "metadata"],
        max_length=100,
        description="What to tell of each document: `title`, `text`, `metadata`, or single values: `metadata.NAME`.",
    )
    stats: bool = Field(False, description="Tell how much was read.")
    recall: Recall = None


class TextSearch(SearchOptions):
    """A search by text."""

    query: str = Field(examples=["heat transfer"])

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"query": "heat transfer", "k": 5, "explain": True, "filter": "year >= 1960"}]}
    )


class VectorSearch(SearchOptions):
    """A search by term weights, named as explanations name terms."""

    vector: dict[str, Annotated[float, Field(gt=0, lt=1e9)]] = Field(examples=[{"heat": 2.1, "transfer": 1.4}])

    model_config = ConfigDict(json_schema_extra={"examples": [{"vector": {"heat": 2.1, "transfer": 1.4}, "k": 5}]})


def _which_search(value: object) -> str:
    return "vector" if isinstance(value, dict) and "vector" in value else "text"


SearchRequest = Annotated[
    Annotated[TextSearch, Tag("text")] | Annotated[VectorSearch, Tag("vector")], Discriminator(_which_search)
]


class Snippet(Told):
    """A stretch of a document on one line; `marks` are start and end of matched words, in Unicode code points."""

    text: str
    marks: list[tuple[int, int]]


class Contribution(Told):
    """What one term gave to a score. `typed` is false for a term that the encoder added to the query's own words."""

    term: str
    query_weight: float
    document_weight: float
    score: float
    typed: bool


class Share(Told):
    """What one side of a dense or hybrid search gave to a score: weight x value."""

    side: Literal["sparse", "dense"]
    score: float = Field(description="This side's own score of the document.")
    rank: int | None = Field(description="Among the candidates; null where the document has no term of the query.")
    value: float = Field(description="The score as the fusion maps it.")
    weight: float
    share: float


class Hit(Told):
    """One answer; which of `title`, `text` and `metadata` it has, `fields` says."""

    rank: int
    id: str
    score: float
    title: str | None = None
    text: str | None = None
    metadata: dict[str, Any] | None = None
    snippet: Snippet | None = None
    explanation: list[Contribution] | None = Field(None, description="Largest first; they sum to the score.")
    shares: list[Share] | None = Field(None, description="In modes dense and hybrid, by side; they sum to the score.")


class Stats(Told):
    """How much a search read."""

    postings_read: int
    documents_scored: int


class SearchAnswer(Told):
    """The hits of one query, best first. Scores depend on neither `k` nor `offset`."""

    hits: list[Hit]
    took_ms: float
    stats: Stats | None = None
    unknown_terms: list[str] | None = Field(None, description="Of a query by weights: terms the collection lacks.")


class BatchRequest(Strict):
    """Many queries at once."""

    queries: list[str] = Field(min_length=1, examples=[["heat transfer", "boundary layer"]])
    k: Whole = Field(10, ge=1)
    filter: str | None = None
    recall: Recall = None
    mode: Literal["auto", "lexical", "sparse", "dense", "hybrid"] = "auto"
    fusion: FusionOptions | None = None


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
    took_ms: float


class CountRequest(Strict):
    """What to count: all documents, or those that pass a filter."""

    filter: str | None = Field(None, examples=["year >= 1990"])


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


# Health


class Alive(Told):
    """The process answers."""

    status: Literal["ok"]


class Readiness(Told):
    """Searches are answered."""

    status: Literal["ready"]
    damaged: int = Field(description="Collections that are damaged, so that searches of them are refused.")
