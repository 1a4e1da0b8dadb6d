"""Beginning to write to a collection, and ending it."""

from __future__ import annotations

from pathlib import Path
from threading import RLock

from lexhound.core.lock import WriterLock
from lexhound.retrieval.collection.fields.opening import load_field
from lexhound.retrieval.collection.store.manifest import Manifest
from lexhound.retrieval.collection.store.schema import Identity, connect, keep_log
from lexhound.retrieval.collection.store.segment import sweep
from lexhound.retrieval.collection.store.table_checksum import check_tables
from lexhound.retrieval.collection.store.vocabulary import SqliteVocabulary
from lexhound.retrieval.collection.store.wal import WAIT_SECONDS
from lexhound.retrieval.collection.write.writer import SMALLEST_SEGMENT, Writer

from .encoders import CollectionEncoders


def open_writer(
    directory: Path, identity: Identity | None, manifest: Manifest, encoders: CollectionEncoders, lock: WriterLock
) -> Writer:
    """Return the writer of a collection whose lock is held; what an earlier one left behind is removed."""
    connection = connect(directory, writable=True, identity=identity)
    check_tables(connection)
    sparse = load_field(manifest.encoder, SqliteVocabulary(connection), like=encoders.sparse)
    policy = "flat" if manifest.dense is None else manifest.dense.index
    writer = Writer(directory, connection, RLock(), sparse, encoders.dense, policy, lock.check, manifest.tenant_field)
    writer.passages = manifest.passages
    sweep(directory, {name for (name,) in connection.execute("SELECT name FROM segments")})
    return writer


def close_writer(directory: Path, writer: Writer) -> None:
    """End writing; documents that wait for a segment get one if they are many."""
    try:
        if writer.waiting_documents(0) >= SMALLEST_SEGMENT:
            writer.flush()
        writer.log.cut(WAIT_SECONDS)
    finally:
        writer.connection.close()
        keep_log(directory)
