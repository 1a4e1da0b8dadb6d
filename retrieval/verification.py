"""`verify`: every file against its checksum, and the files against the database."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .dense_vectors import unpack_dense
from .errors import CorruptCollectionError
from .query_table import FOLDER, has_table
from .schema import DATABASE
from .segment import ROWS_AT_ONCE, SEGMENTS, verify_segment
from .snapshot import PENDING, Part, Snapshot
from .vectors import unpack


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong: the file (or table) it is in, and what it is."""

    where: str
    message: str


def verify(directory: Path, snapshot: Snapshot, index_name: str, width: int | None = None) -> list[Problem]:
    """Read everything a snapshot stands on and list what is wrong with it.

    Args:
        snapshot: one that holds its transaction, so that files and database are of one moment.
        width: of dense vectors, if any.
    """
    problems: list[Problem] = []
    with snapshot.reading() as connection:
        problems += _database(directory, connection)
        if problems:  # what the tables say cannot be trusted
            return problems
        for part in snapshot.parts:
            if part.segment.name == PENDING:
                continue
            problems += [
                Problem(str(found.path), found.problem)
                for found in verify_segment(directory, part.segment.name, index_name, dense=width is not None)
            ]
        problems += _batches(connection, width)
        if not problems:
            problems += _agreement(directory, snapshot, connection)
    if has_table(directory):
        from ..encoders.query_table import QueryTable

        problems += [Problem(str(path), problem) for path, problem in QueryTable.verify(directory / FOLDER)]
    return problems


def _database(directory: Path, connection: sqlite3.Connection) -> list[Problem]:
    where = str(directory / DATABASE)
    try:
        rows = connection.execute("PRAGMA integrity_check(20)").fetchall()
        orphans = connection.execute(
            "SELECT count(*) FROM rows LEFT JOIN contents USING (seq) WHERE contents.seq IS NULL"
        ).fetchone()[0]
    except sqlite3.DatabaseError as error:
        return [Problem(where, str(error))]
    problems = [Problem(where, str(message)) for (message,) in rows if message != "ok"]
    if orphans:
        problems.append(Problem(where, f"{orphans:,} documents have lost their contents"))
    return problems


def _batches(connection: sqlite3.Connection, width: int | None) -> list[Problem]:
    problems = []
    dense = "NULL" if width is None else "dense"
    for number, blob, vectors in connection.execute(f"SELECT batch, vectors, {dense} FROM batches"):
        try:
            sparse = unpack(blob)
            if width is not None and not np.array_equal(unpack_dense(vectors, width).seqs, sparse.seqs):
                problems.append(Problem(f"{DATABASE}, batch {number}", "its dense vectors are of other documents"))
        except CorruptCollectionError as error:
            problems.append(Problem(f"{DATABASE}, batch {number}", error.message))
    return problems


def _agreement(directory: Path, snapshot: Snapshot, connection: sqlite3.Connection) -> list[Problem]:
    """The rows that the index would return are exactly the documents that the database holds, under the same ids."""
    visible = "run NOT IN (SELECT run FROM runs)"
    cursor = connection.execute(f"SELECT seq FROM rows WHERE {visible} ORDER BY seq")
    stored = np.fromiter((seq for (seq,) in cursor), np.int64)
    if not np.array_equal(stored, snapshot.live_seqs):
        lost = len(np.setdiff1d(stored, snapshot.live_seqs))
        extra = len(np.setdiff1d(snapshot.live_seqs, stored))
        return [
            Problem(
                str(directory),
                f"index and documents disagree: {lost:,} documents are not indexed, {extra:,} indexed rows have none",
            )
        ]
    return [
        Problem(str(directory / SEGMENTS / part.segment.name), f"{wrong:,} rows have another id than stored")
        for part in snapshot.parts
        if (wrong := _wrong_ids(connection, part))
    ]


def _wrong_ids(connection: sqlite3.Connection, part: Part) -> int:
    wrong = 0
    rows = np.arange(part.segment.n_rows) if part.live is None else np.flatnonzero(part.live)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[start : start + ROWS_AT_ONCE]
        seqs = part.segment.seqs[some].tolist()
        by_seq = dict(
            connection.execute("SELECT seq, id FROM rows WHERE seq BETWEEN ? AND ?", (seqs[0], seqs[-1])).fetchall()
        )
        wrong += sum(part.segment.ids[row] != by_seq[seq] for row, seq in zip(some.tolist(), seqs, strict=True))
    return wrong
