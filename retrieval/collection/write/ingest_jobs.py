"""Ingest jobs that are not published: which there is, what it holds, who is at it, and dropping it."""

from __future__ import annotations

import shlex
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import orjson

from lexhound.core.lock import Holder, holder_of
from lexhound.retrieval.collection.store.passage_table import forget_spans, rows_of
from lexhound.retrieval.collection.store.token_table import forget_token_vectors

from .writer import Writer


@dataclass(frozen=True, slots=True)
class IngestJob:
    """An unpublished ingest job as the database names it."""

    number: int
    source: str
    first_internal_id: int


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An ingest job that is not visible: its corpus, its documents so far, and the process that is at it, if one is."""

    source: str
    documents: int
    running: Holder | None = None


def describe_unfinished(connection: sqlite3.Connection, directory: Path) -> Unfinished | None:
    """Return the job that is going on, or that was interrupted and holds documents; None where there is neither."""
    job = unfinished_job(connection)
    if job is None:
        return None
    held = held_documents(connection, job)
    row = connection.execute("SELECT value FROM properties WHERE name = 'running'").fetchone()
    holder = holder_of(directory)
    running = None
    if row is not None and holder is not None and row[0] == running_mark(job.number, holder.pid):
        running = holder
    if not held and running is None:
        return None
    return Unfinished(describe_source(job.source), held, running)


def held_documents(connection: sqlite3.Connection, job: IngestJob) -> int:
    """Return how many documents an ingest job has stored."""
    row = connection.execute(
        "SELECT count(*) FROM rows WHERE seq >= ? AND run = ?", (job.first_internal_id, job.number)
    )
    return int(row.fetchone()[0])


def running_mark(job: int, pid: int) -> str:
    """Return what the property `running` holds while a process is at an ingest job."""
    return f"{job} {pid}"


def unfinished_job(connection: sqlite3.Connection) -> IngestJob | None:
    """Return the job that an earlier process did not finish, if there is one."""
    row = connection.execute("SELECT run, source, first_seq FROM runs").fetchone()
    return None if row is None else IngestJob(*row)


def discard_job(writer: Writer) -> int:
    """Drop the unfinished ingest job and all it held; returns how many documents that were."""
    job = unfinished_job(writer.connection)
    if job is None:
        return 0
    with writer.transaction() as connection:
        internal_ids = staged_internal_ids(connection, job, job.first_internal_id)
        forget_token_vectors(connection, rows_of(connection, internal_ids))
        forget_spans(connection, internal_ids)
        keys = [(seq,) for seq in internal_ids]
        connection.executemany("DELETE FROM contents WHERE seq = ?", keys)
        connection.executemany("DELETE FROM rows WHERE seq = ?", keys)
        for segment in connection.execute(
            "SELECT first_seq, last_seq FROM segments WHERE run = ?", (job.number,)
        ).fetchall():
            connection.execute("DELETE FROM tombstones WHERE seq BETWEEN ? AND ?", segment)
        connection.execute("DELETE FROM segments WHERE run = ?", (job.number,))
        connection.execute("DELETE FROM batches WHERE run = ?", (job.number,))
        connection.execute("DELETE FROM runs WHERE run = ?", (job.number,))
        connection.execute("DELETE FROM properties WHERE name = 'running'")
    return len(internal_ids)


def describe_source(source: str) -> str:
    """Return the corpus's name in an ingest job's `source`, for messages."""
    try:
        return str(orjson.loads(source)["corpus"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return source


def same_corpus(source: str, other: str) -> bool:
    """Return whether two jobs' sources name one corpus, read in whatever way."""
    return describe_source(source) == describe_source(other)


def ways_on(job: IngestJob, directory: Path) -> str:
    """Return the hint of a command that meets a job that was interrupted: how to finish it, and how to drop it."""
    collection = shlex.quote(str(directory))
    corpus = describe_source(job.source)
    return (
        f"finish it with `lexhound add {collection} {shlex.quote(corpus)}` and the options that it was begun with, or"
        f" drop it with `lexhound add {collection} --discard-unfinished`"
    )


def staged_internal_ids(connection: sqlite3.Connection, job: IngestJob, first: int) -> list[int]:
    """Return the internal ids that an ingest job has stored, from `first` on."""
    rows = connection.execute("SELECT seq FROM rows WHERE seq >= ? AND run = ?", (first, job.number))
    return [seq for (seq,) in rows]
