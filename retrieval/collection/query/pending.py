"""Documents that are in no segment yet, indexed in memory when a snapshot is taken."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lexhound.index.inverted.index import InvertedIndex
from lexhound.index.inverted.scales import RowRanges, choose_groups
from lexhound.retrieval.collection.fields.scale_groups import FIXED, grouped, part_of, ranges_of
from lexhound.retrieval.collection.fields.sparse_field import SparseField
from lexhound.retrieval.collection.store.dense_batches import concatenate_dense, unpack_dense
from lexhound.retrieval.collection.store.dense_index import dense_in_memory
from lexhound.retrieval.collection.store.passage_table import numbers_of
from lexhound.retrieval.collection.store.schema import DATABASE
from lexhound.retrieval.collection.store.segment import ListedIds, Segment
from lexhound.retrieval.collection.store.sparse_batches import Batch, concatenate, keep_rows, take_rows, unpack
from lexhound.retrieval.collection.store.tenant_order import tenant_order
from lexhound.retrieval.errors import CorruptCollectionError

# The name of parts that are indexed in memory; segment names are digits.
PENDING = "pending"
# When a refresh would make more of them than this, they become one: each costs every search a little.
MEMORY_SEGMENTS = 8


@dataclass(frozen=True, slots=True)
class WeightBasis:
    """What the weights of documents that wait are made with; it depends on what waits, and not on who reads when.

    Attributes:
        average_length: in words a document; groups: the scales of all that waits (`scales.choose_groups`), or FIXED.
    """

    average_length: float
    groups: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StoredForm:
    """How a collection keeps its documents, beside their sparse vectors.

    Attributes:
        width: of dense vectors, None where it has none; tenants: whether rows are sorted by tenant.
    """

    width: int | None = None
    tenants: bool = False


# Which batches segments in memory hold, and what their weights were made with.
PendingKey: TypeAlias = tuple[frozenset[int], WeightBasis]


def tombstones_of(connection: sqlite3.Connection) -> NDArray[np.int64]:
    """Return rows that segments or batches hold and that are no more: int64, ascending."""
    rows = connection.execute("SELECT seq FROM tombstones ORDER BY seq").fetchall()
    return np.fromiter((row[0] for row in rows), np.int64, len(rows))


def live_of(internal_ids: NDArray[np.int64], tombstones: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    """Return which of `internal_ids` are no tombstones (ascending); None where none is."""
    if not len(internal_ids) or not len(tombstones):
        return None
    first, last = internal_ids.min(), internal_ids.max()
    deleted = tombstones[np.searchsorted(tombstones, first) : np.searchsorted(tombstones, last, side="right")]
    if not len(deleted):
        return None
    live = ~np.isin(internal_ids, deleted, assume_unique=True)
    return None if live.all() else live


def index_pending(
    connection: sqlite3.Connection,
    sparse_field: SparseField,
    average_length: float | None,
    known: tuple[dict[PendingKey, tuple[Segment, ...]], dict[int, RowRanges]],
    stored: StoredForm,
) -> tuple[dict[PendingKey, tuple[Segment, ...]], dict[int, RowRanges]]:
    """Index the batches that are in no segment; what is `known` of them stays: a refresh costs what is new.

    Returns the segments, and the ranges of each batch, which are what the next call is to know.

    All is indexed anew where the average length or the scales of what waits have changed. Before the first segment no
    average is kept, and it is that of all that waits.
    """
    rows = connection.execute("SELECT batch FROM batches WHERE run NOT IN (SELECT run FROM runs)").fetchall()
    waiting = {batch for (batch,) in rows}
    batches: dict[int, Batch] = {}

    def read(number: int) -> Batch:
        if number not in batches:
            row = connection.execute("SELECT vectors FROM batches WHERE batch = ?", (number,)).fetchone()
            batches[number] = unpack(row[0])
        return batches[number]

    groups, ranges = _groups(sparse_field, sorted(waiting), known[1], read)
    if average_length is None:
        average_length = _average_of(connection, sparse_field, [read(number) for number in sorted(waiting)])
    basis = WeightBasis(average_length, groups)
    known_segments = {key: segments for key, segments in known[0].items() if key[0] <= waiting and key[1] == basis}
    if len(known_segments) >= MEMORY_SEGMENTS:
        known_segments = {}
    new = sorted(waiting - {batch for key in known_segments for batch in key[0]})
    if new:
        vectors = [read(number) for number in new]
        segments = _index_batches(connection, sparse_field, basis, new, vectors, stored)
        if segments:
            known_segments[frozenset(new), basis] = segments
    return known_segments, ranges


def _groups(
    sparse_field: SparseField,
    waiting: Sequence[int],
    known: dict[int, RowRanges],
    read: Callable[[int], Batch],
) -> tuple[tuple[int, ...], dict[int, RowRanges]]:
    """Return the scales of all that waits, and the ranges of each batch."""
    if sparse_field.scale is not None:
        return FIXED, {}
    ranges_by_batch = {}
    for number in waiting:
        ranges = known.get(number) or ranges_of(sparse_field, read(number))
        if ranges is not None:
            ranges_by_batch[number] = ranges
    return choose_groups(RowRanges.joined(list(ranges_by_batch.values()))), ranges_by_batch


def _average_of(connection: sqlite3.Connection, sparse_field: SparseField, batches: Sequence[Batch]) -> float:
    if not sparse_field.frequencies or not batches:
        return 1.0
    batch = concatenate(list(batches))
    live = live_of(batch.internal_ids, tombstones_of(connection))
    batch = batch if live is None else keep_rows(batch, live)
    words = int(batch.values.sum(dtype=np.int64))
    return words / len(batch.internal_ids) if words else 1.0


def _index_batches(
    connection: sqlite3.Connection,
    sparse_field: SparseField,
    basis: WeightBasis,
    numbers: Sequence[int],
    batches: Sequence[Batch],
    stored: StoredForm,
) -> tuple[Segment, ...]:
    width, tenants = stored.width, stored.tenants
    batch = concatenate(list(batches))
    vectors = None
    if width is not None:
        blobs = [
            connection.execute("SELECT dense FROM batches WHERE batch = ?", (number,)).fetchone()[0]
            for number in numbers
        ]
        vectors = concatenate_dense([unpack_dense(blob, width) for blob in blobs]).vectors
    live = live_of(batch.internal_ids, tombstones_of(connection))
    if live is not None:
        batch = keep_rows(batch, live)
        vectors = None if vectors is None else vectors[live]
    if not len(batch.internal_ids):
        return ()
    passage_numbers = numbers_of(connection, batch.internal_ids)
    documents = batch.internal_ids if passage_numbers is None else batch.internal_ids - passage_numbers
    by_seq = dict(
        connection.execute(
            "SELECT seq, id FROM rows WHERE seq BETWEEN ? AND ?", (int(documents[0]), int(documents[-1]))
        ).fetchall()
    )
    lost = [seq for seq in documents.tolist() if seq not in by_seq]
    if lost:
        raise CorruptCollectionError(
            f"a batch has a document in row {lost[0]}, and the database has none",
            where=DATABASE,
            hint="restore the file from a backup or index the corpus again",
        )
    if tenants:
        order = tenant_order([by_seq[seq] for seq in documents.tolist()], batch.internal_ids)
        batch, vectors = take_rows(batch, order), None if vectors is None else vectors[order]
        documents = documents[order]
        passage_numbers = None if passage_numbers is None else passage_numbers[order]
    segments = []
    for group in grouped(sparse_field, batch, basis.groups):
        part = part_of(batch, group)
        weights = sparse_field.compute_weights(part, basis.average_length)
        index = InvertedIndex.from_csr(
            weights,
            group.scale,
            frequencies=weights.frequencies,
            lengths=weights.lengths,
            mean_length=basis.average_length if sparse_field.frequencies else None,
        )
        dense = None if vectors is None else dense_in_memory(vectors[group.rows])
        ids = ListedIds(by_seq[seq] for seq in documents[group.rows].tolist())
        passages = None if passage_numbers is None else passage_numbers[group.rows]
        segments.append(Segment(PENDING, part.internal_ids, ids, index, dense, passages=passages))
    return tuple(segments)
