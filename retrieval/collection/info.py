"""What `info` tells about a collection."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lexhound.encoders.base import EncoderIdentity
from lexhound.index.inverted.quantization import QuantisationLoss
from lexhound.retrieval.collection.fields.sparse_field import SparseField
from lexhound.retrieval.collection.fields.static_queries import has_table
from lexhound.retrieval.collection.query.pending import PENDING
from lexhound.retrieval.collection.query.snapshot import Snapshot
from lexhound.retrieval.collection.request import Fusion
from lexhound.retrieval.collection.store.dense_index import NAME as DENSE
from lexhound.retrieval.collection.store.dense_index import kind_of
from lexhound.retrieval.collection.store.manifest import Manifest, read_manifest
from lexhound.retrieval.collection.store.passage_table import count_split
from lexhound.retrieval.collection.store.schema import DATABASE, log_bytes
from lexhound.retrieval.collection.store.segment import segment_bytes
from lexhound.retrieval.collection.store.token_table import size_of_token_vectors
from lexhound.retrieval.collection.write.ingest_jobs import Unfinished, describe_unfinished
from lexhound.retrieval.tenants.keys import count_tenants

from .far_average import FarAverage, far_average
from .verification import Problem


@dataclass(frozen=True, slots=True)
class SegmentInfo:
    """One segment: its rows, those of deleted documents among them, its postings, its bytes by file."""

    name: str
    rows: int
    deleted: int
    postings: int
    bytes: dict[str, int]


@dataclass(frozen=True, slots=True)
class DenseInfo:
    """The dense side: its model, the length of its vectors, how many are stored, and their bytes in segments.

    Attributes:
        index: how segments are to index them: `auto`, `flat` or `spann`; clustered: how many of the vectors are in
            clustered segments; resident_bytes: what the tables of those take in memory.
        queries: what makes the vectors of queries: "model", or "table" where the collection keeps one.
    """

    encoder: EncoderIdentity
    width: int
    vectors: int
    bytes: int
    index: str
    clustered: int
    resident_bytes: int
    queries: str = "model"


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """The figures of a collection.

    Attributes:
        documents: live documents; deleted: rows that segments still hold for deleted or replaced ones.
        pending: documents in no segment yet (indexed in memory when the collection is opened).
        unfinished: an ingest job that is going on, or that was cut short and holds documents; None where there is none.
        average_length: mean number of words a document, as new weights use it (lexical); None before the first segment.
        far_average: older weights that were made with another average, where it is far from today's; else None.
        impact_scales: the weight of one step of the 8-bit impacts, ascending: one where all weights suit each other.
        loss: what the 8 bits cost.
        terms: distinct terms (lexical) or the size of the encoder's vocabulary.
        index_bytes: of all segments, dense vectors included; database_bytes: of the documents, with SQLite's log;
            log_bytes: of that log alone.
        dense: None where the collection has no dense vectors.
        fusion: what it keeps for hybrid searches that name none; None for the usual one.
        damage: what is known to be damaged (see `Collection.damage`).
        passages: how long texts are split, such as `256/32` (tokens, overlap); None where they are not.
        rows: rows of the index: one a document, or one a passage of it.
        split: documents that have several passages; cut: documents of which a model left out a part. None where that
            is not counted: in collections of earlier versions, and of bm25 alone.
        tenant_field: the field that says whose a document is; None where documents are everybody's. tenants: how many
            tenants have documents.
        late_bytes: of the token vectors in the database; None where the collection has none.
    """

    path: str
    format: int
    created_by: str
    encoder: EncoderIdentity
    documents: int
    deleted: int
    pending: int
    unfinished: Unfinished | None
    segments: tuple[SegmentInfo, ...]
    postings: int
    terms: int
    average_length: float | None
    far_average: FarAverage | None
    impact_scales: tuple[float, ...]
    loss: QuantisationLoss
    index_bytes: int
    database_bytes: int
    dense: DenseInfo | None = None
    fusion: Fusion | None = None
    log_bytes: int = 0
    damage: tuple[Problem, ...] = ()
    passages: str | None = None
    rows: int = 0
    split: int | None = None
    cut: int | None = None
    tenant_field: str | None = None
    tenants: int | None = None
    late_bytes: int | None = None


def describe(
    directory: Path,
    manifest: Manifest,
    sparse_field: SparseField,
    snapshot: Snapshot,
    damage: tuple[Problem, ...] = (),
) -> CollectionInfo:
    """Gather the figures of a snapshot."""
    segments = []
    pending = 0
    loss = QuantisationLoss()
    for view in snapshot.segments:
        index = view.segment.index
        loss = loss.merge(index.loss)
        if view.segment.name == PENDING:
            pending += view.n_documents
            continue
        segments.append(
            SegmentInfo(
                view.segment.name,
                view.segment.n_rows,
                view.segment.n_rows - view.n_rows,
                index.n_postings,
                segment_bytes(directory, view.segment.name),
            )
        )
    with snapshot.reading() as connection:
        unfinished = describe_unfinished(connection, directory)
        terms = connection.execute("SELECT count(*) FROM terms").fetchone()[0]
        split, _, cut = count_split(connection) if manifest.tells_passages else (None, None, None)
        tenants = None if manifest.tenant_field is None else len(count_tenants(connection))
        late_bytes = size_of_token_vectors(connection) if manifest.late else None
    return CollectionInfo(
        path=str(directory),
        format=read_manifest(directory).format,  # raised since it was opened, maybe
        created_by=manifest.created_by,
        encoder=manifest.encoder,
        documents=snapshot.n_documents,
        deleted=sum(segment.deleted for segment in segments),
        pending=pending,
        unfinished=unfinished,
        segments=tuple(segments),
        postings=sum(view.segment.index.n_postings for view in snapshot.segments),
        terms=sparse_field.identity.vocabulary_size or terms,
        average_length=snapshot.average_length if sparse_field.frequencies else None,
        far_average=far_average(snapshot) if sparse_field.frequencies else None,
        impact_scales=tuple(sorted({view.segment.index.scale for view in snapshot.segments if view.segment.n_rows})),
        loss=loss,
        index_bytes=sum(sum(segment.bytes.values()) for segment in segments),
        database_bytes=(directory / DATABASE).stat().st_size + log_bytes(directory),
        dense=_dense(directory, manifest, snapshot, segments),
        fusion=snapshot.fusion,
        log_bytes=log_bytes(directory),
        damage=damage,
        passages=None if manifest.passages is None else str(manifest.passages),
        rows=snapshot.n_rows,
        split=split,
        cut=cut,
        tenant_field=manifest.tenant_field,
        tenants=tenants,
        late_bytes=late_bytes,
    )


def _dense(directory: Path, manifest: Manifest, snapshot: Snapshot, segments: list[SegmentInfo]) -> DenseInfo | None:
    if manifest.dense is None:
        return None
    indexes = [view.segment.dense for view in snapshot.segments if view.segment.dense is not None]
    clustered = [index for index in indexes if kind_of(index) == "spann"]
    size = sum(count for segment in segments for name, count in segment.bytes.items() if name.split("/")[0] == DENSE)
    return DenseInfo(
        manifest.dense.encoder,
        manifest.dense.width,
        sum(index.n_rows for index in indexes),
        size,
        manifest.dense.index,
        sum(index.n_rows for index in clustered),
        sum(index.resident_bytes for index in clustered),
        "table" if has_table(directory) else "model",
    )
