"""Writing to a collection: transactions, and documents in and out.

A write is acknowledged when its SQLite transaction has committed. Everything here runs under the writer's lock, in one
process; readers see each transaction whole or not at all.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lexhound.retrieval.collection.fields.dense_field import BATCH_DOCUMENTS, DenseField
from lexhound.retrieval.collection.fields.document_vectors import vectors_of
from lexhound.retrieval.collection.fields.sparse_field import SparseField
from lexhound.retrieval.collection.fields.splitter import SplitDocument, Splitter
from lexhound.retrieval.collection.store.average_length import read_average_length
from lexhound.retrieval.collection.store.dense_batches import pack_dense
from lexhound.retrieval.collection.store.passage_table import has_passages
from lexhound.retrieval.collection.store.schema import DATABASE, check_identity, identity_of, log_identity, translate
from lexhound.retrieval.collection.store.sparse_batches import pack
from lexhound.retrieval.collection.store.stored_documents import content_hash, damaged_rows, hash_of, stored_hash
from lexhound.retrieval.collection.store.table_checksum import write_table_checksum
from lexhound.retrieval.collection.store.token_table import has_token_vectors, write_token_vectors
from lexhound.retrieval.collection.store.wal import BoundedLog
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.documents.encoded_document import EncodedDocument, is_wordless

from .average_length import Lengths, has_grown, renew_average_length
from .flush import flush
from .rows import PUBLISHED, insert_rows, tombstone, visible_rows

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from lexhound.encoders.base import ShareDone
    from lexhound.encoders.late.vectors import TokenVectors
    from lexhound.retrieval.collection.fields.late_field import LateField
    from lexhound.retrieval.documents.passages import PassageSettings

# A segment is built when this much waits in batches: bounds both the memory of building it and the time that opening a
# collection spends on indexing the rest in memory.
FLUSH_BYTES = 32 * 2**20
# The first segment of bm25 comes earlier: until an average length is kept, every refresh indexes all that waits anew.
FIRST_SEGMENT = 8192
# At the end of a writing session, fewer documents than this stay in the database rather than become a tiny segment.
SMALLEST_SEGMENT = 1024

Status: TypeAlias = Literal["added", "replaced", "unchanged"]


@dataclass(frozen=True, slots=True)
class AddReport:
    """What became of added documents: new ids, ids whose document was replaced, documents that were there already.

    Attributes:
        wordless: how many of all of them have neither a letter nor a digit in title and text.
    """

    added: int = 0
    replaced: int = 0
    unchanged: int = 0
    wordless: int = 0

    @property
    def total(self) -> int:
        return self.added + self.replaced + self.unchanged

    def __add__(self, other: AddReport) -> AddReport:
        return AddReport(
            self.added + other.added,
            self.replaced + other.replaced,
            self.unchanged + other.unchanged,
            self.wordless + other.wordless,
        )


class Writer:
    """The write side of an open collection; one at a time, whose connection is used under `lock`."""

    def __init__(
        self,
        directory: Path,
        connection: sqlite3.Connection,
        lock: RLock,
        sparse_field: SparseField,
        dense: DenseField | None = None,
        dense_index: str = "auto",
        check_lock: Callable[[], None] | None = None,
        tenant_field: str | None = None,
    ) -> None:
        """`check_lock` raises CollectionGoneError where the writer no longer holds the collection's lock.

        With a `tenant_field` documents come under their keys (`tenants.keys`).
        """
        self.directory = directory.absolute()
        self.files = identity_of(directory), log_identity(directory)
        self.check_lock = check_lock
        self.log = BoundedLog(directory, connection)
        self.connection = connection
        self.lock = lock
        self.merging = RLock()  # held while segments are merged; taken before `lock` where both are needed
        self.sparse_field = sparse_field
        self.dense = dense
        self.passages: PassageSettings | None = None  # how long texts are split
        self.dense_index = dense_index  # one of `dense_index.POLICIES`
        self.tenant_field = tenant_field
        self.lengths: dict[str, Lengths] = {}  # of segments, for `average_length`
        # What weights are made with in the place of today's average and of what suits them: an import's.
        self.average_length: float | None = None
        self.scale: float | None = None
        self._splitter: Splitter | None = None
        self._split_for: tuple[SparseField, DenseField | None] | None = None
        self._tells_passages = has_passages(connection)
        self._late = has_token_vectors(connection)

    @property
    def splitter(self) -> Splitter:
        """What splits documents for the encoders that the writer has now."""
        encoders = (self.sparse_field, self.dense)
        if self._splitter is None or self._split_for != encoders:
            self._splitter, self._split_for = Splitter(self.passages, *encoders), encoders
        return self._splitter

    @property
    def batch_documents(self) -> int:
        """Documents encoded and acknowledged together."""
        sparse = self.sparse_field.batch_documents
        return sparse if self.dense is None else min(sparse, BATCH_DOCUMENTS)

    @property
    def tokens_encoded(self) -> int | None:
        """How many tokens models have read; None without a model."""
        sparse = self.sparse_field.tokens_encoded
        return sparse if self.dense is None else (sparse or 0) + self.dense.tokens_encoded

    @contextmanager
    def transaction(self, *, visible: bool = True) -> Iterator[sqlite3.Connection]:
        """Commit the block, or roll back on any exception; raises StorageFullError where the disk is full.

        One that is not `visible` changes nothing that a reader would have to move on for.
        """
        with self.lock:
            try:
                self.check_place()
                self.connection.execute("BEGIN IMMEDIATE")
                yield self.connection
                if visible:
                    self.connection.execute("UPDATE properties SET value = value + 1 WHERE name = 'generation'")
                write_table_checksum(self.connection)
                self.connection.execute("COMMIT")
                # What nobody will find at the path must not be acknowledged.
                self.check_place()
            except BaseException as error:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                self.sparse_field.forget()
                if isinstance(error, sqlite3.Error):
                    raise translate(error, self.directory / DATABASE) from error
                raise
            self.log.bound()

    def check_place(self) -> None:
        """Check that the collection is still at its path.

        Raises:
            CollectionGoneError: it was removed, or another one is there.
        """
        check_identity(self.directory, *self.files)
        if self.check_lock is not None:
            self.check_lock()

    def add(self, documents: Iterable[Document]) -> AddReport:
        """Insert or replace documents by id, in chunks that are acknowledged one by one.

        Where one id occurs twice, the later document stays.
        """
        report = AddReport()
        chunk: dict[str, Document] = {}
        for document in documents:
            chunk.pop(document.id, None)
            chunk[document.id] = document
            if len(chunk) == self.batch_documents:
                report += self.store(list(chunk.values()), PUBLISHED)
                chunk = {}
        return report + self.store(list(chunk.values()), PUBLISHED)

    def put(self, documents: Sequence[Document]) -> list[Status]:
        """Add documents in one transaction; returns what became of each, as if they had come one after the other."""
        last: dict[str, int] = {}
        digests: dict[str, int | None] = {}
        with self.lock:
            hashes = [content_hash(document) for document in documents]
            existing = self.known(documents, hashes)
            statuses: list[Status] = []
            for position, (document, digest) in enumerate(zip(documents, hashes, strict=True)):
                exists = document.id in digests or document.id in existing
                before = digests[document.id] if document.id in digests else existing.get(document.id, (0, None))[1]
                statuses.append("added" if not exists else "unchanged" if before == digest else "replaced")
                digests[document.id] = digest
                last[document.id] = position
            self.store([documents[position] for position in sorted(last.values())], PUBLISHED)
        return statuses

    def encode_ahead(self, document: Document) -> Iterator[None]:
        """Do what a long document asks for in steps, so that other writes can come between them; then `put` it.

        Each step is a transaction of its own that adds terms to the vocabulary and nothing else.
        """
        with self.lock:
            existing = visible_rows(self.connection, [document.id])
        if isinstance(document, EncodedDocument) or existing.get(document.id, (0, None))[1] == content_hash(document):
            return
        steps = self.sparse_field.encode_ahead(document.encoded_text)
        while True:
            with self.transaction(visible=False):
                if next(steps, steps) is steps:
                    return
            yield

    def store(self, documents: Sequence[Document], job: int, progress: ShareDone | None = None) -> AddReport:
        """Encode and store documents with distinct ids in one transaction; those already stored are left alone."""
        if not documents:
            return AddReport()
        hashes = [stored_hash(document) for document in documents]
        with self.transaction() as connection:
            existing = self.known(documents, [hash_of(stored) for stored in hashes])
            changed = [
                (document, stored)
                for document, stored in zip(documents, hashes, strict=True)
                if document.id not in existing or existing[document.id][1] != hash_of(stored)
            ]
            stale = [existing[document.id][0] for document, _ in changed if document.id in existing]
            if job == PUBLISHED:
                tombstone(connection, stale)
            if changed:
                self._insert(connection, changed, job, progress=progress)
                if job == PUBLISHED and has_grown(self):
                    renew_average_length(self, connection)
        # Not while segments are merged, which may take long: a later chunk will do it.
        if self._is_due(job) and self.merging.acquire(blocking=False):
            try:
                self.flush(job)
            finally:
                self.merging.release()
        wordless = sum(map(is_wordless, documents))
        return AddReport(len(changed) - len(stale), len(stale), len(documents) - len(changed), wordless)

    def known(self, documents: Sequence[Document], hashes: Sequence[int]) -> dict[str, tuple[int, int | None]]:
        """Return (internal id, `content_hash`) of the published documents with the ids of these; `hashes` are of these.

        The hash is None where what is stored is damaged, so that putting the same document in again mends it.
        """
        visible = visible_rows(self.connection, [document.id for document in documents])
        same = [
            visible[document.id][0]
            for document, digest in zip(documents, hashes, strict=True)
            if document.id in visible and visible[document.id][1] == digest
        ]
        damaged = damaged_rows(self.connection, same, exact=self.sparse_field.frequencies)
        return {identifier: (seq, None if seq in damaged else digest) for identifier, (seq, digest) in visible.items()}

    def store_encoded(
        self,
        documents: Sequence[Document],
        vectors: csr_array | None,
        dense: NDArray[np.float32] | None,
        split: Sequence[SplitDocument] | None = None,
    ) -> str | None:
        """Store documents with vectors that were made before, in one transaction; `dense` as the collection has it.

        With `split`, a vector is a piece's: see `Splitter.split`.

        Without `vectors` those of the inverted index are made here, as bm25's are by counting.
        Returns an id that is there already, or twice among these; then nothing is stored.
        """
        ids = [document.id for document in documents]
        with self.lock:
            existing = visible_rows(self.connection, ids)
            seen: set[str] = set()
            for identifier in ids:
                if identifier in existing or identifier in seen:
                    return identifier
                seen.add(identifier)
            with self.transaction() as connection:
                hashed = [(document, stored_hash(document)) for document in documents]
                self._insert(connection, hashed, PUBLISHED, (vectors, dense), split=split)
            if self._is_due(PUBLISHED):
                self.flush()
        return None

    def _insert(
        self,
        connection: sqlite3.Connection,
        documents: Sequence[tuple[Document, bytes]],
        job: int,
        encoded: tuple[csr_array | None, NDArray[np.float32] | None] | None = None,
        progress: ShareDone | None = None,
        split: Sequence[SplitDocument] | None = None,
    ) -> None:
        plain = [document for document, _ in documents]
        if self._tells_passages and encoded is None:
            split = self.splitter.split(plain)
        pieces = plain if split is None else [piece for each in split for piece in each.pieces]
        internal_ids = insert_rows(connection, documents, job, split, tenants=self.tenant_field is not None)
        tokens: Sequence[TokenVectors] | None = None
        if encoded is None:
            made = vectors_of(self.sparse_field, self.dense, pieces, progress, self._late_field())
            encoded, tokens = (made.sparse, made.dense), made.tokens
        vectors, dense = encoded
        if vectors is None:
            vectors = self.sparse_field.encode([document.encoded_text for document in pieces])
        if tokens is not None:
            write_token_vectors(connection, internal_ids, tokens)
        batch = (job, len(internal_ids), pack(internal_ids, vectors, frequencies=self.sparse_field.frequencies))
        if dense is None:
            connection.execute("INSERT INTO batches(run, documents, vectors) VALUES (?, ?, ?)", batch)
        else:
            connection.execute(
                "INSERT INTO batches(run, documents, vectors, dense) VALUES (?, ?, ?, ?)",
                (*batch, pack_dense(internal_ids, dense)),
            )

    def _late_field(self) -> LateField | None:
        """Return what makes token vectors; None where the collection has none."""
        if not self._late:
            return None
        from lexhound.retrieval.collection.fields.late_field import LateField  # few collections need it

        return LateField(self.sparse_field)

    def flush(self, job: int = PUBLISHED) -> None:
        """Turn the waiting batches of an ingest job, or of documents that are visible, into segments.

        Raises:
            StorageFullError: the disk is full; the documents stay where they were.
        """
        flush(self, job)

    def delete(self, ids: Sequence[str]) -> list[str]:
        """Delete documents by id in one transaction; returns the ids that were there."""
        with self.transaction() as connection:
            existing = visible_rows(connection, ids)
            tombstone(connection, [seq for seq, _ in existing.values()])
        return [identifier for identifier in dict.fromkeys(ids) if identifier in existing]

    def _is_due(self, job: int) -> bool:
        length = "length(vectors)" if self.dense is None else "length(vectors) + length(dense)"
        documents, size = self.connection.execute(
            f"SELECT coalesce(sum(documents), 0), coalesce(sum({length}), 0) FROM batches WHERE run = ?", (job,)
        ).fetchone()
        if size >= FLUSH_BYTES:
            return True
        lexical = self.sparse_field.frequencies
        return lexical and documents >= FIRST_SEGMENT and read_average_length(self.connection) is None

    def waiting_documents(self, job: int) -> int:
        """Return how many documents of an ingest job are in no segment yet."""
        row = self.connection.execute(
            "SELECT coalesce(sum(documents), 0) FROM batches WHERE run = ?", (job,)
        ).fetchone()
        return int(row[0])
