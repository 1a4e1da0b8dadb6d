"""The rows of documents in the database: which are visible, adding some, removing some; inside transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import numpy as np
import orjson
from numpy.typing import NDArray

from lexhound.retrieval.collection.fields.splitter import SplitDocument
from lexhound.retrieval.collection.store.passage_table import forget_spans, has_passages, rows_of, write_spans
from lexhound.retrieval.collection.store.sql import last_internal_id, select_in
from lexhound.retrieval.collection.store.stored_documents import hash_of
from lexhound.retrieval.collection.store.token_table import forget_token_vectors
from lexhound.retrieval.documents.document import Document, is_encodable
from lexhound.retrieval.documents.metadata import flatten
from lexhound.retrieval.tenants.keys import prefix_of_key

# Rows that no ingest job owns: they are visible as soon as they are committed.
PUBLISHED = 0


def visible_rows(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return (internal id, `content_hash`) of the published documents with these ids."""
    ids = [identifier for identifier in ids if is_encodable(identifier)]  # no document has another
    query = "SELECT id, seq, hash FROM rows WHERE id IN (?) AND run NOT IN (SELECT run FROM runs)"
    return {identifier: (seq, hash_of(stored)) for identifier, seq, stored in select_in(connection, query, ids)}


def tombstone(connection: sqlite3.Connection, internal_ids: Sequence[int]) -> None:
    """Remove documents with all their passages; their rows stay in segments as tombstones until `compact`."""
    keys = [(seq,) for seq in internal_ids]
    rows = rows_of(connection, internal_ids)
    connection.executemany("INSERT INTO tombstones(seq) VALUES (?)", ((row,) for row in rows))
    forget_token_vectors(connection, rows)
    forget_spans(connection, internal_ids)
    connection.executemany("DELETE FROM contents WHERE seq = ?", keys)
    connection.executemany("DELETE FROM rows WHERE seq = ?", keys)


def insert_rows(
    connection: sqlite3.Connection,
    documents: Sequence[tuple[Document, bytes]],
    job: int,
    split: Sequence[SplitDocument] | None = None,
    *,
    tenants: bool = False,
) -> NDArray[np.int64]:
    """Insert documents with their hashes (`stored_hash`), each `split` as it is encoded.

    Returns the internal ids of their rows, int64, ascending: one a piece, the first that of the document. With
    `tenants`, the values that filters scan stand under the tenant's prefix.
    """
    first = last_internal_id(connection) + 1
    counts = np.ones(len(documents), np.int64)
    if split is not None:
        counts = np.array([len(each.pieces) for each in split], np.int64)
    own = first + np.cumsum(counts) - counts
    internal_ids = np.arange(first, first + int(counts.sum()), dtype=np.int64)
    numbered = list(zip(own.tolist(), documents, strict=True))
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
            (prefix_of_key(document.id) + field if tenants else field, value, seq)
            for seq, (document, _) in numbered
            if document.metadata
            for field, value in flatten(document.metadata)
        ),
    )
    if split is not None and has_passages(connection):
        _insert_passages(connection, own.tolist(), split, int(internal_ids[-1]))
    return internal_ids


def _insert_passages(
    connection: sqlite3.Connection, internal_ids: Sequence[int], split: Sequence[SplitDocument], last: int
) -> None:
    """Store which of some documents are split or cut, and that numbers up to `last` are given out."""
    write_spans(
        connection,
        (
            (seq, each.spans, each.cut)
            for seq, each in zip(internal_ids, split, strict=True)
            if each.cut or len(each.spans) > 1
        ),
    )
    connection.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'rows'", (last,))


def _metadata_json(document: Document) -> str | None:
    return orjson.dumps(document.metadata).decode() if document.metadata else None
