"""Merging segments: `compact` makes one of all, a bulk run one of its own, and small ones are merged as they pile up.

A full merge refreshes the statistics (the average document length) over the documents that are left, so that weights
are those of an index built at once over the same documents.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..index import MergePart, merge_inverted
from .content import ROWS_AT_ONCE, damaged_rows
from .dense_index import NAME as DENSE
from .dense_index import kind_of, merge_dense, wanted_kind
from .log import WAIT_SECONDS
from .representation import Statistics
from .schema import DATABASE, translate
from .segment import SEGMENTS, Segment, open_segment, read_through, write_segment
from .snapshot import read_statistics
from .storage import storage_errors
from .writer import PUBLISHED, Writer, register_segment, write_statistics

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


def compact(writer: Writer) -> CompactReport:
    """Merge all published segments into one, without deleted rows, with fresh statistics.

    Searches go on meanwhile; readers move to the new segment when they refresh.

    Every document is compared with its hash first, and every file with its checksum.

    Raises:
        CorruptCollectionError: one is damaged; the collection is as it was.
        StorageFullError: the disk is full; the collection is as it was.
    """
    with writer.merging:
        check_documents(writer)
        writer.flush()
        names = _segments(writer, "run NOT IN (SELECT run FROM runs)")
        documents, dropped = merge(writer, names, PUBLISHED, refresh=True) if names else (0, 0)
        with writer.transaction() as connection:
            # Values of deleted documents; kept until now because no index leads from a row to them.
            connection.execute("DELETE FROM metadata WHERE seq NOT IN (SELECT seq FROM rows)")
        with writer.lock:
            try:
                writer.connection.execute("PRAGMA incremental_vacuum").fetchall()
            except sqlite3.Error as error:
                raise translate(error, writer.directory / DATABASE) from error
            writer.log.cut(WAIT_SECONDS)
        return CompactReport(documents, dropped, len(names), 1 if documents else 0)


def check_documents(writer: Writer) -> None:
    """Compare every document with its hash.

    Raises:
        CorruptCollectionError: a document is damaged; names it.
    """
    last, exact = -1, writer.representation.frequencies
    while True:
        with writer.lock:
            seqs = [
                seq
                for (seq,) in writer.connection.execute(
                    "SELECT seq FROM rows WHERE seq > ? ORDER BY seq LIMIT ?", (last, ROWS_AT_ONCE)
                )
            ]
            if not seqs:
                return
            for error in damaged_rows(writer.connection, seqs, exact=exact).values():
                raise error
        last = seqs[-1]


def maintain(writer: Writer, documents: int) -> bool:
    """Make a segment of waiting documents if there are `documents` of them, then merge segments that have piled up.

    Returns whether there was anything to do.
    """
    with writer.merging:
        with writer.lock:
            due = writer.waiting_documents(PUBLISHED) >= documents
            if due:
                writer.flush()
        return merge_small(writer) or due


def merge_run(writer: Writer, run: int) -> None:
    """Merge the segments of an unpublished bulk run into one, with statistics over all of its documents."""
    names = _segments(writer, "run = ?", run)
    others = writer.connection.execute("SELECT count(*) FROM segments WHERE run != ?", (run,)).fetchone()[0]
    if names:
        # Statistics belong to the whole collection: a run beside other segments must not change theirs.
        merge(writer, names, run, refresh=not others)


def merge_small(writer: Writer) -> bool:
    """Merge published segments of a size class where too many have gathered; returns whether any have."""
    merged = False
    while True:
        with writer.lock:
            rows = writer.connection.execute(
                "SELECT name, documents FROM segments WHERE run NOT IN (SELECT run FROM runs) ORDER BY first_seq"
            ).fetchall()
        classes: dict[int, list[str]] = {}
        for name, documents in rows:
            classes.setdefault(int(np.log(max(documents, 1)) / np.log(SIZE_CLASS)), []).append(name)
        crowded = [names for names in classes.values() if len(names) >= MERGE_AT]
        if not crowded:
            return merged
        merge(writer, crowded[0], PUBLISHED, refresh=False)
        merged = True


def merge(writer: Writer, names: Sequence[str], run: int, *, refresh: bool) -> tuple[int, int]:
    """Replace segments by one of their live rows, in order of insertion; returns (documents kept, rows dropped).

    One merge at a time; writes go on while the new segment is built. Documents that are deleted meanwhile have
    tombstones that outlive the merge, as tombstones name rows and not places in a segment.
    """
    directory, representation = writer.directory, writer.representation
    with writer.merging:
        with writer.lock:
            width = None if writer.dense is None else writer.dense.width
            segments = [open_segment(directory, name, representation.name, width) for name in names]
        for segment in segments:  # or damage would get a checksum of its own
            read_through(directory, segment, representation.name)
            segment.check_condition()
        with writer.lock:
            kept = [_kept(writer, segment) for segment in segments]
            statistics = read_statistics(writer.connection)
        dropped = sum(int((~keep).sum()) for keep in kept)
        seqs = np.sort(np.concatenate([segment.seqs[keep] for segment, keep in zip(segments, kept, strict=True)]))
        if statistics is None:
            raise AssertionError("segments exist, so statistics do")
        fresh = _refreshed(segments, kept, statistics) if refresh else statistics
        if len(segments) == 1 and not dropped and fresh == statistics and _is_indexed_as_wanted(writer, segments[0]):
            return len(seqs), 0
        statistics = fresh
        name = None
        if len(seqs):
            name = _write(writer, segments, kept, seqs, statistics, refresh=refresh)
        with writer.transaction() as connection:
            connection.executemany("DELETE FROM segments WHERE name = ?", ((old,) for old in names))
            gone = [segment.seqs[~keep] for segment, keep in zip(segments, kept, strict=True)]
            connection.executemany(
                "DELETE FROM tombstones WHERE seq = ?", ((seq,) for seq in np.concatenate(gone).tolist())
            )
            write_statistics(connection, statistics)
            if name is not None:
                register_segment(connection, name, run, seqs)
        for old in names:  # readers that have them mapped keep them until they refresh
            shutil.rmtree(directory / SEGMENTS / old, ignore_errors=True)
        return len(seqs), dropped


def _write(
    writer: Writer,
    segments: Sequence[Segment],
    kept: Sequence[NDArray[np.bool_]],
    seqs: NDArray[np.int64],
    statistics: Statistics,
    *,
    refresh: bool,
) -> str:
    representation = writer.representation
    parts = []
    for segment, keep in zip(segments, kept, strict=True):
        new_rows = np.full(segment.n_rows, -1, np.int64)
        new_rows[keep] = np.searchsorted(seqs, segment.seqs[keep])
        parts.append(MergePart(segment.index, new_rows))
    indexes: dict[str, Callable[[Path], object]] = {
        representation.name: lambda folder: merge_inverted(
            folder,
            parts,
            len(seqs),
            scale=statistics.scale,
            reweigh=representation.reweigh(statistics) if refresh else None,
        )
    }
    if writer.dense is not None:
        width, policy = writer.dense.width, writer.dense_index
        dense = [
            (segment.dense, part.new_rows)
            for segment, part in zip(segments, parts, strict=True)
            if segment.dense is not None
        ]
        indexes[DENSE] = lambda folder: merge_dense(folder, dense, len(seqs), width, policy)
    name = writer.reserve_segment()
    with storage_errors(writer.directory):
        write_segment(writer.directory, name, seqs, partial(_ids_of, segments), indexes)
    return name


def _is_indexed_as_wanted(writer: Writer, segment: Segment) -> bool:
    """Whether a segment's dense vectors, if it has any, are in the kind of index that a merge would put them in."""
    return segment.dense is None or kind_of(segment.dense) == wanted_kind(writer.dense_index, segment.n_rows)


def _ids_of(segments: Sequence[Segment], seqs: NDArray[np.int64]) -> list[str]:
    """The ids of row numbers; from segments and not from the database, where rows may go while they are merged."""
    ids = [""] * len(seqs)
    for segment in segments:
        rows = np.minimum(np.searchsorted(segment.seqs, seqs), segment.n_rows - 1)
        for place in np.flatnonzero(segment.seqs[rows] == seqs).tolist():
            ids[place] = segment.ids[rows[place]]
    return ids


def _kept(writer: Writer, segment: Segment) -> NDArray[np.bool_]:
    rows = writer.connection.execute(
        "SELECT seq FROM tombstones WHERE seq BETWEEN ? AND ?", (int(segment.seqs[0]), int(segment.seqs[-1]))
    )
    return ~np.isin(segment.seqs, np.array([seq for (seq,) in rows], np.int64))


def _refreshed(segments: Sequence[Segment], kept: Sequence[NDArray[np.bool_]], statistics: Statistics) -> Statistics:
    lengths = [
        segment.index.lengths[keep]
        for segment, keep in zip(segments, kept, strict=True)
        if segment.index.lengths is not None
    ]
    total = sum(int(part.sum(dtype=np.int64)) for part in lengths)
    documents = sum(len(part) for part in lengths)
    return Statistics(total / documents, statistics.scale) if total else statistics


def _segments(writer: Writer, condition: str, *values: int) -> list[str]:
    with writer.lock:
        rows = writer.connection.execute(
            f"SELECT name FROM segments WHERE {condition} ORDER BY first_seq", values
        ).fetchall()
    return [name for (name,) in rows]
