"""The rows of documents in the database: which are visible, adding some, removing some; inside transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import numpy as np
import orjson
from numpy.typing import NDArray

from lexhound.retrieval.collection.store.sql import last_internal_id, select_in
from lexhound.retrieval.collection.store.stored_documents import hash_of
from lexhound.retrieval.documents.document import Document, is_encodable
from lexhound.retrieval.documents.metadata import flatten

# Rows that no ingest job owns: they are visible as soon as they are committed.
PUBLISHED = 0


def visible_rows(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return (internal id, `content_hash`) of the published documents with these ids."""
    ids = [identifier for identifier in ids if is_encodable(identifier)]  # no document has another
    query = "SELECT id, seq, hash FROM rows WHERE id IN (?) AND run NOT IN (SELECT run FROM runs)"
    return {identifier: (seq, hash_of(stored)) for identifier, seq, stored in select_in(connection, query, ids)}


def tombstone(connection: sqlite3.Connection, internal_ids: Sequence[int]) -> None:
    """Remove documents; their rows stay in segments as tombstones until `compact`."""
    keys = [(seq,) for seq in internal_ids]
    connection.executemany("INSERT INTO tombstones(seq) VALUES (?)", keys)
    connection.executemany("DELETE FROM contents WHERE seq = ?", keys)
    connection.executemany("DELETE FROM rows WHERE seq = ?", keys)


def insert_rows(
    connection: sqlite3.Connection, documents: Sequence[tuple[Document, bytes]], job: int
) -> NDArray[np.int64]:
    """Insert documents with their hashes (`stored_hash`); return their internal ids, int64, ascending."""
    first = last_internal_id(connection) + 1
    internal_ids = np.arange(first, first + len(documents), dtype=np.int64)
    numbered = list(zip(internal_ids.tolist(), documents, strict=True))
    connection.executemany(
        "INSERT INTO rows(seq, id, run, hash) VALUES (?, ?, ?, ?)",
        ((seq, document.id, job, stored) for seq, (document, stored) in numbered),
    )
    connection.executemany(
        "INSERT INTO contents(seq, title, text, metadata) VALUES (?, ?, ?, ?)",
        ((seq, document.title, document.text, _metadata_json(document)) for seq, (document, _) in numbered),
    )
    connection.executemany(
        "INSERT OR IGNORE INTO metadata(field, value, seq) VALUES (?, ?, ?)",
        (
            (field, value, seq)
            for seq, (document, _) in numbered
            if document.metadata
            for field, value in flatten(document.metadata)
        ),
    )
    return internal_ids


def _metadata_json(document: Document) -> str | None:
    return orjson.dumps(document.metadata).decode() if document.metadata else None
