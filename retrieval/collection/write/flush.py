"""Batches that wait in the database turned into segments."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lexhound.core.disk_errors import storage_errors
from lexhound.index.inverted.builder import build_inverted
from lexhound.retrieval.collection.fields.scale_groups import Group, grouped, part_of
from lexhound.retrieval.collection.store.dense_batches import concatenate_dense, unpack_dense
from lexhound.retrieval.collection.store.dense_index import NAME as DENSE
from lexhound.retrieval.collection.store.dense_index import build_dense
from lexhound.retrieval.collection.store.manifest import raise_format
from lexhound.retrieval.collection.store.passage_table import numbers_of
from lexhound.retrieval.collection.store.segment import SEGMENTS, write_segment
from lexhound.retrieval.collection.store.sparse_batches import Batch, concatenate, keep_rows, take_rows, unpack
from lexhound.retrieval.collection.store.sql import read_properties, write_property
from lexhound.retrieval.collection.store.tenant_order import shares_of, tenant_order
from lexhound.retrieval.tenants.keys import prefix_of_key

from .average_length import live_average, renew_average_length
from .rows import PUBLISHED

if TYPE_CHECKING:
    from .writer import Writer

IdsOf: TypeAlias = Callable[[np.ndarray[tuple[int], np.dtype[np.int64]]], list[str]]

BuiltSegment: TypeAlias = tuple[str, NDArray[np.int64]]
"""The name of a written segment, and the internal ids of its rows."""


def flush(writer: Writer, job: int) -> None:
    """Turn the waiting batches of an ingest job into a segment.

    Raises:
        StorageFullError: the disk is full; the documents stay where they were.
    """
    with writer.lock:
        waiting = writer.connection.execute(
            "SELECT batch, vectors FROM batches WHERE run = ? ORDER BY batch", (job,)
        ).fetchall()
        if not waiting:
            return
        with_deleted = concatenate([unpack(blob) for _, blob in waiting])
        batch, deleted = _without_deleted(writer, with_deleted)
        vectors = None if writer.dense is None else _waiting_vectors(writer, job, writer.dense.width)
        if vectors is not None and deleted:
            vectors = vectors[np.isin(with_deleted.internal_ids, batch.internal_ids)]
        last_batch = int(waiting[-1][0])
        del waiting, with_deleted  # the blobs are as large as the batch
        built: list[BuiltSegment] = []
        average = writer.average_length or live_average(writer, job)
        if len(batch.internal_ids):
            # What an ingest job puts aside is searched by nobody before it is merged, so it need not be clustered.
            policy = writer.dense_index if job == PUBLISHED else "flat"
            built = _build_segments(writer, batch, vectors, average, policy)
        with writer.transaction() as connection:
            connection.execute("DELETE FROM batches WHERE run = ? AND batch <= ?", (job, last_batch))
            connection.executemany("DELETE FROM tombstones WHERE seq = ?", ((seq,) for seq in deleted))
            for name, internal_ids in built:
                register_segment(connection, name, job, internal_ids)
            if built and job == PUBLISHED:
                renew_average_length(writer, connection, average)


def _without_deleted(writer: Writer, batch: Batch) -> tuple[Batch, list[int]]:
    rows = writer.connection.execute(
        "SELECT seq FROM tombstones WHERE seq BETWEEN ? AND ?",
        (int(batch.internal_ids[0]), int(batch.internal_ids[-1])),
    )
    dead = np.array([seq for (seq,) in rows], np.int64)
    return keep_rows(batch, ~np.isin(batch.internal_ids, dead)), np.intersect1d(batch.internal_ids, dead).tolist()


def _waiting_vectors(writer: Writer, job: int, width: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Return the dense vectors of an ingest job's waiting batches, in the order of their rows."""
    waiting = writer.connection.execute("SELECT dense FROM batches WHERE run = ? ORDER BY batch", (job,))
    return concatenate_dense([unpack_dense(blob, width) for (blob,) in waiting]).vectors


def _build_segments(
    writer: Writer,
    batch: Batch,
    vectors: np.ndarray[tuple[int, int], np.dtype[np.float32]] | None,
    average: float,
    policy: str,
) -> list[BuiltSegment]:
    """Write segments of a batch, one a group of its rows; their names and rows."""
    sparse_field = writer.sparse_field
    numbers = numbers_of(writer.connection, batch.internal_ids)
    ids_of: IdsOf = partial(_ids_of, writer, batch.internal_ids, numbers)
    keys: list[str] | None = None
    if writer.tenant_field is not None:
        keys = ids_of(batch.internal_ids)
        order = tenant_order(keys, batch.internal_ids)
        batch, keys = take_rows(batch, order), [keys[row] for row in order.tolist()]
        vectors = None if vectors is None else vectors[order]
        numbers = None if numbers is None else numbers[order]
        ids_of = partial(_listed, dict(zip(batch.internal_ids.tolist(), keys, strict=True)))
    built: list[BuiltSegment] = []
    with writing_segments(writer, built):
        for group, shared in _by_tenants(grouped(sparse_field, batch, scale=writer.scale), keys):
            part = part_of(batch, group)
            weights = sparse_field.compute_weights(part, average)
            indexes: dict[str, Callable[[Path], object]] = {
                sparse_field.name: partial(
                    build_inverted,
                    weights=weights,
                    scale=group.scale,
                    frequencies=weights.frequencies,
                    lengths=weights.lengths,
                    mean_length=average if sparse_field.frequencies else None,
                )
            }
            if vectors is not None:
                indexes[DENSE] = partial(build_dense, vectors=vectors[group.rows], policy="flat" if shared else policy)
            name = reserve_segment(writer)
            built.append((name, part.internal_ids))
            passages = None if numbers is None else numbers[group.rows]
            write_segment(writer.directory, name, part.internal_ids, ids_of, indexes, passages)
    return built


def _by_tenants(groups: list[Group], keys: Sequence[str] | None) -> list[tuple[Group, bool]]:
    """Return groups of rows as they get segments, and whether several tenants share one; see `tenant_order`."""
    if keys is None:
        return [(group, False) for group in groups]
    prefixes = [prefix_of_key(key) for key in keys]
    shared = []
    for group in groups:
        chosen = np.flatnonzero(group.rows)
        for (share,) in shares_of([[prefixes[row] for row in chosen.tolist()]]):
            rows = np.zeros(len(keys), np.bool_)
            rows[chosen[share]] = True
            several = len({prefixes[row] for row in chosen[share].tolist()}) > 1
            shared.append((Group(rows, group.scale), several))
    return shared


def _listed(keys: dict[int, str], internal_ids: np.ndarray[tuple[int], np.dtype[np.int64]]) -> list[str]:
    return [keys[seq] for seq in internal_ids.tolist()]


@contextmanager
def writing_segments(writer: Writer, built: list[BuiltSegment]) -> Iterator[None]:
    """Write several segments for one transaction: all of them, or none is left behind."""
    writer.check_place()  # the manifest of another collection is none of ours
    # Segments of their own scales: earlier versions could not merge them.
    with storage_errors(writer.directory):
        raise_format(writer.directory)
        try:
            yield
        except BaseException:
            for name, _ in built:
                shutil.rmtree(writer.directory / SEGMENTS / name, ignore_errors=True)
            raise


def reserve_segment(writer: Writer) -> str:
    """Return a name that no other segment has or will get, whichever of two writers finishes first."""
    with writer.lock:
        name = next_segment_name(writer.connection)
        with writer.transaction() as connection:
            write_property(connection, "last_segment", int(name))
    return name


def _ids_of(
    writer: Writer,
    all_ids: NDArray[np.int64],
    numbers: NDArray[np.uint32] | None,
    internal_ids: NDArray[np.int64],
) -> list[str]:
    """Return the ids of the documents of rows, whose internal ids are ascending and among `all_ids`; `numbers` are
    those of `all_ids` among the passages of their documents.
    """
    documents = internal_ids
    if numbers is not None:
        documents = internal_ids - numbers[np.searchsorted(all_ids, internal_ids)]
    rows = writer.connection.execute(
        "SELECT seq, id FROM rows WHERE seq BETWEEN ? AND ?", (int(documents[0]), int(documents[-1]))
    )
    by_seq = dict(rows.fetchall())
    return [by_seq[seq] for seq in documents.tolist()]


def register_segment(
    connection: sqlite3.Connection, name: str, job: int, internal_ids: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> None:
    """Make a written segment live (inside a transaction)."""
    connection.execute(
        "INSERT INTO segments(name, run, first_seq, last_seq, documents) VALUES (?, ?, ?, ?, ?)",
        (name, job, int(internal_ids.min()), int(internal_ids.max()), len(internal_ids)),
    )


def next_segment_name(connection: sqlite3.Connection) -> str:
    """Return a name that no segment has had."""
    return f"{int(read_properties(connection, 'last_segment').get('last_segment', 0)) + 1:08d}"
