"""`verify`: every file against its checksum, every document against its own, and the files against the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from lexhound.core.progress import BYTES, OnStep, Pace, Stage, no_pace
from lexhound.retrieval.collection.fields.static_queries import FOLDER, has_table
from lexhound.retrieval.collection.query.pending import PENDING
from lexhound.retrieval.collection.query.snapshot import SegmentView, Snapshot
from lexhound.retrieval.collection.store.dense_batches import unpack_dense
from lexhound.retrieval.collection.store.manifest import read_manifest
from lexhound.retrieval.collection.store.passage_table import TABLE, damaged_spans, has_passages, rows_of
from lexhound.retrieval.collection.store.schema import DATABASE
from lexhound.retrieval.collection.store.segment import ROWS_AT_ONCE, SEGMENTS, verify_segment
from lexhound.retrieval.collection.store.sparse_batches import unpack
from lexhound.retrieval.collection.store.stored_documents import ROWS_AT_ONCE as DOCUMENTS_AT_ONCE
from lexhound.retrieval.collection.store.stored_documents import damaged_rows
from lexhound.retrieval.collection.store.table_checksum import check_tables
from lexhound.retrieval.collection.store.token_table import (
    damaged_token_vectors,
    has_token_vectors,
    rows_with_token_vectors,
)
from lexhound.retrieval.documents.metadata import Value, flatten
from lexhound.retrieval.errors import CollectionError, CorruptCollectionError
from lexhound.retrieval.tenants.keys import prefix_of_key

# Tables whose pages and indexes SQLite can check; texts are left out where they are read one by one anyway.
_TABLES = ("properties", "rows", "metadata", "terms", "batches", "segments", "tombstones", "runs")
_MOST_DOCUMENTS = 20
NO_ROW = -1
_PAIRS = 4096  # values of metadata read together


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong: the file (or table) it is in, and what it is."""

    where: str
    message: str


def verify(
    directory: Path, snapshot: Snapshot, index_name: str, width: int | None = None, progress: OnStep | None = None
) -> list[Problem]:
    """Read everything a snapshot stands on and list what is wrong with it.

    Args:
        snapshot: one that holds its transaction, so that files and database are of one moment.
        width: of dense vectors, if any.
        progress: told of the stages.
    """
    problems: list[Problem] = []
    with snapshot.reading() as connection:
        Stage(progress, "checking the database")
        problems += verify_database(directory, connection, thorough=True)
        stage = Stage(progress, "checking documents", _rows_of(connection, "rows"))
        damaged = verify_documents(directory, connection, snapshot.exact, stage.add)
        if damaged:
            problems += damaged.values()
        else:
            rows = _rows_of(connection, "rows", "metadata")
            stage = Stage(progress, "checking metadata", rows, "rows")
            problems += verify_values(directory, connection, stage.add)
            stage.reach(rows or 0)
        files = Stage(progress, "reading segments", sum(view.segment.nbytes for view in snapshot.segments), BYTES)
        read = 0
        for view in snapshot.segments:
            problems += verify_segment_view(directory, view, index_name, width, files.add)
            read += view.segment.nbytes
            files.reach(read)
        problems += verify_table(directory)
        problems += verify_token_vectors(connection)
        if not problems:  # what the tables and files say can be trusted
            Stage(progress, "comparing ids")
            problems += verify_agreement(directory, snapshot, connection, width)
    return problems


def refuse_damaged(problems: Sequence[Problem], verb: str) -> None:
    """Refuse to copy what is damaged; `verb`: what is not done, such as "exported".

    Raises:
        CorruptCollectionError: there is a problem; names the first.
    """
    if problems:
        more = f", and {len(problems) - 1:,} more problems" if len(problems) > 1 else ""
        raise CorruptCollectionError(
            f"the collection is damaged, so it is not {verb}: {problems[0].message}{more}",
            where=problems[0].where,
            hint="see `lexhound verify`; restore it from a backup or index the corpus again",
        )


def verify_segment_view(
    directory: Path, view: SegmentView, index_name: str, width: int | None, pace: Pace = no_pace
) -> list[Problem]:
    """Read every byte of a part's files, if it has any."""
    if view.segment.name == PENDING:
        return []
    file_problems = verify_segment(directory, view.segment.name, index_name, dense=width is not None, pace=pace)
    return [Problem(str(each.path), each.problem) for each in file_problems]


def verify_table(directory: Path) -> list[Problem]:
    """Read every byte of the table of dense queries, if there is one."""
    if not has_table(directory):
        return []
    from lexhound.encoders.dense.static_queries import StaticQueryEmbeddings

    return [Problem(str(path), problem) for path, problem in StaticQueryEmbeddings.verify(directory / FOLDER)]


def verify_database(directory: Path, connection: sqlite3.Connection, *, thorough: bool) -> list[Problem]:
    """Check what searches and filters need of the database: its pages, its indexes, its small tables.

    Unless `thorough`, the pages of texts are left to `verify_documents`.
    """
    where = str(directory / DATABASE)
    problems: list[Problem] = []
    try:
        connection.execute("PRAGMA cell_size_check = ON")
        tables = (*_TABLES, TABLE) if has_passages(connection) else _TABLES
        for table in (20,) if thorough else tables:
            rows = connection.execute(f"PRAGMA integrity_check({table})").fetchall()
            problems += [Problem(where, str(message)) for (message,) in rows if message != "ok"]
        check_tables(connection)
        problems += [Problem(where, error.message) for error in damaged_spans(connection)]
    except (sqlite3.DatabaseError, CorruptCollectionError) as error:
        problems.append(Problem(where, getattr(error, "message", str(error))))
    return problems


def verify_token_vectors(connection: sqlite3.Connection) -> list[Problem]:
    """Compare the token vectors of every row with their checksum."""
    problems: list[Problem] = []
    try:
        problems += [Problem(error.where or DATABASE, error.message) for error in damaged_token_vectors(connection)]
    except CorruptCollectionError as error:  # a page cannot be read
        problems.append(Problem(error.where or DATABASE, error.message))
    return problems


def verify_documents(
    directory: Path, connection: sqlite3.Connection, exact: bool, pace: Pace = no_pace
) -> dict[int, Problem]:
    """Compare every document with its hash; `exact`: see `stored_documents.document_of`. Needs no transaction.

    Returns what is wrong by row, of the first of them; what is wrong with no single one, or with more, by NO_ROW.
    """
    where = str(directory / DATABASE)
    try:
        damaged = _damaged_documents(connection, exact, pace)
    except CorruptCollectionError as error:
        return {NO_ROW: Problem(where, error.message)}
    shown = sorted(damaged)[:_MOST_DOCUMENTS]
    problems = {seq: Problem(where, damaged[seq].message) for seq in shown}
    if len(damaged) > len(shown):
        problems[NO_ROW] = Problem(where, f"{len(damaged) - len(shown):,} more documents are damaged")
    return problems


def verify_values(directory: Path, connection: sqlite3.Connection, pace: Pace = no_pace) -> list[Problem]:
    """Compare the values that filters scan with those of the documents, which are whole; in a transaction."""
    where = str(directory / DATABASE)
    try:
        tenants = _has_tenants(directory)
        if _values_of_table(connection, pace) == _values_of_documents(connection, pace, tenants=tenants):
            return []
    except CorruptCollectionError as error:
        return [Problem(where, error.message)]
    return [Problem(where, "table metadata: the values that filters see are not those of the documents")]


def _damaged_documents(connection: sqlite3.Connection, exact: bool, pace: Pace) -> dict[int, CorruptCollectionError]:
    """Return what is wrong with which stored document, those of unfinished ingest jobs included.

    Where documents may have brought their vectors to an earlier version, the hash of its rows tells nothing of a single
    one; but where most of them match, they are of texts alone.
    """
    damaged: dict[int, CorruptCollectionError] = {}
    doubtful: dict[int, CorruptCollectionError] = {}
    alike = 0
    for internal_ids in _chunks(connection):
        damaged |= damaged_rows(connection, internal_ids, exact=exact)
        if not exact:
            query = "SELECT seq FROM rows WHERE seq BETWEEN ? AND ? AND typeof(hash) = 'integer'"
            old = [seq for (seq,) in connection.execute(query, (internal_ids[0], internal_ids[-1]))]
            other = damaged_rows(connection, old, exact=True)
            doubtful |= other
            alike += len(old) - len(other)
        pace(len(internal_ids))
    return doubtful | damaged if alike > len(doubtful) else damaged


def _rows_of(connection: sqlite3.Connection, *tables: str) -> int | None:
    """Return how many rows some tables have, None where one cannot be read."""
    try:
        return sum(int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) for table in tables)
    except sqlite3.DatabaseError:
        return None


def _chunks(connection: sqlite3.Connection) -> Iterator[list[int]]:
    """Yield the internal ids of all rows, ascending, some at a time."""
    query, last = "SELECT seq FROM rows WHERE seq > ? ORDER BY seq LIMIT ?", -1
    while internal_ids := [seq for (seq,) in connection.execute(query, (last, DOCUMENTS_AT_ONCE))]:
        last = internal_ids[-1]
        yield internal_ids


def _has_tenants(directory: Path) -> bool:
    try:
        return read_manifest(directory).tenant_field is not None
    except CollectionError:  # told elsewhere
        return False


def _values_of_table(connection: sqlite3.Connection, pace: Pace) -> int:
    """Return a sum over the values that filters scan, of stored documents: the same in any order."""
    total = 0
    cursor = connection.execute("SELECT field, value, seq FROM metadata WHERE seq IN (SELECT seq FROM rows)")
    for count, (field, value, seq) in enumerate(cursor, 1):
        total += _pair(field, value, seq)
        if count % _PAIRS == 0:
            pace(_PAIRS)
    return total


def _values_of_documents(connection: sqlite3.Connection, pace: Pace, *, tenants: bool) -> int:
    """Return the same sum over the documents' own metadata."""
    query = (
        "SELECT seq, id, metadata FROM rows JOIN contents USING (seq)"
        " WHERE seq BETWEEN ? AND ? AND metadata IS NOT NULL"
    )
    total = 0
    for internal_ids in _chunks(connection):
        for seq, key, metadata in connection.execute(query, (internal_ids[0], internal_ids[-1])):
            prefix = prefix_of_key(key) if tenants else ""
            total += sum(_pair(prefix + field, value, seq) for field, value in flatten(orjson.loads(metadata)))
        pace(len(internal_ids))
    return total


def _pair(field: str, value: Value, seq: int) -> int:
    # As text, because some numbers have the same hash; and SQLite knows of one zero only.
    return hash((field, repr(value or abs(value) if isinstance(value, float) else value), seq))


def verify_agreement(
    directory: Path, snapshot: Snapshot, connection: sqlite3.Connection, width: int | None
) -> list[Problem]:
    """Check that what stands in two places is the same in both: batches, segments, their rows, and ids."""
    try:
        problems = [*_batches(connection, width), *_segments(snapshot, connection)]
        return problems or _rows(directory, snapshot, connection)
    except CorruptCollectionError as error:
        return [Problem(error.where or str(directory / DATABASE), error.message)]


def _batches(connection: sqlite3.Connection, width: int | None) -> Iterator[Problem]:
    dense = "NULL" if width is None else "dense"
    for number, documents, blob, vectors in connection.execute(
        f"SELECT batch, documents, vectors, {dense} FROM batches"
    ):
        where = f"{DATABASE}, batch {number}"
        try:
            sparse = unpack(blob)
            if len(sparse.internal_ids) != documents:
                yield Problem(where, f"it holds {len(sparse.internal_ids):,} documents and not {documents:,}")
            if width is not None and not np.array_equal(unpack_dense(vectors, width).internal_ids, sparse.internal_ids):
                yield Problem(where, "its dense vectors are of other documents")
        except CorruptCollectionError as error:
            yield Problem(where, error.message)


def _segments(snapshot: Snapshot, connection: sqlite3.Connection) -> Iterator[Problem]:
    listed = {
        name: facts for name, *facts in connection.execute("SELECT name, first_seq, last_seq, documents FROM segments")
    }
    for view in snapshot.segments:
        name, internal_ids = view.segment.name, view.segment.internal_ids
        if name != PENDING and listed.get(name) != _bounds(internal_ids):
            yield Problem(f"{DATABASE}, table segments", f"what it tells of segment {name} is not what the files hold")


def _bounds(internal_ids: NDArray[np.int64]) -> list[int]:
    return [int(internal_ids.min()), int(internal_ids.max()), len(internal_ids)]


def _rows(directory: Path, snapshot: Snapshot, connection: sqlite3.Connection) -> list[Problem]:
    """Check that the rows that the index returns are the documents that the database holds, with the same ids."""
    visible = "run NOT IN (SELECT run FROM runs)"
    cursor = connection.execute(f"SELECT seq FROM rows WHERE {visible} ORDER BY seq")
    stored = np.fromiter((seq for (seq,) in cursor), np.int64)
    if not np.array_equal(stored, snapshot.live_internal_ids):
        lost = len(np.setdiff1d(stored, snapshot.live_internal_ids))
        extra = len(np.setdiff1d(snapshot.live_internal_ids, stored))
        return [
            Problem(
                str(directory),
                f"index and documents disagree: {lost:,} documents are not indexed, {extra:,} indexed rows have none",
            )
        ]
    indexed = [
        each.segment.internal_ids if each.live is None else each.segment.internal_ids[each.live]
        for each in snapshot.segments
    ]
    told = np.array(rows_of(connection, stored.tolist()), np.int64)
    if has_token_vectors(connection):
        bare = np.setdiff1d(told, rows_with_token_vectors(connection))
        if len(bare):
            return [
                Problem(str(directory / DATABASE), f"{len(bare):,} rows have no token vectors, row {bare[0]} first")
            ]
    if not np.array_equal(told, np.sort(np.concatenate([np.empty(0, np.int64), *indexed]))):
        return [Problem(str(directory), "index and documents disagree: they have other passages")]
    twice = connection.execute(f"SELECT count(*) - count(DISTINCT id) FROM rows WHERE {visible}").fetchone()[0]
    problems = [Problem(str(directory / DATABASE), f"{twice:,} documents have the id of another")] if twice else []
    return problems + [
        Problem(str(directory / SEGMENTS / view.segment.name), f"{wrong:,} rows have another id than stored")
        for view in snapshot.segments
        if (wrong := _wrong_ids(connection, view))
    ]


def _wrong_ids(connection: sqlite3.Connection, view: SegmentView) -> int:
    wrong = 0
    rows = np.arange(view.segment.n_rows) if view.live is None else np.flatnonzero(view.live)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[start : start + ROWS_AT_ONCE]
        internal_ids = view.segment.documents_of(some).tolist()
        by_seq = dict(
            connection.execute(
                "SELECT seq, id FROM rows WHERE seq BETWEEN ? AND ?", (min(internal_ids), max(internal_ids))
            ).fetchall()
        )
        wrong += sum(view.segment.ids[row] != by_seq[seq] for row, seq in zip(some.tolist(), internal_ids, strict=True))
    return wrong
