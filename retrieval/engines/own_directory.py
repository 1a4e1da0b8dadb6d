"""Our own collections as `move` reads and makes them: documents with the vectors of their rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from threading import RLock

import numpy as np

from lexhound.core.atomic_files import neighbour, replace_directory
from lexhound.core.disk_errors import storage_errors
from lexhound.core.lock import Claim
from lexhound.encoders.vector_files import stacked
from lexhound.retrieval.aliases import check_is_no_alias
from lexhound.retrieval.collection.collection import Collection
from lexhound.retrieval.collection.fields.dense_field import DenseField
from lexhound.retrieval.collection.fields.opening import load_field
from lexhound.retrieval.collection.fields.splitter import Splitter
from lexhound.retrieval.collection.query.snapshot import Snapshot
from lexhound.retrieval.collection.recovery import recover_claimed
from lexhound.retrieval.collection.store.manifest import Manifest, write_manifest
from lexhound.retrieval.collection.store.passage_table import CREATE, read_cut
from lexhound.retrieval.collection.store.schema import connect, create_database, keep_log
from lexhound.retrieval.collection.store.stored_documents import content_hash
from lexhound.retrieval.collection.store.vocabulary import SqliteVocabulary
from lexhound.retrieval.collection.write.compaction import merge
from lexhound.retrieval.collection.write.rows import PUBLISHED
from lexhound.retrieval.collection.write.writer import Writer
from lexhound.retrieval.errors import CollectionExistsError, EngineError
from lexhound.retrieval.exports.rows import RowChunk, live_rows

from .engine import EngineDocument, SparseVector

_ASIDE = "moving"


def own_documents(collection: Collection, snapshot: Snapshot) -> Iterator[list[EngineDocument]]:
    """Yield the live documents of a snapshot with the weights and dense vectors that its segments hold.

    In order of insertion, but for those whose rows lie in several segments: these come with their last row.
    """
    waiting: dict[int, dict[int, tuple[RowChunk, int]]] = {}
    for chunk in live_rows(snapshot, collection.sparse_field):
        whole = []
        for place, (number, spans, passage) in enumerate(
            zip(chunk.internal_ids, chunk.spans, chunk.passages, strict=True)
        ):
            rows = waiting.setdefault(number, {})
            rows[0 if passage is None else passage.number] = (chunk, place)
            if len(rows) == (1 if spans is None else len(spans)):
                whole.append((number, [rows[at] for at in range(len(rows))]))
                del waiting[number]
        with snapshot.reading() as connection:
            cut = read_cut(connection, [number for number, _ in whole])
        yield [_document(number, rows, cut=number in cut) for number, rows in whole]


def _document(number: int, rows: Sequence[tuple[RowChunk, int]], *, cut: bool) -> EngineDocument:
    """Return a document of its rows, each a place in a chunk."""
    first, at = rows[0]
    document, spans = first.wholes[at], first.spans[at]
    vectors: list[SparseVector] = []
    for chunk, place in rows:
        terms, impacts = chunk.vector(place)
        vectors.append((terms.astype(np.int32), impacts.astype(np.float32) * np.float32(chunk.scale)))
    near = [chunk.dense[place] for chunk, place in rows if chunk.dense is not None]
    passages = () if spans is None else tuple((begin, end) for begin, end in spans.tolist())
    dense = np.stack(near) if near else None
    return EngineDocument(number, content_hash(document), document, vectors, dense, passages, cut)


def make_own(directory: Path, manifest: Manifest, documents: Iterable[Sequence[EngineDocument]]) -> None:
    """Make a collection of documents, in their order; it is there when it is complete, and else not at all.

    Raises:
        CollectionExistsError: something is at the path. EncoderError: the encoder is not here, or no longer the same.
        StorageFullError, ReadOnlyError: the collection cannot be written.
    """
    with Claim(directory) as claim, storage_errors(directory):
        recover_claimed(claim)
        if directory.exists():
            raise CollectionExistsError(
                "something is here already", where=str(directory), hint="give another path, or remove what is there"
            )
        check_is_no_alias(directory)
        with replace_directory(directory, neighbour(directory, _ASIDE)) as aside:
            create_database(aside, dense=manifest.dense is not None, more=CREATE if manifest.tells_passages else "")
            write_manifest(aside, manifest)
            _fill(aside, manifest, documents)


def _fill(directory: Path, manifest: Manifest, documents: Iterable[Sequence[EngineDocument]]) -> None:
    connection = connect(directory, writable=True)
    try:
        sparse_field = load_field(manifest.encoder, SqliteVocabulary(connection))
        dense = None if manifest.dense is None else DenseField(manifest.dense.encoder, manifest.dense.width)
        policy = "flat" if manifest.dense is None else manifest.dense.index
        writer = Writer(directory, connection, RLock(), sparse_field, dense, policy, tenant_field=manifest.tenant_field)
        splitter = Splitter(manifest.passages, sparse_field, dense)
        for chunk in documents:
            sparse = None  # bm25's are counted again
            if not sparse_field.frequencies:
                sparse = stacked(
                    [vector for each in chunk for vector in each.sparse], manifest.encoder.vocabulary_size or 1
                )
            near = [each.dense for each in chunk if each.dense is not None]
            split = [splitter.split_at(each.document, each.spans, cut=each.cut) for each in chunk]
            twice = writer.store_encoded(
                [each.document for each in chunk], sparse, np.concatenate(near) if near else None, split
            )
            if twice is not None:
                raise EngineError(f"the id {twice!a} is there twice", hint="delete that document, and put it in again")
        writer.flush()
        names = [name for (name,) in connection.execute("SELECT name FROM segments ORDER BY first_seq")]
        if len(names) > 1:
            merge(writer, names, PUBLISHED)
    finally:
        connection.close()
        keep_log(directory)
