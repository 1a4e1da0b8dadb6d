"""A snapshot: the documents of a collection as they were at one moment, ready to search.

Which documents there are and what is indexed of them, a snapshot holds itself. Their contents it reads when they are
asked for, each time in a transaction of its own: a transaction that stays open makes SQLite's log grow with every
write. What has been deleted or replaced since then is gone (`search.read_documents` says so), and the reader moves on
to a newer snapshot. For long reads of everything, a snapshot can hold its transaction.
Segments are shared between snapshots; encoded documents that are in no segment yet are indexed in memory.
"""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import RLock

import numpy as np
from numpy.typing import NDArray

from lexhound.index.errors import CorruptFileError
from lexhound.index.inverted.quantization import MAX_IMPACT
from lexhound.index.inverted.scales import RowRanges
from lexhound.retrieval.collection.fields.sparse_field import LexicalField, SparseField
from lexhound.retrieval.collection.request import Fusion
from lexhound.retrieval.collection.reranking.options import Rerank
from lexhound.retrieval.collection.reranking.stored import read_rerank
from lexhound.retrieval.collection.store.average_length import AverageLengths, read_average_lengths
from lexhound.retrieval.collection.store.connections import Connections
from lexhound.retrieval.collection.store.schema import DATABASE, check_identity, translate
from lexhound.retrieval.collection.store.segment import Segment, open_segment, read_through
from lexhound.retrieval.collection.store.table_checksum import check_tables
from lexhound.retrieval.collection.synonyms.expansion import Synonyms
from lexhound.retrieval.collection.synonyms.rules import read_rules
from lexhound.retrieval.errors import CorruptCollectionError
from lexhound.retrieval.filters import ColumnCache

from .pending import PendingKey, StoredForm, index_pending, live_of, tombstones_of
from .row_filter import Passed
from .stored_fusion import read_fusion

# What is meant by all but few documents.
_USUAL = 0.9
# Bytes of new segments that are compared with their checksums at once when a snapshot is taken: some milliseconds.
READ_AT_OPEN = 8 << 20


@dataclass(slots=True)
class SegmentCache:
    """What the latest snapshot holds open, for the next one to share.

    Attributes:
        on_disk, in_memory: segments; ranges: of the batches that wait; columns: what was read of the segments;
            synonyms: those of the collection, if it keeps any.
    """

    on_disk: dict[str, Segment] = field(default_factory=dict)
    in_memory: dict[PendingKey, tuple[Segment, ...]] = field(default_factory=dict)
    ranges: dict[int, RowRanges] = field(default_factory=dict)
    columns: ColumnCache = field(default_factory=ColumnCache)
    synonyms: Synonyms | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SegmentView:
    """A segment as a snapshot sees it.

    Attributes:
        live: bool[n_rows], false for deleted rows; None where none is.
    """

    segment: Segment
    live: NDArray[np.bool_] | None

    @property
    def n_rows(self) -> int:
        """How many rows are live: one a document, or one a passage of it."""
        return self.segment.n_rows if self.live is None else int(self.live.sum())

    @property
    def n_documents(self) -> int:
        """How many live documents begin in this part."""
        if self.segment.passages is None:
            return self.n_rows
        first = self.segment.passages == 0
        return int(np.count_nonzero(first if self.live is None else first & self.live))

    def first_passages(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which rows of a bool[rows] mask are a document's first passage: one a document."""
        return mask if self.segment.passages is None else mask & (self.segment.passages == 0)


@dataclass(frozen=True, slots=True, eq=False)
class RowStatistics:
    """What queries are weighed by: the rows of the index, each passage of a document one.

    Attributes:
        n_documents: how many rows are live; of a collection whose documents are whole, how many documents.
    """

    snapshot: Snapshot
    n_documents: int

    @property
    def prefix(self) -> str:
        """The prefix of the tenant whose rows these are alone; empty where they are all."""
        return self.snapshot.prefix

    def document_frequencies(self, terms: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return how many live rows hold each term; int64, one a term."""
        return self.snapshot.document_frequencies(terms)


class Snapshot:
    """The state of one moment.

    Attributes:
        held: the connection whose read transaction began at that moment, where the snapshot holds one. It ends with the
            last reference to the snapshot.
        prefix: of the tenant whose documents it holds alone (`confined`); empty where it holds all.
    """

    def __init__(
        self,
        connections: Connections,
        held: sqlite3.Connection | None,
        generation: int,
        averages: AverageLengths,
        segments: Sequence[SegmentView],
        columns: ColumnCache,
        fusion: Fusion | None = None,
        *,
        exact: bool = True,
        prefix: str = "",
    ) -> None:
        self.prefix = prefix
        self.connections = connections
        self.averages = averages
        self.held = held
        self._lock = None if held is None else RLock()  # a SQLite connection serves one thread at a time
        self.generation = generation
        self.average_length = averages.current
        self.legacy_average = averages.legacy
        self.segments = tuple(segments)
        self.columns = columns  # of metadata, which filters are answered from
        self.rerank: Rerank | None = None  # of searches that name none
        self.synonyms: Synonyms | None = None  # of queries; None where the collection keeps none
        self.fusion = fusion  # of hybrid searches that name none; None for the usual one
        self.exact = exact  # what hashes of earlier versions are of; see `stored_documents.document_of`
        self.n_rows = self.n_documents = 0
        for view in self.segments:
            rows = view.n_rows
            self.n_rows += rows
            self.n_documents += rows if view.segment.passages is None else view.n_documents
        self._frequencies: dict[int, int] = {}
        if held is not None:
            weakref.finalize(self, connections.give, held)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Open a connection in a read transaction: that of the snapshot if it holds one, otherwise of the newest state.

        Raises:
            CorruptCollectionError and others that `translate` names, where SQLite fails.
        """
        if self.held is None or self._lock is None:
            with self.connections.reading() as connection:
                yield connection
            return
        with self._lock:
            try:
                yield self.held
            except sqlite3.Error as error:
                raise translate(error, self.connections.directory / DATABASE) from error

    @cached_property
    def passed(self) -> Passed:
        """The rows that passed the latest filters."""
        return Passed()

    @cached_property
    def live_internal_ids(self) -> NDArray[np.int64]:
        """The row numbers of all documents, ascending; int64."""
        pieces = []
        for view in self.segments:
            live = np.ones(view.segment.n_rows, np.bool_) if view.live is None else view.live
            pieces.append(view.segment.internal_ids[view.first_passages(live)])
        return np.sort(np.concatenate(pieces)) if pieces else np.empty(0, np.int64)

    @property
    def statistics(self) -> RowStatistics:
        """What queries are weighed by. Made when asked for: a snapshot that held it would outlive its use."""
        return RowStatistics(self, self.n_rows)

    @property
    def has_passages(self) -> bool:
        """Whether a document has several rows."""
        return self.n_rows != self.n_documents

    @cached_property
    def greatest_weight(self) -> float:
        """The largest weight of a term in a document, but for few documents that weigh far more than the others.

        Of bm25, 1, which no weight reaches. It does not depend on how documents are divided into segments, as long as
        these have the same scales.
        """
        indexes = [view.segment.index for view in self.segments]
        if any(index.postings.weighable for index in indexes):
            return max(MAX_IMPACT * index.scale for index in indexes)
        usual = 0.0
        held = 0
        for view in sorted(self.segments, key=lambda view: view.segment.index.scale):
            if held >= _USUAL * self.n_rows and view.segment.index.scale > usual:
                break
            usual = view.segment.index.scale
            held += view.n_rows
        return max((index.greatest_weight for index in indexes if index.scale <= usual), default=0.0)

    def document_frequencies(self, terms: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return how many live rows hold each term; int64, one a term. Counted once a term and snapshot."""
        term_ids = terms.tolist()
        missing = np.array([term for term in term_ids if term not in self._frequencies], np.int32)
        if len(missing):
            counts = np.zeros(len(missing), np.int64)
            for view in self.segments:
                counts += view.segment.index.document_frequencies(missing, view.live)
            self._frequencies.update(zip(missing.tolist(), counts.tolist(), strict=True))
        return np.array([self._frequencies[term] for term in term_ids], np.int64)

    def holds(self, identifier: str) -> bool:
        """Return whether a document of this id was there; a scan of all ids."""
        return any(
            view.live is None or bool(view.live[row])
            for view in self.segments
            for row in view.segment.ids.rows_of(identifier)
        )


def generation_of(connection: sqlite3.Connection) -> int:
    """Return the number that every committed write raises by one."""
    row = connection.execute("SELECT value FROM properties WHERE name = 'generation'").fetchone()
    if row is None or not isinstance(row[0], int):
        raise _damaged("the database does not tell its generation", DATABASE)
    return int(row[0])


def take_snapshot(
    connections: Connections,
    sparse_field: SparseField,
    cache: SegmentCache,
    stored: StoredForm,
    *,
    hold: bool = False,
) -> Snapshot:
    """Read the newest state and open what it names; segments that `cache` holds are not opened again.

    Args:
        stored: how the collection keeps its documents.
        hold: keep the transaction open, so that everything stays readable.

    Raises:
        CorruptCollectionError: a file is missing or damaged; the message names it.
        CollectionGoneError: the collection is no longer at its path.
    """
    connection = connections.take()
    held = False
    try:
        for _ in range(10):
            connection.execute("BEGIN")
            try:
                snapshot = _read(connections, connection, sparse_field, cache, stored, hold=hold)
            except FileNotFoundError as error:
                # Between our read of the list and our opening of the files, a writer compacted the segment away.
                # A newer list then has its successor; one that stays missing is really lost.
                missing = error
                connection.execute("ROLLBACK")
                continue
            held = hold
            return snapshot
        check_identity(connections.directory, connections.identity)
        raise _damaged("a file of a segment is missing", str(missing.filename)) from missing
    except CorruptFileError as error:
        check_identity(connections.directory, connections.identity)
        raise _damaged(str(error), str(connections.directory)) from error
    except sqlite3.Error as error:
        raise translate(error, connections.directory / DATABASE) from error
    finally:
        if not held:
            connections.give(connection)


def _damaged(message: str, where: str) -> CorruptCollectionError:
    return CorruptCollectionError(message, where=where, hint="restore the file from a backup or index the corpus again")


def _read(
    connections: Connections,
    connection: sqlite3.Connection,
    sparse_field: SparseField,
    cache: SegmentCache,
    stored: StoredForm,
    *,
    hold: bool,
) -> Snapshot:
    directory = connections.directory
    check_tables(connection)
    generation = generation_of(connection)
    averages = read_average_lengths(connection)
    names = connection.execute(
        "SELECT name FROM segments WHERE run NOT IN (SELECT run FROM runs) ORDER BY first_seq"
    ).fetchall()
    on_disk = {
        name: cache.on_disk.get(name) or open_segment(directory, name, sparse_field.name, stored.width)
        for (name,) in names
    }
    for segment in on_disk.values():
        segment.check_sizes()
    _read_small(directory, on_disk.values(), sparse_field.name)
    in_memory, ranges = index_pending(
        connection, sparse_field, averages.current, (cache.in_memory, cache.ranges), stored
    )
    tombstones = tombstones_of(connection)
    waiting = [segment for segments in in_memory.values() for segment in segments]
    segments = [
        SegmentView(segment, live_of(segment.internal_ids, tombstones)) for segment in (*on_disk.values(), *waiting)
    ]
    held = connection if hold else None
    snapshot = Snapshot(
        connections,
        held,
        generation,
        averages,
        segments,
        cache.columns,
        read_fusion(connection),
        exact=sparse_field.frequencies,
    )
    snapshot.rerank = read_rerank(connection)
    snapshot.synonyms = cache.synonyms = _synonyms(connection, sparse_field, cache.synonyms)
    cache.on_disk, cache.in_memory, cache.ranges = on_disk, in_memory, ranges
    cache.columns.retain({*on_disk.values(), *waiting})
    return snapshot


def _synonyms(connection: sqlite3.Connection, sparse_field: SparseField, before: Synonyms | None) -> Synonyms | None:
    """Return the synonyms that the collection keeps; those of before where nothing has changed."""
    rules = read_rules(connection) if isinstance(sparse_field, LexicalField) else ()
    if not rules or not isinstance(sparse_field, LexicalField):
        return None
    return before if before is not None and before.rules == rules else Synonyms(rules, sparse_field)


def _read_small(directory: Path, segments: Iterable[Segment], index_name: str) -> None:
    """Compare with their checksums those segments that take next to no time; `background_check` reads the others."""
    budget = READ_AT_OPEN
    sizes = [
        (segment.nbytes, position, segment) for position, segment in enumerate(segments) if not segment.condition.read
    ]
    for size, _, segment in sorted(sizes, key=lambda each: each[:2]):
        budget -= size
        if budget < 0:
            return
        read_through(directory, segment, index_name)
