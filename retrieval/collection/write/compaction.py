"""Merging segments: `compact` makes one of all, an ingest job one of its own, and small ones are merged as they gather.

Rows go where their weights suit each other (`scale_groups`): as a rule a merge makes one segment. A merge computes the
weights of BM25 again with today's average length, so those of a compacted collection are those of an index built at
once over the same documents. Those of a learned encoder are, too, but for what rounding to a finer scale first has
moved.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexhound.core.progress import OnStep, Stage
from lexhound.index.inverted.merge import Chunks, MergePart, merge_inverted
from lexhound.retrieval.collection.fields.scale_groups import Group, regrouped
from lexhound.retrieval.collection.store.average_length import read_average_lengths
from lexhound.retrieval.collection.store.dense_index import NAME as DENSE
from lexhound.retrieval.collection.store.dense_index import kind_of, merge_dense, wanted_kind
from lexhound.retrieval.collection.store.schema import DATABASE, translate
from lexhound.retrieval.collection.store.segment import SEGMENTS, Segment, open_segment, read_all, write_segment
from lexhound.retrieval.collection.store.stored_documents import ROWS_AT_ONCE, damaged_rows
from lexhound.retrieval.collection.store.tenant_order import OWN_SEGMENT_FROM, is_of_one_tenant
from lexhound.retrieval.collection.store.wal import WAIT_SECONDS
from lexhound.retrieval.tenants.keys import prefix_of_key

from .average_length import credit, far_segments, has_grown, live_average, renew_average_length, spend_credit
from .flush import BuiltSegment, register_segment, reserve_segment, writing_segments
from .merged_order import merged_order, shared_groups
from .rows import PUBLISHED
from .writer import Writer

# This many segments of one size class (sizes within a factor of SIZE_CLASS) are merged into one of the next class:
# each document is rewritten about log(n) times, and a search visits at most a few dozen segments.
MERGE_AT = 8
SIZE_CLASS = 8


@dataclass(frozen=True, slots=True)
class CompactReport:
    """What `compact` did: documents kept, rows of deleted documents dropped, segments before and after."""

    documents: int
    dropped: int
    segments_before: int
    segments_after: int


def compact(writer: Writer, progress: OnStep | None = None) -> CompactReport:
    """Merge all published segments into one, without deleted rows, with fresh statistics.

    Searches go on meanwhile; readers move to the new segment when they refresh.

    Every document is compared with its hash first, and every file with its checksum. `progress` is told of the stages;
    what it raises ends the work, and the collection is as it was.

    Raises:
        CorruptCollectionError: one is damaged; the collection is as it was.
        StorageFullError: the disk is full; the collection is as it was.
    """
    with writer.merging:
        check_documents(writer, progress)
        writer.flush()
        names = _segments(writer, "run NOT IN (SELECT run FROM runs)")
        documents, dropped = merge(writer, names, PUBLISHED, progress=progress) if names else (0, 0)
        with writer.transaction() as connection:
            # Values of deleted documents; kept until now because no index leads from a row to them.
            connection.execute("DELETE FROM metadata WHERE seq NOT IN (SELECT seq FROM rows)")
            if documents:
                renew_average_length(writer, connection, live_average(writer))
        with writer.lock:
            try:
                writer.connection.execute("PRAGMA incremental_vacuum").fetchall()
            except sqlite3.Error as error:
                raise translate(error, writer.directory / DATABASE) from error
            writer.log.cut(WAIT_SECONDS)
        after = _segments(writer, "run NOT IN (SELECT run FROM runs)")
        return CompactReport(documents, dropped, len(names), len(after))


def check_documents(writer: Writer, progress: OnStep | None = None) -> None:
    """Compare every document with its hash.

    Raises:
        CorruptCollectionError: a document is damaged; names it.
    """
    last, exact = -1, writer.sparse_field.frequencies
    with writer.lock:
        (documents,) = writer.connection.execute("SELECT count(*) FROM rows").fetchone()
    stage = Stage(progress, "checking documents", documents)
    while True:
        with writer.lock:
            internal_ids = [
                seq
                for (seq,) in writer.connection.execute(
                    "SELECT seq FROM rows WHERE seq > ? ORDER BY seq LIMIT ?", (last, ROWS_AT_ONCE)
                )
            ]
            if not internal_ids:
                return
            for error in damaged_rows(writer.connection, internal_ids, exact=exact).values():
                raise error
        last = internal_ids[-1]
        stage.add(len(internal_ids))


def maintain(writer: Writer, documents: int) -> bool:
    """Make a segment of waiting documents if there are `documents` of them, then merge segments that have piled up.

    Weights of BM25 that are far from those of today are computed again (`average_length`).
    Returns whether there was anything to do.
    """
    with writer.merging:
        with writer.lock:
            due = writer.waiting_documents(PUBLISHED) >= documents
            if due:
                writer.flush()
            moved = has_grown(writer)
            if moved:
                with writer.transaction() as connection:
                    renew_average_length(writer, connection)
        merged = merge_small_segments(writer)
        return (bool(recompute_far_weights(writer)) if moved or due else False) or merged or due


def recompute_far_weights(writer: Writer) -> int:
    """Compute the weights of BM25 segments again whose average length is far from today's, as far as that is paid for.

    Returns how many segments that were.
    """
    if not writer.sparse_field.frequencies:
        return 0
    done = 0
    with writer.merging:
        today = live_average(writer)
        for name, rows in far_segments(writer, today):
            if rows > credit(writer):
                break
            merge(writer, [name], PUBLISHED, average=today)
            spend_credit(writer, rows)
            done += 1
    return done


def merge_job(writer: Writer, job: int, average: float, progress: OnStep | None = None) -> None:
    """Merge the segments of an unpublished ingest job into one, with the average length that it will be public with."""
    names = _segments(writer, "run = ?", job)
    if names:
        merge(writer, names, job, average=average, progress=progress)


def merge_small_segments(writer: Writer) -> bool:
    """Merge published segments of a size class where too many have gathered; returns whether any have."""
    merged = False
    while True:
        with writer.lock:
            rows = writer.connection.execute(
                "SELECT name, documents FROM segments WHERE run NOT IN (SELECT run FROM runs) ORDER BY first_seq"
            ).fetchall()
        classes: dict[tuple[str, int], list[str]] = {}
        for name, documents in rows:
            size = int(np.log(max(documents, 1)) / np.log(SIZE_CLASS))
            classes.setdefault((_owner_of(writer, name), size), []).append(name)
        crowded = [names for names in classes.values() if len(names) >= MERGE_AT]
        if not crowded:
            return merged
        merge(writer, crowded[0], PUBLISHED)
        merged = True


def _owner_of(writer: Writer, name: str) -> str:
    """Return the tenant whose a segment is, by its prefix; empty where it is of several, or there are none."""
    if writer.tenant_field is None:
        return ""
    ids = open_segment(writer.directory, name, writer.sparse_field.name).ids
    return prefix_of_key(ids[0]) if is_of_one_tenant(ids) and len(ids) >= OWN_SEGMENT_FROM else ""


def merge(
    writer: Writer,
    names: Sequence[str],
    job: int,
    *,
    average: float | None = None,
    progress: OnStep | None = None,
) -> tuple[int, int]:
    """Replace segments by few of their live rows, in order of insertion; returns (documents kept, rows dropped).

    `average` is the average length to weigh with, of all live documents unless given. As a rule one segment is left;
    more, and fewer than `MERGE_AT`, where weights differ widely (`scale_groups`).

    One merge at a time; writes go on while the new segments are built. Documents that are deleted meanwhile have
    tombstones that outlive the merge, as tombstones name rows and not places in a segment.
    """
    directory, sparse_field = writer.directory, writer.sparse_field
    with writer.merging:
        with writer.lock:
            width = None if writer.dense is None else writer.dense.width
            segments = [open_segment(directory, name, sparse_field.name, width) for name in names]
        # All of it is read first, or damage would get a checksum of its own.
        read_all(directory, segments, sparse_field.name, progress)
        with writer.lock:
            live = [_live_rows(writer, segment) for segment in segments]
            average = live_average(writer) if average is None else average
            stored_averages = [_average_of_weights(writer, segment) for segment in segments]
        dropped = sum(_documents(segment, ~keep) for segment, keep in zip(segments, live, strict=True))
        documents = sum(_documents(segment, keep) for segment, keep in zip(segments, live, strict=True))
        fresh = not sparse_field.frequencies or all(
            average_of_segment == average for average_of_segment in stored_averages
        )
        groups = regrouped(sparse_field, [segment.index for segment in segments], live)
        if writer.tenant_field is not None:
            groups = shared_groups(segments, groups)
        up_to_date = all(_is_indexed_as_wanted(writer, segment) for segment in segments)
        if all(keep.all() for keep in live) and fresh and up_to_date and _are_grouped(groups, segments):
            return documents, 0
        built: list[BuiltSegment] = []
        with writing_segments(writer, built):
            for group in groups:
                _write(writer, segments, group, average, built, refresh=not fresh, progress=progress)
        with writer.transaction() as connection:
            connection.executemany("DELETE FROM segments WHERE name = ?", ((old,) for old in names))
            dead_ids = [segment.internal_ids[~keep] for segment, keep in zip(segments, live, strict=True)]
            connection.executemany(
                "DELETE FROM tombstones WHERE seq = ?", ((seq,) for seq in np.concatenate(dead_ids).tolist())
            )
            for name, internal_ids in built:
                register_segment(connection, name, job, internal_ids)
        for old in names:  # readers that have them mapped keep them until they refresh
            shutil.rmtree(directory / SEGMENTS / old, ignore_errors=True)
        return documents, dropped


def _documents(segment: Segment, rows: NDArray[np.bool_]) -> int:
    """Return how many documents begin in some rows, bool[n]."""
    return int(np.count_nonzero(rows if segment.passages is None else rows & (segment.passages == 0)))


def _are_grouped(groups: Sequence[Sequence[Group]], segments: Sequence[Segment]) -> bool:
    """Return whether the groups are what the segments are already."""
    if len(groups) != len(segments):
        return False
    for group in groups:
        members = [number for number, each in enumerate(group) if each.rows.any()]
        if (
            len(members) != 1
            or not group[members[0]].rows.all()
            or group[members[0]].scale != segments[members[0]].index.scale
        ):
            return False
    return True


def _average_of_weights(writer: Writer, segment: Segment) -> float | None:
    """Return the average length that a segment's weights were made with."""
    return segment.index.mean_length or read_average_lengths(writer.connection).legacy


def _write(
    writer: Writer,
    segments: Sequence[Segment],
    group: Sequence[Group],
    average: float,
    built: list[BuiltSegment],
    *,
    refresh: bool,
    progress: OnStep | None,
) -> None:
    sparse_field = writer.sparse_field
    chosen = [
        (segment, rows_of_group.rows)
        for segment, rows_of_group in zip(segments, group, strict=True)
        if rows_of_group.rows.any()
    ]
    order = merged_order(chosen, tenants=writer.tenant_field is not None)
    internal_ids = order.internal_ids
    parts = [MergePart(segment.index, new_rows) for (segment, _), new_rows in zip(chosen, order.new_rows, strict=True)]
    passages = np.zeros(len(internal_ids), np.uint32)
    for (segment, rows), part in zip(chosen, parts, strict=True):
        if segment.passages is not None:
            passages[part.new_rows[rows]] = segment.passages[rows]
    postings = sum(part.index.n_postings for part in parts)
    indexes: dict[str, Callable[[Path], object]] = {
        sparse_field.name: lambda folder: merge_inverted(
            folder,
            parts,
            len(internal_ids),
            scale=group[0].scale,
            reweigh=sparse_field.weight_function(average) if refresh else None,
            mean_length=average if sparse_field.frequencies else None,
            chunks=Chunks(pace=Stage(progress, "merging postings", postings, "postings").add),
        )
    }
    if writer.dense is not None:
        width, policy = writer.dense.width, "flat" if order.shared else writer.dense_index
        dense = [
            (segment.dense, part.new_rows)
            for (segment, _), part in zip(chosen, parts, strict=True)
            if segment.dense is not None
        ]
        indexes[DENSE] = lambda folder: merge_dense(folder, dense, len(internal_ids), width, policy, progress)
    name = reserve_segment(writer)
    built.append((name, internal_ids))
    write_segment(writer.directory, name, internal_ids, order.ids_of, indexes, passages)


def _is_indexed_as_wanted(writer: Writer, segment: Segment) -> bool:
    """Return whether a segment's dense vectors, if any, are in the kind of index that a merge would put them in."""
    if segment.dense is None:
        return True
    shared = writer.tenant_field is not None and not is_of_one_tenant(segment.ids)
    return kind_of(segment.dense) == ("flat" if shared else wanted_kind(writer.dense_index, segment.n_rows))


def _live_rows(writer: Writer, segment: Segment) -> NDArray[np.bool_]:
    rows = writer.connection.execute(
        "SELECT seq FROM tombstones WHERE seq BETWEEN ? AND ?",
        (int(segment.internal_ids.min()), int(segment.internal_ids.max())),
    )
    return ~np.isin(segment.internal_ids, np.array([seq for (seq,) in rows], np.int64))


def _segments(writer: Writer, condition: str, *values: int) -> list[str]:
    with writer.lock:
        rows = writer.connection.execute(
            f"SELECT name FROM segments WHERE {condition} ORDER BY first_seq", values
        ).fetchall()
    return [name for (name,) in rows]
