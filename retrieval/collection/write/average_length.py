"""Renewing the average document length, and computing weights again that were made with another.

Writers renew the average (`store/average_length.py`) when they make or merge segments, and when the collection has
grown by a twentieth. As the average moves away from that of older segments, their weights are computed again, as far as
that is paid for: each document that comes pays for some others.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexhound.retrieval.collection.store.average_length import (
    is_far,
    read_average_length,
    read_average_lengths,
    write_average_length,
)
from lexhound.retrieval.collection.store.passage_table import rows_of
from lexhound.retrieval.collection.store.segment import open_segment
from lexhound.retrieval.collection.store.sparse_batches import unpack
from lexhound.retrieval.collection.store.sql import last_internal_id, read_properties, write_property

if TYPE_CHECKING:
    from .writer import Writer

# A lesser change is not worth indexing again what waits.
_NEAR = 0.01
# The average is looked at again when a collection has grown by one part in so many.
_GROWTH = 20
# For how many documents weights may be computed again for each that comes.
PAID = 4


@dataclass(frozen=True, slots=True)
class Lengths:
    """What a segment keeps of its rows' lengths.

    Attributes:
        internal_ids: int64[n]; words: uint32[n]; total: their sum.
        average: that which its weights were made with; None in segments of earlier versions, which do not say.
    """

    internal_ids: NDArray[np.int64]
    words: NDArray[np.uint32]
    total: int
    average: float | None


def live_average(writer: Writer, job: int | None = None, without: Sequence[int] = ()) -> float:
    """Return the mean words a live row, 1 where there are none; with a `job` as if published, without some rows.

    1 for a field whose weights do not depend on it.
    """
    if not writer.sparse_field.frequencies:
        return 1.0
    with writer.lock:
        rows = rows_of(writer.connection, without)
        words, documents = _counted(writer, -1 if job is None else job, np.sort(np.array(rows, np.int64)))
    return words / documents if words else 1.0


def has_grown(writer: Writer) -> bool:
    """Return whether the collection has grown enough since the average was last renewed to look at it again."""
    if not writer.sparse_field.frequencies or read_average_length(writer.connection) is None:
        return False
    due = read_properties(writer.connection, "mean_length_due").get("mean_length_due", 0)
    return last_internal_id(writer.connection) >= int(due)


def renew_average_length(writer: Writer, connection: sqlite3.Connection, average: float | None = None) -> None:
    """Make today's average (or that given) the one of new weights, where it has moved; inside a transaction."""
    if not writer.sparse_field.frequencies:
        return
    stored = read_average_length(connection)
    today = live_average(writer) if average is None else average
    if stored is None or average is not None or abs(stored - today) > _NEAR * today:
        write_average_length(connection, today)
    last = last_internal_id(connection)
    live = int(connection.execute("SELECT coalesce(sum(documents), 0) FROM segments").fetchone()[0])
    live += int(connection.execute("SELECT coalesce(sum(documents), 0) FROM batches").fetchone()[0])
    write_property(connection, "mean_length_due", last + max(1, live // _GROWTH))


def far_segments(writer: Writer, today: float) -> list[tuple[str, int]]:
    """Return (name, rows) of published segments whose weights are far from those of today's average, smallest first."""
    if not writer.sparse_field.frequencies:
        return []
    with writer.lock:
        legacy = read_average_lengths(writer.connection).legacy
        names = writer.connection.execute(
            "SELECT name, documents FROM segments WHERE run NOT IN (SELECT run FROM runs) ORDER BY documents, name"
        ).fetchall()
        lengths = [(name, rows, lengths_of(writer, name)) for name, rows in names]
    return [
        (name, rows)
        for name, rows, segment_lengths in lengths
        if is_far(segment_lengths.average or legacy or today, today)
    ]


def credit(writer: Writer) -> int:
    """Return for how many rows weights may be computed again, for what has come since the last time."""
    spent = int(read_properties(writer.connection, "weighed_seq").get("weighed_seq", 0))
    return PAID * (last_internal_id(writer.connection) - spent)


def spend_credit(writer: Writer, rows: int) -> None:
    """Charge so many rows, whose weights were computed again, to what has come."""
    with writer.transaction() as connection:
        spent = int(read_properties(connection, "weighed_seq").get("weighed_seq", 0))
        spent = min(spent + -(-rows // PAID), last_internal_id(connection))
        write_property(connection, "weighed_seq", spent)


def lengths_of(writer: Writer, name: str) -> Lengths:
    """Return the lengths of a segment's rows; read once a writer."""
    segment_lengths = writer.lengths.get(name)
    if segment_lengths is None:
        segment = open_segment(writer.directory, name, writer.sparse_field.name)
        words = segment.index.lengths
        words = np.zeros(segment.n_rows, np.uint32) if words is None else words
        internal_ids = segment.internal_ids
        if writer.tenant_field is not None:  # rows are by tenant
            order = np.argsort(internal_ids)
            internal_ids, words = internal_ids[order], words[order]
        segment_lengths = Lengths(internal_ids, words, int(words.sum(dtype=np.int64)), segment.index.mean_length)
        writer.lengths[name] = segment_lengths
    return segment_lengths


def _counted(writer: Writer, job: int, without: NDArray[np.int64]) -> tuple[int, int]:
    """Count words and documents of the live rows, those of an ingest job among them; under the lock."""
    connection = writer.connection
    dead = np.union1d(np.array([seq for (seq,) in connection.execute("SELECT seq FROM tombstones")], np.int64), without)
    hidden = "run IN (SELECT run FROM runs WHERE run != ?)"
    words = documents = 0
    names = [name for (name,) in connection.execute(f"SELECT name FROM segments WHERE NOT {hidden}", (job,))]
    for name in names:
        segment_lengths = lengths_of(writer, name)
        dead_rows = _positions_of(segment_lengths.internal_ids, dead)
        words += segment_lengths.total - int(segment_lengths.words[dead_rows].sum(dtype=np.int64))
        documents += len(segment_lengths.internal_ids) - len(dead_rows)
    for (blob,) in connection.execute(f"SELECT vectors FROM batches WHERE NOT {hidden}", (job,)):
        batch = unpack(blob)
        ends = np.concatenate([[0], np.cumsum(batch.values, dtype=np.int64)])
        lengths = np.diff(ends[batch.indptr.astype(np.int64)])
        dead_rows = _positions_of(batch.internal_ids, dead)
        words += int(lengths.sum()) - int(lengths[dead_rows].sum())
        documents += len(lengths) - len(dead_rows)
    for name in set(writer.lengths) - set(names):  # merged away since
        del writer.lengths[name]
    return words, documents


def _positions_of(internal_ids: NDArray[np.int64], some: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where in `internal_ids` those of `some` stand that are there; both ascending."""
    if not len(internal_ids):
        return np.empty(0, np.int64)
    inside = some[np.searchsorted(some, internal_ids[0]) : np.searchsorted(some, internal_ids[-1], side="right")]
    positions = np.searchsorted(internal_ids, inside)
    matching: NDArray[np.int64] = positions[internal_ids[positions] == inside]
    return matching
