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
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..index import CorruptFileError, InvertedIndex
from .connections import Connections
from .dense_index import dense_in_memory
from .dense_vectors import concatenate_dense, unpack_dense
from .errors import CorruptCollectionError
from .filters import ColumnCache
from .fusion import Fusion
from .kept_fusion import read_fusion
from .passing import Passed
from .representation import Representation, Statistics
from .schema import DATABASE, check_identity, translate
from .segment import ListedIds, Segment, open_segment, read_through
from .table_checksum import check_tables
from .vectors import concatenate, keep_rows, unpack

# The name of parts that are indexed in memory; segment names are digits.
PENDING = "pending"
# When a refresh would make more of them than this, they become one: each costs every search a little.
MEMORY_SEGMENTS = 8
# Bytes of new segments that are compared with their checksums at once when a snapshot is taken: some milliseconds.
READ_AT_OPEN = 8 << 20

# Which batches a segment in memory holds, and the statistics its weights were made with.
PendingKey: TypeAlias = tuple[frozenset[int], Statistics | None]


@dataclass(slots=True)
class SegmentCache:
    """What the latest snapshot holds open, for the next one to share: segments, and columns that were read of them."""

    on_disk: dict[str, Segment] = field(default_factory=dict)
    in_memory: dict[PendingKey, Segment] = field(default_factory=dict)
    columns: ColumnCache = field(default_factory=ColumnCache)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A segment as a snapshot sees it.

    Attributes:
        live: bool[n_rows], false for deleted rows; None where none is.
    """

    segment: Segment
    live: NDArray[np.bool_] | None

    @property
    def n_documents(self) -> int:
        return self.segment.n_rows if self.live is None else int(self.live.sum())


class Snapshot:
    """The state of one moment.

    Attributes:
        held: the connection whose read transaction began at that moment, where the snapshot holds one. It ends with the
            last reference to the snapshot.
    """

    def __init__(
        self,
        connections: Connections,
        held: sqlite3.Connection | None,
        generation: int,
        statistics: Statistics | None,
        parts: Sequence[Part],
        columns: ColumnCache,
        fusion: Fusion | None = None,
        *,
        exact: bool = True,
    ) -> None:
        self._connections = connections
        self.held = held
        self._lock = RLock()  # a SQLite connection serves one thread at a time
        self.generation = generation
        self.statistics = statistics
        self.parts = tuple(parts)
        self.columns = columns  # of metadata, which filters are answered from
        self.passed = Passed()
        self.fusion = fusion  # of hybrid searches that name none; None for the usual one
        self.exact = exact  # what hashes of earlier versions are of; see `content.document_of`
        self.n_documents = sum(part.n_documents for part in parts)
        self._frequencies: dict[int, int] = {}
        if held is not None:
            weakref.finalize(self, connections.give, held)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection in a read transaction: that of the snapshot if it holds one, otherwise of the newest state.

        Raises:
            CorruptCollectionError and others that `translate` names, where SQLite fails.
        """
        if self.held is None:
            with self._connections.reading() as connection:
                yield connection
            return
        with self._lock:
            try:
                yield self.held
            except sqlite3.Error as error:
                raise translate(error, self._connections.directory / DATABASE) from error

    @cached_property
    def live_seqs(self) -> NDArray[np.int64]:
        """The row numbers of all documents, ascending; int64."""
        pieces = [p.segment.seqs if p.live is None else p.segment.seqs[p.live] for p in self.parts]
        return np.sort(np.concatenate(pieces)) if pieces else np.empty(0, np.int64)

    def document_frequencies(self, terms: NDArray[np.int32]) -> NDArray[np.int64]:
        """How many live documents hold each term; int64, one a term. Counted once a term and snapshot."""
        wanted = terms.tolist()
        missing = np.array([term for term in wanted if term not in self._frequencies], np.int32)
        if len(missing):
            counts = np.zeros(len(missing), np.int64)
            for part in self.parts:
                counts += part.segment.index.document_frequencies(missing, part.live)
            self._frequencies.update(zip(missing.tolist(), counts.tolist(), strict=True))
        return np.array([self._frequencies[term] for term in wanted], np.int64)

    def holds(self, identifier: str) -> bool:
        """Whether a document of this id was there; a scan of all ids."""
        return any(
            part.live is None or bool(part.live[row])
            for part in self.parts
            for row in part.segment.ids.rows_of(identifier)
        )


def generation_of(connection: sqlite3.Connection) -> int:
    """The number that every committed write raises by one."""
    row = connection.execute("SELECT value FROM properties WHERE name = 'generation'").fetchone()
    if row is None or not isinstance(row[0], int):
        raise _damaged("the database does not tell its generation", DATABASE)
    return int(row[0])


def read_statistics(connection: sqlite3.Connection) -> Statistics | None:
    """The statistics that the first segment fixed, or None where there is no segment yet."""
    row = connection.execute(
        "SELECT (SELECT value FROM properties WHERE name = 'average_length'),"
        " (SELECT value FROM properties WHERE name = 'impact_scale')"
    ).fetchone()
    if row[0] is None:
        return None
    if not all(isinstance(value, (int, float)) for value in row):
        raise _damaged("the database does not tell its statistics", DATABASE)
    return Statistics(float(row[0]), float(row[1]))


def take_snapshot(
    connections: Connections,
    representation: Representation,
    cache: SegmentCache,
    width: int | None = None,
    *,
    hold: bool = False,
) -> Snapshot:
    """Read the newest state and open what it names; segments that `cache` holds are not opened again.

    Args:
        width: of the collection's dense vectors, None where it has none.
        hold: keep the transaction open, so that everything stays readable.

    Raises:
        CorruptCollectionError: a file is missing or damaged; the message names it.
        CollectionGoneError: the collection is no longer at its path.
    """
    connection = connections.take()
    kept = False
    try:
        for _ in range(10):
            connection.execute("BEGIN")
            try:
                snapshot = _read(connections, connection, representation, cache, width, hold=hold)
            except FileNotFoundError as error:
                # Between our read of the list and our opening of the files, a writer compacted the segment away.
                # A newer list then has its successor; one that stays missing is really lost.
                missing = error
                connection.execute("ROLLBACK")
                continue
            kept = hold
            return snapshot
        check_identity(connections.directory, connections.identity)
        raise _damaged("a file of a segment is missing", str(missing.filename)) from missing
    except CorruptFileError as error:
        check_identity(connections.directory, connections.identity)
        raise _damaged(str(error), str(connections.directory)) from error
    except sqlite3.Error as error:
        raise translate(error, connections.directory / DATABASE) from error
    finally:
        if not kept:
            connections.give(connection)


def _damaged(message: str, where: str) -> CorruptCollectionError:
    return CorruptCollectionError(message, where=where, hint="restore the file from a backup or index the corpus again")


def _read(
    connections: Connections,
    connection: sqlite3.Connection,
    representation: Representation,
    cache: SegmentCache,
    width: int | None,
    *,
    hold: bool,
) -> Snapshot:
    directory = connections.directory
    check_tables(connection)
    generation = generation_of(connection)
    statistics = read_statistics(connection)
    names = connection.execute(
        "SELECT name FROM segments WHERE run NOT IN (SELECT run FROM runs) ORDER BY first_seq"
    ).fetchall()
    on_disk = {
        name: cache.on_disk.get(name) or open_segment(directory, name, representation.name, width) for (name,) in names
    }
    for segment in on_disk.values():
        segment.check_sizes()
    _read_small(directory, on_disk.values(), representation.name)
    in_memory = _pending(connection, representation, statistics, cache.in_memory, width)
    tombstones = _tombstones(connection)
    parts = [Part(segment, _live(segment.seqs, tombstones)) for segment in (*on_disk.values(), *in_memory.values())]
    held = connection if hold else None
    snapshot = Snapshot(
        connections,
        held,
        generation,
        statistics,
        parts,
        cache.columns,
        read_fusion(connection),
        exact=representation.frequencies,
    )
    cache.on_disk, cache.in_memory = on_disk, in_memory
    cache.columns.retain({*on_disk.values(), *in_memory.values()})
    return snapshot


def _read_small(directory: Path, segments: Iterable[Segment], index_name: str) -> None:
    """Compare with their checksums those segments that take next to no time; see `checking` for the others."""
    left = READ_AT_OPEN
    sizes = [(segment.nbytes, place, segment) for place, segment in enumerate(segments) if not segment.condition.read]
    for size, _, segment in sorted(sizes, key=lambda each: each[:2]):
        left -= size
        if left < 0:
            return
        read_through(directory, segment, index_name)


def _tombstones(connection: sqlite3.Connection) -> NDArray[np.int64]:
    rows = connection.execute("SELECT seq FROM tombstones ORDER BY seq").fetchall()
    return np.fromiter((row[0] for row in rows), np.int64, len(rows))


def _live(seqs: NDArray[np.int64], tombstones: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    if not len(seqs) or not len(tombstones):
        return None
    own = tombstones[np.searchsorted(tombstones, seqs[0]) : np.searchsorted(tombstones, seqs[-1], side="right")]
    if not len(own):
        return None
    live = ~np.isin(seqs, own, assume_unique=True)
    return None if live.all() else live


def _pending(
    connection: sqlite3.Connection,
    representation: Representation,
    statistics: Statistics | None,
    known: dict[PendingKey, Segment],
    width: int | None,
) -> dict[PendingKey, Segment]:
    """Index the batches that are in no segment; what `known` holds of them stays: a refresh costs what is new.

    Before the first segment there are no fixed statistics, and all is indexed anew with those of the moment.
    """
    rows = connection.execute("SELECT batch FROM batches WHERE run NOT IN (SELECT run FROM runs)").fetchall()
    waiting = {batch for (batch,) in rows}
    kept: dict[PendingKey, Segment] = {}
    if statistics is not None:
        kept = {key: segment for key, segment in known.items() if key[0] <= waiting and key[1] == statistics}
        if len(kept) >= MEMORY_SEGMENTS:
            kept = {}
    new = waiting - {batch for key in kept for batch in key[0]}
    if new:
        segment = _index_batches(connection, representation, statistics, sorted(new), width)
        if segment is not None:
            kept[frozenset(new), statistics] = segment
    return kept


def _index_batches(
    connection: sqlite3.Connection,
    representation: Representation,
    statistics: Statistics | None,
    numbers: list[int],
    width: int | None,
) -> Segment | None:
    blobs = [
        connection.execute("SELECT vectors FROM batches WHERE batch = ?", (number,)).fetchone()[0] for number in numbers
    ]
    batch = concatenate([unpack(blob) for blob in blobs])
    live = _live(batch.seqs, _tombstones(connection))
    if live is not None:
        batch = keep_rows(batch, live)
    if not len(batch.seqs):
        return None
    statistics = statistics or representation.measure(batch)
    by_seq = dict(
        connection.execute(
            "SELECT seq, id FROM rows WHERE seq BETWEEN ? AND ?", (int(batch.seqs[0]), int(batch.seqs[-1]))
        ).fetchall()
    )
    weights = representation.weigh(batch, statistics)
    index = InvertedIndex.from_csr(weights, statistics.scale, frequencies=weights.frequencies, lengths=weights.lengths)
    dense = None
    if width is not None:
        found = [
            connection.execute("SELECT dense FROM batches WHERE batch = ?", (number,)).fetchone()[0]
            for number in numbers
        ]
        whole = concatenate_dense([unpack_dense(blob, width) for blob in found])
        dense = dense_in_memory(whole.vectors if live is None else whole.vectors[live])
    lost = [seq for seq in batch.seqs.tolist() if seq not in by_seq]
    if lost:
        raise _damaged(f"a batch has a document in row {lost[0]}, and the database has none", DATABASE)
    return Segment(PENDING, batch.seqs, ListedIds(by_seq[seq] for seq in batch.seqs.tolist()), index, dense)
