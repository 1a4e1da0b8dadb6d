"""The average length of documents that the weights of bm25 are made with: kept in the database, refreshed as it moves.

Every segment remembers the average that its weights were made with. New segments, and documents that wait for one, take
the average of all live documents. Readers take it from the database, so all of them rank alike; writers renew it when
they make or merge segments, and when the collection has grown by a twentieth. Older segments are weighed anew as the
average moves away from theirs, as far as that is paid for: each document that comes pays for some others.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexhound.retrieval.collection.store.schema import DATABASE
from lexhound.retrieval.collection.store.segment import open_segment
from lexhound.retrieval.collection.store.sparse_batches import unpack
from lexhound.retrieval.errors import CorruptCollectionError

if TYPE_CHECKING:
    from lexhound.retrieval.collection.query.snapshot import Snapshot

    from .writer import Writer

# Weights made with an average that differs by more than this share are far from those of today: at 10 %, a weight of
# bm25 as it is usually set moves by 2 % at most.
FAR = 0.1
# A lesser change is not worth indexing again what waits.
_NEAR = 0.01
# The average is looked at again when a collection has grown by one part in so many.
_GROWTH = 20
# Documents that may be weighed anew for each that comes.
PAID = 4


@dataclass(frozen=True, slots=True)
class Lengths:
    """What a segment keeps of its rows' lengths.

    Attributes:
        seqs: int64[n]; words: uint32[n]; total: their sum.
        average: that which its weights were made with; None in segments of earlier versions, which do not say.
    """

    seqs: NDArray[np.int64]
    words: NDArray[np.uint32]
    total: int
    average: float | None


@dataclass(frozen=True, slots=True)
class FarAverage:
    """Weights that were made for another average than today's.

    Attributes:
        documents: live ones whose weights were; stored: the average of theirs that is farthest; today: that of all.
    """

    documents: int
    stored: float
    today: float


@dataclass(frozen=True, slots=True)
class Averages:
    """What the database says of average lengths.

    Attributes:
        new: that which new weights are made with (`read_average`); legacy: that of segments which do not say theirs.
    """

    new: float | None
    legacy: float | None


def read_averages(connection: sqlite3.Connection) -> Averages:
    """Both averages, by one reading.

    Raises:
        CorruptCollectionError: the database holds something else.
    """
    found = _properties(connection, "mean_length", "average_length")
    if not all(isinstance(value, (int, float)) for value in found.values()):
        raise CorruptCollectionError(
            "the database does not tell the average length",
            where=DATABASE,
            hint="restore the file from a backup or index the corpus again",
        )
    legacy = found.get("average_length")
    return Averages(found.get("mean_length", legacy), legacy)


def read_average(connection: sqlite3.Connection) -> float | None:
    """The average that new weights are made with; None before the first segment: then it is that of all that waits."""
    return read_averages(connection).new


def write_average(connection: sqlite3.Connection, average: float) -> None:
    """Store what `read_average` reads (inside a transaction)."""
    connection.execute("INSERT OR REPLACE INTO properties VALUES ('mean_length', ?)", (average,))


def is_far(stored: float, today: float) -> bool:
    """Whether weights made with the one average are far from those of the other."""
    return abs(stored - today) > FAR * today


def live_average(writer: Writer, run: int | None = None, without: Sequence[int] = ()) -> float:
    """Mean words a live document, 1 where there are none; with a `run` as if published, without some rows.

    1 for a representation whose weights do not depend on it.
    """
    if not writer.representation.frequencies:
        return 1.0
    with writer.lock:
        words, documents = _counted(writer, -1 if run is None else run, np.sort(np.array(without, np.int64)))
    return words / documents if words else 1.0


def grown(writer: Writer) -> bool:
    """Whether so much has come since the average was last renewed that it is to be looked at again."""
    if not writer.representation.frequencies or read_average(writer.connection) is None:
        return False
    due = _properties(writer.connection, "mean_length_due").get("mean_length_due", 0)
    return _last_seq(writer.connection) >= due


def renew(writer: Writer, connection: sqlite3.Connection, average: float | None = None) -> None:
    """Make today's average (or that given) the one of new weights, where it has moved; inside a transaction."""
    if not writer.representation.frequencies:
        return
    stored = read_average(connection)
    today = live_average(writer) if average is None else average
    if stored is None or average is not None or abs(stored - today) > _NEAR * today:
        write_average(connection, today)
    last = _last_seq(connection)
    live = int(connection.execute("SELECT coalesce(sum(documents), 0) FROM segments").fetchone()[0])
    live += int(connection.execute("SELECT coalesce(sum(documents), 0) FROM batches").fetchone()[0])
    connection.execute(
        "INSERT OR REPLACE INTO properties VALUES ('mean_length_due', ?)", (last + max(1, live // _GROWTH),)
    )


def far_segments(writer: Writer, today: float) -> list[tuple[str, int]]:
    """(name, rows) of the published segments whose weights are far from those of today's average, smallest first."""
    if not writer.representation.frequencies:
        return []
    with writer.lock:
        legacy = legacy_average(writer.connection)
        names = writer.connection.execute(
            "SELECT name, documents FROM segments WHERE run NOT IN (SELECT run FROM runs) ORDER BY documents, name"
        ).fetchall()
        lengths = [(name, rows, lengths_of(writer, name)) for name, rows in names]
    return [(name, rows) for name, rows, own in lengths if is_far(own.average or legacy or today, today)]


def credit(writer: Writer) -> int:
    """How many rows may be weighed anew for what has come since the last time."""
    spent = int(_properties(writer.connection, "weighed_seq").get("weighed_seq", 0))
    return PAID * (_last_seq(writer.connection) - spent)


def spend(writer: Writer, rows: int) -> None:
    """Take weighing so many rows anew off what has come."""
    with writer.transaction() as connection:
        spent = int(_properties(connection, "weighed_seq").get("weighed_seq", 0))
        spent = min(spent + -(-rows // PAID), _last_seq(connection))
        connection.execute("INSERT OR REPLACE INTO properties VALUES ('weighed_seq', ?)", (spent,))


def legacy_average(connection: sqlite3.Connection) -> float | None:
    """The average of segments that do not say theirs: earlier versions had one for all."""
    return _properties(connection, "average_length").get("average_length")


def lengths_of(writer: Writer, name: str) -> Lengths:
    """The lengths of a segment's rows; read once a writer."""
    found = writer.lengths.get(name)
    if found is None:
        segment = open_segment(writer.directory, name, writer.representation.name)
        words = segment.index.lengths
        words = np.zeros(segment.n_rows, np.uint32) if words is None else words
        found = Lengths(segment.seqs, words, int(words.sum(dtype=np.int64)), segment.index.mean_length)
        writer.lengths[name] = found
    return found


def far_average(snapshot: Snapshot) -> FarAverage | None:
    """What a snapshot's weights have been made with, if it is far from its average of today; None where all is well."""
    words = documents = 0
    for part in snapshot.parts:
        own = part.segment.index.lengths
        if own is None:
            return None
        words += int(own.sum(dtype=np.int64) if part.live is None else own[part.live].sum(dtype=np.int64))
        documents += part.n_documents
    if not words:
        return None
    today = words / documents
    far = [
        (part.n_documents, stored)
        for part in snapshot.parts
        if (stored := part.segment.index.mean_length or snapshot.legacy_average) is not None
        and part.n_documents
        and is_far(stored, today)
    ]
    if not far:
        return None
    farthest = max((stored for _, stored in far), key=lambda stored: abs(np.log(stored / today)))
    return FarAverage(sum(count for count, _ in far), farthest, today)


def _counted(writer: Writer, run: int, without: NDArray[np.int64]) -> tuple[int, int]:
    """Words and documents of the live rows, those of a run among them; under the lock."""
    connection = writer.connection
    dead = np.union1d(np.array([seq for (seq,) in connection.execute("SELECT seq FROM tombstones")], np.int64), without)
    hidden = "run IN (SELECT run FROM runs WHERE run != ?)"
    words = documents = 0
    names = [name for (name,) in connection.execute(f"SELECT name FROM segments WHERE NOT {hidden}", (run,))]
    for name in names:
        own = lengths_of(writer, name)
        gone = _places(own.seqs, dead)
        words += own.total - int(own.words[gone].sum(dtype=np.int64))
        documents += len(own.seqs) - len(gone)
    for (blob,) in connection.execute(f"SELECT vectors FROM batches WHERE NOT {hidden}", (run,)):
        batch = unpack(blob)
        ends = np.concatenate([[0], np.cumsum(batch.values, dtype=np.int64)])
        lengths = np.diff(ends[batch.indptr.astype(np.int64)])
        gone = _places(batch.seqs, dead)
        words += int(lengths.sum()) - int(lengths[gone].sum())
        documents += len(lengths) - len(gone)
    for name in set(writer.lengths) - set(names):  # merged away since
        del writer.lengths[name]
    return words, documents


def _places(seqs: NDArray[np.int64], some: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where in `seqs` those of `some` stand that are there; both ascending."""
    if not len(seqs):
        return np.empty(0, np.int64)
    inside = some[np.searchsorted(some, seqs[0]) : np.searchsorted(some, seqs[-1], side="right")]
    places = np.searchsorted(seqs, inside)
    found: NDArray[np.int64] = places[seqs[places] == inside]
    return found


def _properties(connection: sqlite3.Connection, *names: str) -> dict[str, float]:
    marks = ",".join("?" * len(names))
    return dict(connection.execute(f"SELECT name, value FROM properties WHERE name IN ({marks})", names))


def _last_seq(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'rows'").fetchone()
    return int(row[0]) if row else 0
