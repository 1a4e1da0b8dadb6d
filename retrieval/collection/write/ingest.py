"""Ingest jobs: a corpus into a collection, all of it or none, resumable.

A job stores and indexes documents as they come, durable but invisible, and publishes them in one transaction at the
end. A job that stops early (a bad row, Ctrl-C, a crash, a full disk) keeps what it has. The same job started again
reads the corpus from the start, passes over the documents that it holds already, and goes on from there.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain

from lexhound.core.errors import StorageError
from lexhound.retrieval.collection.fields.sparse_field import learned_encoder
from lexhound.retrieval.collection.store.passage_table import count_split
from lexhound.retrieval.collection.store.schema import DATABASE, translate
from lexhound.retrieval.collection.store.sql import last_internal_id, select_in, write_property
from lexhound.retrieval.collection.store.stored_documents import content_hash, hash_of
from lexhound.retrieval.corpus import BadRow, Corpus
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.documents.encoded_document import is_wordless
from lexhound.retrieval.errors import (
    BadRowError,
    CorpusError,
    InvalidDocumentError,
    RetrievalError,
    UnfinishedRunError,
)
from lexhound.retrieval.tenants.keys import keyed

from .average_length import live_average, renew_average_length
from .compaction import merge_job, merge_small_segments, recompute_far_weights
from .ingest_jobs import (
    IngestJob,
    describe_source,
    discard_job,
    held_documents,
    running_mark,
    same_corpus,
    staged_internal_ids,
    unfinished_job,
    ways_on,
)
from .progress import Meter, Pace, Progress
from .rows import PUBLISHED, tombstone
from .writer import SMALLEST_SEGMENT, AddReport, Writer

# Of a document whose id an earlier row of the same job had.
_TWICE = "its id occurs a second time in this ingest job"
_WAYS_ON = "finish it with `ingest` of the same corpus and `source`, or drop it with `discard_unfinished()`"
_TWICE_HINT = "Give every document an id of its own, or remove one of the two."


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What a finished ingest job did; `resumed` of its documents came from an earlier attempt.

    Attributes:
        split: how many of its documents are split, and into how many `passages` in all; cut: how many documents a model
            leaves out a part of.
        wordless: how many of the documents that were read have neither a letter nor a digit in title and text.
    """

    added: int
    replaced: int
    unchanged: int
    rejected: int
    resumed: int
    split: int = 0
    passages: int = 0
    cut: int = 0
    wordless: int = 0


def ingest(
    writer: Writer,
    corpus: Corpus,
    *,
    source: str,
    on_bad_row: Callable[[BadRow], None] | None = None,
    progress: Callable[[Progress], None] | None = None,
    tenant: str | None = None,
) -> IngestReport:
    """Read a corpus into a collection as one ingest job, or go on with the job over the same corpus.

    What an earlier attempt holds stays as long as the corpus gives the same documents in the same order; where it has
    been corrected, or is read with other options, the rest is dropped and read anew. Other options that would drop all
    of it are refused.

    Args:
        source: what identifies the job when it is started again (the corpus's path and the reading options).
        on_bad_row: called for every bad row, which is then skipped; without it the first one stops the job.
        progress: called after every batch that is encoded, every acknowledged chunk, and at the start of every later
            phase.
        tenant: whose all the documents are, in a collection with tenants; else each says so itself.

    Raises:
        BadRowError: a bad row, and `on_bad_row` is not given. The documents before it are kept for the next attempt.
        CorpusError: the corpus holds no document, or cannot be read.
        UnfinishedRunError: an ingest job over another corpus, or one that reads its first document otherwise, has not
            been finished.
        StorageFullError: the disk is full. What was acknowledged is kept for the next attempt.
    """
    corpus.bind(learned_encoder(writer.sparse_field))
    job = unfinished_job(writer.connection)
    if job is not None and not same_corpus(job.source, source):
        held = held_documents(writer.connection, job)
        if held:
            raise _unfinished(writer, job)
        discard_job(writer)
        job = None
    with writer.transaction() as connection:
        if job is None:
            first = last_internal_id(connection) + 1
            cursor = connection.execute("INSERT INTO runs(source, first_seq) VALUES (?, ?)", (source, first))
            job = IngestJob(int(cursor.lastrowid or 0), source, first)
        write_property(connection, "running", running_mark(job.number, os.getpid()))
    try:
        state = _Attempt(writer, corpus, job, (on_bad_row, progress), tenant)
        state.read(reads_otherwise=job.source != source)
        return state.finish()
    except BaseException:
        with suppress(RetrievalError, StorageError):  # told already, or the next run does it
            _stop(writer, job)
        raise


def _unfinished(writer: Writer, job: IngestJob) -> UnfinishedRunError:
    """Return the refusal of a job that would drop what another holds, with the two ways on."""
    held = held_documents(writer.connection, job)
    return UnfinishedRunError(
        f"the ingest job over {describe_source(job.source)} was interrupted and holds {held:,} documents",
        where=str(writer.directory),
        hint=_WAYS_ON,
        cli_hint=ways_on(job, writer.directory),
    )


def _stop(writer: Writer, job: IngestJob) -> None:
    """Put an attempt that failed in order: where it holds nothing, no trace of it is left."""
    if unfinished_job(writer.connection) is None:
        return
    if held_documents(writer.connection, job):
        with writer.transaction() as connection:
            connection.execute("DELETE FROM properties WHERE name = 'running'")
    else:
        discard_job(writer)


class _Attempt:
    """One attempt at an ingest job."""

    def __init__(
        self,
        writer: Writer,
        corpus: Corpus,
        job: IngestJob,
        told: tuple[Callable[[BadRow], None] | None, Callable[[Progress], None] | None],
        tenant: str | None,
    ) -> None:
        on_bad_row, progress = told
        self._tenant = tenant
        self._writer = writer
        self._corpus = corpus
        self._job = job
        self._on_bad_row = on_bad_row
        self._report = AddReport()
        self._wordless = 0
        self._meter = Meter(corpus, lambda: writer.tokens_encoded, progress)
        self._pace = Pace(writer.batch_documents, models=writer.tokens_encoded is not None)
        try:
            writer.connection.execute("CREATE TEMP TABLE IF NOT EXISTS passed_over(id TEXT PRIMARY KEY) WITHOUT ROWID")
            writer.connection.execute("DELETE FROM passed_over")
        except sqlite3.Error as error:
            raise translate(error, writer.directory / DATABASE) from error

    def read(self, *, reads_otherwise: bool) -> None:
        """Store the whole corpus, chunk by chunk, behind what an earlier attempt, perhaps of other options, holds."""
        staged = _Staged(self._writer, self._job, reads_otherwise=reads_otherwise)
        chunk: dict[str, Document] = {}
        duplicates_of: dict[str, BadRow] = {}
        self._meter.tell()
        for row in self._rows():
            if isinstance(row, BadRow):
                self._store(chunk, duplicates_of)
                self._reject(row)
            elif staged.matches(row):
                self._meter.passed_over()
            elif row.id in chunk:
                self._store(chunk, duplicates_of)
                self._reject(self._corpus.bad_row(_TWICE, _TWICE_HINT))
            else:
                chunk[row.id] = row
                duplicates_of[row.id] = self._corpus.bad_row(_TWICE, _TWICE_HINT)
                if self._pace.is_full(len(chunk), row):
                    self._store(chunk, duplicates_of)
        staged.drop_rest()
        self._store(chunk, duplicates_of)

    def _rows(self) -> Iterator[Document | BadRow]:
        """Yield the corpus's rows, in a collection with tenants under their keys."""
        field = self._writer.tenant_field
        for row in self._corpus:
            if isinstance(row, BadRow):
                yield row
                continue
            self._wordless += is_wordless(row)
            if field is None:
                yield row
                continue
            try:
                yield keyed(row, field, self._tenant)
            except InvalidDocumentError as error:
                yield self._corpus.bad_row(error.message, error.hint or "")

    def finish(self) -> IngestReport:
        """Index what still waits, merge, publish."""
        writer, job = self._writer, self._job.number
        meter = self._meter
        if not meter.resumed + self._report.total:
            discard_job(writer)
            if not meter.rejected:
                raise self._corpus.empty_error()
            raise CorpusError(
                f"the corpus holds no documents: all {meter.rejected:,} rows were bad and have been skipped",
                where=self._corpus.name,
                hint="check that this is the right file and format",
            )
        meter.tell("merging")
        fresh = not writer.connection.execute(
            "SELECT EXISTS(SELECT 1 FROM segments WHERE run != ?) OR EXISTS(SELECT 1 FROM batches WHERE run != ?)",
            (job, job),
        ).fetchone()[0]
        if fresh or writer.waiting_documents(job) >= SMALLEST_SEGMENT:
            writer.flush(job)
        average = live_average(writer, job, self._stale()) if writer.sparse_field.frequencies else 1.0
        merge_job(writer, job, average, meter.tell_step)
        split, passages, cut = count_split(writer.connection, f"run = {job}")
        meter.tell("publishing")
        replaced = self._publish(average)
        if writer.waiting_documents(PUBLISHED) >= SMALLEST_SEGMENT:
            writer.flush()
        merge_small_segments(writer)
        recompute_far_weights(writer)
        staged = meter.resumed + self._report.added + self._report.replaced
        unchanged = self._report.unchanged
        return IngestReport(
            staged - replaced,
            replaced,
            unchanged,
            meter.rejected,
            meter.resumed,
            split,
            passages,
            cut,
            self._wordless,
        )

    def _stale(self) -> list[int]:
        """Return the internal ids of documents that the job replaces."""
        rows = self._writer.connection.execute(
            "SELECT old.seq FROM rows AS new CROSS JOIN rows AS old ON old.id = new.id AND old.run != new.run"
            " WHERE new.seq >= ? AND new.run = ?",
            (self._job.first_internal_id, self._job.number),
        )
        return [seq for (seq,) in rows]

    def _publish(self, average: float) -> int:
        """Make the job visible and its predecessors invisible, at once; returns how many were replaced."""
        job = self._job.number
        with self._writer.transaction() as connection:
            stale = self._stale()
            tombstone(connection, stale)
            connection.execute("DELETE FROM runs WHERE run = ?", (job,))
            connection.execute("DELETE FROM properties WHERE name = 'running'")
            connection.execute("UPDATE batches SET run = ? WHERE run = ?", (PUBLISHED, job))
            if connection.execute("SELECT EXISTS(SELECT 1 FROM segments)").fetchone()[0]:
                renew_average_length(self._writer, connection, average)
        return len(stale)

    def _store(self, chunk: dict[str, Document], duplicates_of: dict[str, BadRow]) -> None:
        """Acknowledge a chunk, without the documents whose id the job already holds; empties it."""
        if not chunk:
            return
        self._pace.start()
        held = self._held(list(chunk))
        new = [document for document in chunk.values() if document.id not in held]
        self._remember_unchanged(new)
        self._report += self._writer.store(new, self._job.number, self._meter.within(len(new)))
        self._meter.documents = self._meter.resumed + self._report.total
        self._meter.tell()
        self._pace.finish(len(new))
        duplicates = [duplicates_of[identifier] for identifier in chunk if identifier in held]
        chunk.clear()
        duplicates_of.clear()
        for row in duplicates:
            self._reject(row)

    def _held(self, ids: Sequence[str]) -> set[str]:
        """Return those of `ids` that an earlier row of this job had."""
        connection = self._writer.connection
        stored = select_in(connection, "SELECT id FROM rows WHERE id IN (?) AND run = ?", ids, self._job.number)
        passed_over = select_in(connection, "SELECT id FROM passed_over WHERE id IN (?)", ids)
        return {identifier for (identifier,) in chain(stored, passed_over)}

    def _remember_unchanged(self, documents: Sequence[Document]) -> None:
        """Note ids of unchanged documents: they are not stored again, but a duplicate may come."""
        hashes = [content_hash(document) for document in documents]
        existing = self._writer.known(documents, hashes)
        if existing:
            self._writer.connection.executemany(
                "INSERT OR IGNORE INTO passed_over VALUES (?)",
                (
                    (document.id,)
                    for document, digest in zip(documents, hashes, strict=True)
                    if document.id in existing and existing[document.id][1] == digest
                ),
            )

    def _reject(self, row: BadRow) -> None:
        self._meter.rejected += 1
        if self._on_bad_row is not None:
            self._on_bad_row(row)
            return
        held = held_documents(self._writer.connection, self._job)
        kept = "Nothing of this ingest job has been kept"
        ways = cli_ways = ""
        if held:
            before = "the document before this row is" if held == 1 else f"the {held:,} documents before this row are"
            kept = f"Nothing of this ingest job is visible yet; {before} kept, and a new attempt goes on from there"
            ways = "; `discard_unfinished()` drops them"
            cli_ways = f"; lexhound add {shlex.quote(str(self._writer.directory))} --discard-unfinished drops them"
        raise BadRowError(
            row.reason,
            where=row.where,
            hint=f"{row.hint} {kept}{ways}. With `on_bad_row`, bad rows are passed over".strip(),
            cli_hint=f"{row.hint} {kept}{cli_ways}. With --on-error skip, bad rows are passed over".strip(),
        )


class _Staged:
    """The documents that an earlier attempt holds, in the order in which it read them."""

    def __init__(self, writer: Writer, job: IngestJob, *, reads_otherwise: bool) -> None:
        self._writer = writer
        self._job = job
        self._keeps_all = reads_otherwise  # until a document is the same
        self._rows = self._pages()
        self._next = next(self._rows, None)

    def _pages(self) -> Iterator[tuple[int, str, bytes | int]]:
        seq = self._job.first_internal_id - 1
        while True:
            page = self._writer.connection.execute(
                "SELECT seq, id, hash FROM rows WHERE seq > ? AND run = ? ORDER BY seq LIMIT 4096",
                (seq, self._job.number),
            ).fetchall()
            if not page:
                return
            yield from page
            seq = page[-1][0]

    def matches(self, document: Document) -> bool:
        """Return whether the earlier attempt's next document is this one; where it differs, drop the rest of them."""
        if self._next is None:
            return False
        seq, identifier, stored = self._next
        digest = content_hash(document)
        if identifier == document.id and hash_of(stored) == digest:
            self._next = next(self._rows, None)
            self._keeps_all = False
            return True
        duplicate = self._writer.connection.execute(
            "SELECT 1 FROM rows WHERE id = ? AND run = ? AND seq < ?", (document.id, self._job.number, seq)
        ).fetchone()
        if duplicate:
            return False  # a bad row that the earlier attempt skipped too
        existing = self._writer.known([document], [digest])
        if document.id in existing and existing[document.id][1] == digest:
            return False  # unchanged since before the job: never staged, so it says nothing about the order
        if self._keeps_all:
            raise _unfinished(self._writer, self._job)
        self.drop_rest()
        return False

    def drop_rest(self) -> None:
        """Drop what the earlier attempt holds from here on: the corpus has changed."""
        if self._next is None:
            return
        with self._writer.transaction() as connection:
            tombstone(connection, staged_internal_ids(connection, self._job, self._next[0]))
        self._next = None
