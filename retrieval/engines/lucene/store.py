"""`lucene.sqlite` of a Lucene collection: documents and weights, beside the index that ranks them.

Lucene knows rows by their number (`seq`) and terms by their id, written as text. A document is a row, or where it is
split one a passage: the first has the document's own number, and the others, which are in `pieces`, the next ones.
`passages` is that of our own collections (`store.passage_table`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from threading import RLock
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

from lexhound.encoders.bm25.vocabulary import Vocabulary
from lexhound.retrieval.collection.store import passage_table
from lexhound.retrieval.collection.store.schema import translate
from lexhound.retrieval.collection.store.sql import select_in
from lexhound.retrieval.collection.store.sqlite_damage import Connection
from lexhound.retrieval.collection.store.stored_documents import digested_document
from lexhound.retrieval.collection.store.vocabulary import SqliteVocabulary
from lexhound.retrieval.documents.splitting import Span
from lexhound.retrieval.engines.engine import EngineDocument, Head, SparseVector, StoredDocument
from lexhound.retrieval.errors import CorruptCollectionError

Row: TypeAlias = tuple[Any, ...]

DATABASE = "lucene.sqlite"
_TABLES = (
    """
CREATE TABLE properties(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE rows(seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, digest INTEGER NOT NULL, title TEXT NOT NULL,
    text TEXT NOT NULL, metadata TEXT, terms BLOB NOT NULL, weights BLOB NOT NULL);
CREATE TABLE pieces(seq INTEGER PRIMARY KEY, document INTEGER NOT NULL, terms BLOB NOT NULL, weights BLOB NOT NULL);
CREATE INDEX pieces_of ON pieces(document);
CREATE TABLE terms(term_id INTEGER PRIMARY KEY, term TEXT NOT NULL UNIQUE);
CREATE TABLE frequencies(term INTEGER PRIMARY KEY, documents INTEGER NOT NULL);
"""
    + passage_table.CREATE
)
_ROWS = "SELECT seq, terms, weights FROM rows WHERE seq > ?"
_PIECES = "SELECT seq, terms, weights FROM pieces WHERE seq > ?"


class StoredRow(NamedTuple):
    """A row of the index: whose it is, by id and number, how many rows that has, and its weights as they were given."""

    id: str
    document: int
    rows: int
    vector: SparseVector


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
        self._has_pieces = False
        try:
            self._one("SELECT count(*) FROM properties")
            self._has_pieces = self._one("SELECT 1 FROM sqlite_master WHERE name = 'pieces'") is not None
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
        tables = ("rows", "pieces") if self._has_pieces else ("rows",)
        return sum(
            int((self._one(f"SELECT coalesce(sum(length(terms)), 0) / 4 FROM {each}") or (0,))[0]) for each in tables
        )

    def count(self) -> int:
        """Return documents."""
        return int((self._one("SELECT count(*) FROM rows") or (0,))[0])

    def count_rows(self) -> int:
        """Return rows of the index."""
        further = int((self._one("SELECT count(*) FROM pieces") or (0,))[0]) if self._has_pieces else 0
        return self.count() + further

    def count_split(self) -> tuple[int, int]:
        """Return how many documents are split, and of how many an encoder left out a part."""
        with self._lock:
            split, _, cut = passage_table.count_split(self._connection, "1")
        return split, cut

    def put(self, documents: Sequence[EngineDocument]) -> None:
        """Insert documents, in place of those with the same ids, in one transaction."""
        values = [
            (
                each.internal_id,
                each.document.id,
                each.digest,
                each.document.title,
                each.document.text,
                orjson.dumps(each.document.metadata).decode() if each.document.metadata else None,
                *_packed(each.sparse[0]),
            )
            for each in documents
        ]
        with self._transaction():
            before = self._chosen("seq", "id", [each.document.id for each in documents])
            replaced = [seq for (seq,) in before]
            if self._has_pieces:
                self._connection.executemany("DELETE FROM pieces WHERE document = ?", ((seq,) for seq in replaced))
                passage_table.forget_spans(self._connection, replaced)
            self._connection.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
            if self._has_pieces:
                told = [(each.internal_id, each.spans, each.cut) for each in documents if each.spans or each.cut]
                passage_table.write_spans(self._connection, told)
                self._connection.executemany("INSERT INTO pieces VALUES (?, ?, ?, ?)", _pieces(documents))

    def built(self, scale: float, average_length: float, frequencies: NDArray[np.int64]) -> None:
        """Note that there is an index, and how many rows hold each term (int64, by term id)."""
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
        """Yield (seq, weights) of all rows, in order."""
        parts = [_ROWS, _PIECES] if self._has_pieces else [_ROWS]  # collections of earlier versions have no pieces
        for row in self._pages(" UNION ALL ".join(parts), len(parts)):
            yield row[0], _vector(row[1], row[2])

    def stored(self, batch: int) -> Iterator[list[EngineDocument]]:
        """Yield all documents, in order, `batch` at a time."""
        columns = "seq, id, digest, title, text, metadata, terms, weights"
        rows = self._pages(f"SELECT {columns} FROM rows WHERE seq > ?", 1)
        while page := list(islice(rows, batch)):
            numbers = [row[0] for row in page]
            spans, vectors = self._spans(numbers), self._further(numbers)
            with self._lock:
                cut = passage_table.read_cut(self._connection, numbers)
            yield [
                EngineDocument(
                    seq,
                    digest,
                    digested_document((identifier, title, text, metadata), digest, _vector(terms, weights)),
                    [_vector(terms, weights), *vectors.get(seq, [])],
                    spans=spans.get(seq, ()),
                    cut=seq in cut,
                )
                for seq, identifier, digest, title, text, metadata, terms, weights in page
            ]

    def heads(self, ids: Sequence[str]) -> dict[str, Head]:
        """Return the heads of those documents that are there."""
        rows = self._chosen("id, digest, seq", "id", ids)
        spans = self._spans([seq for _, _, seq in rows])
        return {name: Head(digest, seq, max(1, len(spans.get(seq, ())))) for name, digest, seq in rows}

    def documents(self, ids: Sequence[str]) -> dict[str, StoredDocument]:
        """Return those documents that are there, each compared with its digest.

        Raises:
            CorruptCollectionError: one is not what was written; names it.
        """
        rows = self._chosen("id, title, text, metadata, digest, terms, weights, seq", "id", ids)
        spans = self._spans([row[7] for row in rows])
        return {
            row[0]: StoredDocument(
                digested_document((row[0], row[1], row[2], row[3]), row[4], _vector(row[5], row[6])),
                row[7],
                spans.get(row[7], ()),
            )
            for row in rows
        }

    def vectors(self, ids: Sequence[str]) -> dict[str, list[SparseVector]]:
        """Return the weights of the rows of those documents that are there, as they were given."""
        rows = self._chosen("id, seq, terms, weights", "id", ids)
        further = self._further([row[1] for row in rows])
        return {row[0]: [_vector(row[2], row[3]), *further.get(row[1], [])] for row in rows}

    def numbered(self, internal_ids: Sequence[int]) -> dict[int, StoredRow]:
        """Return rows by number."""
        columns = "rows.seq, id, rows.seq, rows.terms, rows.weights"
        rows = self._chosen(columns, "rows.seq", internal_ids)
        if self._has_pieces and len(rows) < len(internal_ids):
            table = "pieces JOIN rows ON rows.seq = document"
            columns = "pieces.seq, id, document, pieces.terms, pieces.weights"
            rows += self._chosen(columns, "pieces.seq", internal_ids, table)
        spans = self._spans(list({row[2] for row in rows}))
        return {
            row[0]: StoredRow(row[1], row[2], max(1, len(spans.get(row[2], ()))), _vector(row[3], row[4]))
            for row in rows
        }

    def rows_of(self, documents: Sequence[int]) -> list[int]:
        """Return the numbers of all rows of some documents."""
        with self._lock:
            return passage_table.rows_of(self._connection, documents)

    def _spans(self, documents: Sequence[int]) -> dict[int, list[Span]]:
        with self._lock:
            found = passage_table.read_spans(self._connection, documents)
        return {seq: [(begin, end) for begin, end in spans.tolist()] for seq, spans in found.items()}

    def _further(self, documents: Sequence[int]) -> dict[int, list[SparseVector]]:
        """Return the weights of the rows of documents behind the first, in order."""
        rows = (
            self._chosen("document, seq, terms, weights", "document", documents, "pieces") if self._has_pieces else []
        )
        found: dict[int, list[SparseVector]] = {}
        for document, _, terms, weights in sorted(rows, key=lambda row: row[1]):
            found.setdefault(document, []).append(_vector(terms, weights))
        return found

    def frequencies(self, terms: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return how many rows hold each term, once the index is built."""
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

    def _pages(self, query: str, marks: int) -> Iterator[Row]:
        """Yield the rows of a query for those behind a number, which has so many places in it, in order."""
        last = -1
        while True:
            with self._lock:
                page = self._connection.execute(f"{query} ORDER BY seq LIMIT 512", (last,) * marks).fetchall()
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


def _packed(vector: SparseVector) -> tuple[bytes, bytes]:
    return np.asarray(vector[0], "<i4").tobytes(), np.asarray(vector[1], "<f4").tobytes()


def _pieces(documents: Sequence[EngineDocument]) -> Iterator[tuple[int, int, bytes, bytes]]:
    """Yield the rows behind the first of each document."""
    for each in documents:
        for number, vector in enumerate(each.sparse[1:], 1):
            yield each.internal_id + number, each.internal_id, *_packed(vector)
