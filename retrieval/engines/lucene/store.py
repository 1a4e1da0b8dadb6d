"""`lucene.sqlite` of a Lucene collection: documents and weights, beside the index that ranks them.

Lucene knows documents by their number (`seq`) and terms by their id, written as text.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

from lexhound.encoders.bm25.vocabulary import Vocabulary
from lexhound.retrieval.collection.store.schema import translate
from lexhound.retrieval.collection.store.sql import select_in
from lexhound.retrieval.collection.store.sqlite_damage import Connection
from lexhound.retrieval.collection.store.stored_documents import digested_document
from lexhound.retrieval.collection.store.vocabulary import SqliteVocabulary
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.engines.engine import EngineRow, SparseVector
from lexhound.retrieval.errors import CorruptCollectionError

Row: TypeAlias = tuple[Any, ...]

DATABASE = "lucene.sqlite"
_TABLES = """
CREATE TABLE properties(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE rows(seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, digest INTEGER NOT NULL, title TEXT NOT NULL,
    text TEXT NOT NULL, metadata TEXT, terms BLOB NOT NULL, weights BLOB NOT NULL);
CREATE TABLE terms(term_id INTEGER PRIMARY KEY, term TEXT NOT NULL UNIQUE);
CREATE TABLE frequencies(term INTEGER PRIMARY KEY, documents INTEGER NOT NULL);
"""


class Store:
    """The database of one collection; one connection, used under a lock."""

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        """Open the database. Raises CorruptCollectionError where it is missing or damaged."""
        self._path = folder / DATABASE
        self._lock = RLock()
        if not create and not self._path.is_file():
            raise self._damaged("it is missing")
        self._connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, factory=Connection
        )
        if create:
            self._connection.executescript(f"PRAGMA journal_mode = WAL; BEGIN; {_TABLES} COMMIT;")
        try:
            self._one("SELECT count(*) FROM properties")
        except (sqlite3.DatabaseError, CorruptCollectionError) as error:
            self._connection.close()
            raise self._damaged(str(getattr(error, "message", error))) from error

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    @property
    def vocabulary(self) -> Vocabulary:
        """The terms of bm25, which grow while documents are put."""
        return _Vocabulary(self._connection, self._lock)

    @property
    def statistics(self) -> tuple[float, float] | None:
        """Scale and average length; None before the index is built."""
        rows: dict[str, float] = dict(self._chosen("name, value", "name", ("scale", "average_length"), "properties"))
        return (float(rows["scale"]), float(rows["average_length"])) if rows else None

    @property
    def postings(self) -> int:
        """Stored weights."""
        return int((self._one("SELECT coalesce(sum(length(terms)), 0) / 4 FROM rows") or (0,))[0])

    def count(self) -> int:
        """Return documents."""
        return int((self._one("SELECT count(*) FROM rows") or (0,))[0])

    def put(self, rows: Sequence[EngineRow]) -> None:
        """Insert rows, in place of those with the same ids, in one transaction."""
        values = [
            (
                row.internal_id,
                row.document.id,
                row.digest,
                row.document.title,
                row.document.text,
                orjson.dumps(row.document.metadata).decode() if row.document.metadata else None,
                np.asarray(row.sparse[0], "<i4").tobytes(),
                np.asarray(row.sparse[1], "<f4").tobytes(),
            )
            for row in rows
        ]
        with self._transaction():
            self._connection.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)

    def built(self, scale: float, average_length: float, frequencies: NDArray[np.int64]) -> None:
        """Note that there is an index, and how many documents hold each term (int64, by term id)."""
        present = np.flatnonzero(frequencies)
        pairs = zip(present.tolist(), frequencies[present].tolist(), strict=True)
        with self._transaction():
            self._connection.execute("DELETE FROM frequencies")
            self._connection.executemany("INSERT INTO frequencies VALUES (?, ?)", pairs)
            self._connection.executemany(
                "INSERT OR REPLACE INTO properties VALUES (?, ?)",
                (("scale", scale), ("average_length", average_length)),
            )

    def weights(self) -> Iterator[tuple[int, SparseVector]]:
        """Yield (seq, weights) of all documents, in order."""
        for row in self._pages("seq, terms, weights"):
            yield row[0], _vector(row[1], row[2])

    def rows(self) -> Iterator[EngineRow]:
        """Yield all documents, in order."""
        for seq, identifier, digest, title, text, metadata, terms, weights in self._pages(
            "seq, id, digest, title, text, metadata, terms, weights"
        ):
            vector = _vector(terms, weights)
            yield EngineRow(seq, digest, digested_document((identifier, title, text, metadata), digest, vector), vector)

    def digests(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the digests of those documents that are there."""
        return dict(self._chosen("id, digest", "id", ids))

    def documents(self, ids: Sequence[str]) -> dict[str, Document]:
        """Return those documents that are there, each compared with its digest.

        Raises:
            CorruptCollectionError: one is not what was written; names it.
        """
        columns = "id, title, text, metadata, digest, terms, weights"
        return {
            row[0]: digested_document((row[0], row[1], row[2], row[3]), row[4], _vector(row[5], row[6]))
            for row in self._chosen(columns, "id", ids)
        }

    def vectors(self, ids: Sequence[str]) -> dict[str, SparseVector]:
        """Return the weights of those documents that are there, as they were given."""
        return {row[0]: _vector(row[1], row[2]) for row in self._chosen("id, terms, weights", "id", ids)}

    def numbered(self, internal_ids: Sequence[int]) -> dict[int, tuple[str, SparseVector]]:
        """Return id and weights by document number."""
        rows = self._chosen("seq, id, terms, weights", "seq", internal_ids)
        return {row[0]: (row[1], _vector(row[2], row[3])) for row in rows}

    def frequencies(self, terms: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return how many documents hold each term, once the index is built."""
        known: dict[int, int] = dict(self._chosen("term, documents", "term", terms.tolist(), "frequencies"))
        return np.array([known.get(term, 0) for term in terms.tolist()], np.int64)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Write all or nothing. Raises StorageFullError, ReadOnlyError, CorruptCollectionError."""
        with self._lock:
            try:
                with self._connection:
                    self._connection.execute("BEGIN IMMEDIATE")
                    yield
            except sqlite3.Error as error:
                raise translate(error, self._path) from error

    def _pages(self, columns: str) -> Iterator[Row]:
        last = -1
        while True:
            with self._lock:
                page = self._connection.execute(
                    f"SELECT {columns} FROM rows WHERE seq > ? ORDER BY seq LIMIT 512", (last,)
                ).fetchall()
            if not page:
                return
            yield from page
            last = page[-1][0]

    def _chosen(self, columns: str, key: str, keys: Sequence[object], table: str = "rows") -> list[Row]:
        with self._lock:
            return list(select_in(self._connection, f"SELECT {columns} FROM {table} WHERE {key} IN (?)", keys))

    def _one(self, statement: str) -> Row | None:
        with self._lock:
            row: Row | None = self._connection.execute(statement).fetchone()
        return row

    def _damaged(self, why: str) -> CorruptCollectionError:
        return CorruptCollectionError(
            f"damaged: {why}", where=str(self._path), hint="restore it from a backup or index the corpus again"
        )


class _Vocabulary(SqliteVocabulary):
    """Terms in the store's database; new ones are committed at once, all of a call together."""

    def __init__(self, connection: sqlite3.Connection, lock: RLock) -> None:
        super().__init__(connection)
        self._lock = lock

    def grow(self, terms: Sequence[str]) -> NDArray[np.int32]:
        with self._lock, self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            return super().grow(terms)


def _vector(terms: bytes, weights: bytes) -> SparseVector:
    return np.frombuffer(terms, "<i4"), np.frombuffer(weights, "<f4")
