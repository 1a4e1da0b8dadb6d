"""Reading what a snapshot's rows stand for: documents and ids, each checked against what was written."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lexhound.retrieval.collection.store.passage_table import read_spans
from lexhound.retrieval.collection.store.schema import DATABASE
from lexhound.retrieval.collection.store.stored_documents import ROWS_AT_ONCE, document_of, read_rows
from lexhound.retrieval.deadline import check_deadline
from lexhound.retrieval.documents.document import Document, is_encodable
from lexhound.retrieval.documents.passages import Passage, passage_of
from lexhound.retrieval.errors import CorruptCollectionError, StaleSnapshotError
from lexhound.retrieval.tenants.keys import plain

from .snapshot import Snapshot

_CHUNK = 100


def read_documents(snapshot: Snapshot, internal_ids: Sequence[int]) -> dict[int, Document]:
    """Return stored documents by row number, each compared with its hash.

    Raises:
        StaleSnapshotError: one has been deleted or replaced since, and the snapshot holds no transaction.
        CorruptCollectionError: one is not what was written, and is named, or the index has a row that the database does
            not know.
    """
    documents: dict[int, Document] = {}
    with snapshot.reading() as connection:
        for start in range(0, len(internal_ids), ROWS_AT_ONCE):
            check_deadline()
            rows = read_rows(connection, list(internal_ids[start : start + ROWS_AT_ONCE]))
            documents.update((row[0], plain(document_of(row, exact=snapshot.exact), snapshot.prefix)) for row in rows)
    _check_found(snapshot, internal_ids, documents)
    return documents


def read_passages(snapshot: Snapshot, documents: Sequence[int]) -> dict[int, NDArray[np.uint32]]:
    """Return the spans, uint32[passages, 2], of those of some documents that are split.

    Raises:
        CorruptCollectionError: they are not what was written.
    """
    with snapshot.reading() as connection:
        return read_spans(connection, list(dict.fromkeys(documents)))


def passage_at(document: Document, number: int, spans: NDArray[np.uint32] | None) -> Passage | None:
    """Return the passage with a number; None for a document that is whole.

    Raises:
        CorruptCollectionError: the index knows more passages than the database.
    """
    if spans is None and number == 0:
        return None
    if spans is None or number >= len(spans):
        known = 0 if spans is None else len(spans)
        raise CorruptCollectionError(
            f"damaged: the index knows passage {number} of {document.id!a}, the database {known}",
            where=DATABASE,
            hint="put the document in again, delete it, or restore the collection from a backup",
        )
    begin, end = spans[number].tolist()
    return passage_of(document.text, number, (begin, end))


def read_latest(connection: sqlite3.Connection, identifier: str, *, exact: bool) -> Document | None:
    """Return the document with this id as the database has it now.

    `exact` means what it does for `stored_documents.document_of`, which says what is raised, too.
    """
    if not is_encodable(identifier):
        return None
    row = connection.execute(
        "SELECT seq FROM rows WHERE id = ? AND run NOT IN (SELECT run FROM runs)", (identifier,)
    ).fetchone()
    if row is None:
        _refuse_hidden(connection, identifier)
        return None
    return asked_document(document_of(read_rows(connection, row)[0], exact=exact), identifier)


def _refuse_hidden(connection: sqlite3.Connection, identifier: str) -> None:
    """Raise CorruptCollectionError where a row is said to be of an unfinished ingest job that began only after it."""
    hidden = connection.execute(
        "SELECT 1 FROM rows JOIN runs USING (run) WHERE id = ? AND seq < first_seq", (identifier,)
    ).fetchone()
    if hidden is not None:
        raise CorruptCollectionError(
            f"the document {identifier!a} is damaged: it is said to be of an ingest job that began after it",
            where=DATABASE,
            hint="restore the file from a backup or index the corpus again",
        )


def asked_document(document: Document, identifier: str) -> Document:
    """Return a document that was looked up by its id.

    Raises:
        CorruptCollectionError: it has another one.
    """
    if document.id != identifier:
        raise CorruptCollectionError(
            f"the index of ids is damaged: it leads from {identifier!a} to {document.id!a}",
            where=DATABASE,
            hint="restore the file from a backup or index the corpus again",
        )
    return document


def read_ids(snapshot: Snapshot, internal_ids: Sequence[int]) -> list[str]:
    """Return the ids of rows, in the order given; raises as `read_documents` does."""
    ids: dict[int, str] = {}
    with snapshot.reading() as connection:
        for start in range(0, len(internal_ids), _CHUNK):
            check_deadline()
            chunk = list(internal_ids[start : start + _CHUNK])
            marks = ",".join("?" * len(chunk))
            ids.update(connection.execute(f"SELECT seq, id FROM rows WHERE seq IN ({marks})", chunk))
    _check_found(snapshot, internal_ids, ids)
    return [ids[seq].removeprefix(snapshot.prefix) for seq in internal_ids]


def _check_found(snapshot: Snapshot, internal_ids: Sequence[int], present: Mapping[int, object]) -> None:
    if len(present) == len(internal_ids):
        return
    lost = [seq for seq in internal_ids if seq not in present]
    if snapshot.held is None and lost:
        raise StaleSnapshotError("documents of this state have been deleted since", hint="refresh the collection")
    if lost:
        raise CorruptCollectionError(
            f"damaged: the index has {len(lost):,} documents that the database does not know, row {lost[0]} first",
            hint="restore the collection from a backup or index the corpus again",
        )
