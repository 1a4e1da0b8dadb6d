"""The shapes of requests and answers about collections."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from lexhound.serve.api.registry.names import NAME_PATTERN

from .base import Strict, Told


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
    alias_of: str | None = Field(None, description="The collection, where the name is an alias of it.")


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
    address: str | None = Field(description="Where it takes writes, if it is a service.")


class UnfinishedRun(Told):
    """A run of `lexhound index` or `add` whose documents are not visible: it is running, or it was interrupted.

    The same command finishes one that was interrupted; `POST .../discard-unfinished` drops it.
    """

    source: str = Field(description="Its corpus.")
    documents: int = Field(description="How many it holds.")
    running: Running | None = Field(description="Null where it was interrupted.")
    hint: str = Field(description="What comes next, or what to do.")


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
    tenant_field: str | None = Field(
        description="The metadata field that says whose a document is; null where documents are everybody's."
    )
    tenants: int | None = Field(description="How many tenants have documents.")
    tenant: str | None = Field(
        description="The tenant that this is told to: then `documents` are its own, and what is everybody's is null."
    )
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
    passages: str | None = Field(
        description="How long texts are split: tokens of the model, and overlap. Null where they are not.",
        examples=["256/32"],
    )
    rows: int | None = Field(description="Rows of the index: one a document, or one a passage of it.")
    split: int | None = Field(description="Documents that have several passages; null where that is not counted.")
    cut: int | None = Field(description="Documents of which a model left out a part; null where that is not counted.")
    late_bytes: int | None = Field(description="Of the token vectors for late interaction; null where there are none.")
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
    encoder: str | None = Field(
        None,
        description="One of the encoders that the service offers; the first of them unless given, with the dense "
        "vectors that it makes in the same pass.",
        examples=["lexhound-mini"],
    )
    dense: str | None = Field(
        None,
        description="A dense model among the encoders that the service offers, whose vectors are kept too; `none` for "
        "no dense vectors.",
        examples=["lexhound-mini"],
    )
    settings: LexicalOptions | None = Field(None, description="For `bm25` only.")
    passages: str | None = Field(
        None,
        max_length=40,
        description="How long texts are split: tokens of the model and how many of them the next passage repeats, or "
        "`none`. Unless given 256/32 for texts that are longer than the model reads, and `none` with `bm25`.",
        examples=["256/32"],
    )
    tenant_field: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="The metadata field that says whose a document is: every request is about one tenant then.",
        examples=["org"],
    )
    late: bool = Field(
        False, description="Keep vectors of tokens too, for `rerank`: `late`. They take up to 12.4 KB a text."
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "my", "encoder": "lexhound-mini", "dense": "lexhound-mini"},
                {"name": "words", "encoder": "bm25", "settings": {"k1": 0.9, "b": 0.4, "language": "english"}},
            ]
        }
    )


class SynonymRules(Told):
    """The synonyms of a collection."""

    rules: list[str] = Field(examples=[["car, automobile", "tv => television"]])


class SynonymRequest(Strict):
    """Synonyms, in the place of those that a collection has."""

    rules: list[Annotated[str, Field(max_length=2000)]] = Field(
        max_length=10_000,
        description="`car, automobile` stand for each other; `tv => television` is one way. Empty for none.",
        examples=[["car, automobile", "tv => television"]],
    )


AliasName = Annotated[str, Field(pattern=NAME_PATTERN)]


class Aliases(Told):
    """Second names of collections."""

    aliases: dict[str, str] = Field(description="The collection, by alias.", examples=[{"papers": "papers-2027"}])


class AliasChanges(Strict):
    """What becomes of aliases, all at once; of the others nothing."""

    put: dict[AliasName, AliasName] = Field(
        {},
        max_length=1000,
        description="The collection that an alias leads to from now on, by alias.",
        json_schema_extra={"additionalProperties": False},
    )
    remove: list[AliasName] = Field([], max_length=1000, description="Aliases that are to be gone.")

    model_config = ConfigDict(json_schema_extra={"examples": [{"put": {"papers": "papers-2027"}, "remove": ["old"]}]})


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


class StepDone(Told):
    """How far a stage of long work is: `done` of `total` (null where that is not known), counted in `unit`."""

    stage: str
    done: int
    total: int | None
    unit: str


class BackupList(Told):
    """The backups of a collection."""

    backups: list[str] = Field(examples=[["before-upgrade"]])


class RestoreRequest(Strict):
    """A backup to make a collection of."""

    backup: str = Field(pattern=NAME_PATTERN, description="Its name.", examples=["before-upgrade"])
    into: str | None = Field(
        None,
        pattern=NAME_PATTERN,
        description="The collection to make; that of the address, where it is gone, unless given.",
        examples=["my-restored"],
    )


class Restored(BackupMade):
    """A collection that was made of a backup, and can be searched; `name` is its name."""


class CompactStarted(Told):
    """Compaction goes on in the background; `progress` of one that ran already."""

    status: Literal["started", "running"]
    progress: StepDone | None
