"""A checksum of the small tables: what a collection knows of itself, renewed by every transaction.

SQLite keeps no checksums. Documents and batches have their own, and `verification` compares what stands in two places.
This one covers what stands in one: properties, segments, ingest jobs and the counters of rows. Earlier versions write
without renewing it; the generation in it tells, and then it is not compared.
"""

from __future__ import annotations

import hashlib
import sqlite3

from lexhound.retrieval.errors import CorruptCollectionError

from .schema import DATABASE
from .sql import write_property

_NAME = "checksum"
_TABLES = (
    f"SELECT name, typeof(value), value FROM properties WHERE name != '{_NAME}' ORDER BY name",
    "SELECT name, run, first_seq, last_seq, documents FROM segments ORDER BY name",
    "SELECT run, source, first_seq FROM runs ORDER BY run",
    "SELECT name, seq FROM sqlite_sequence ORDER BY name",
)


def write_table_checksum(connection: sqlite3.Connection) -> None:
    """Renew the checksum: the last thing that a transaction does."""
    write_property(connection, _NAME, _made(connection))


def check_tables(connection: sqlite3.Connection) -> None:
    """Compare the small tables with their checksum, where it is of this state.

    Raises:
        CorruptCollectionError: they are not what was written.
    """
    row = connection.execute("SELECT value FROM properties WHERE name = ?", (_NAME,)).fetchone()
    if row is None:
        return
    made = _made(connection)
    if str(row[0]).partition(":")[0] == made.partition(":")[0] and row[0] != made:
        raise CorruptCollectionError(
            "damaged: the tables of properties, segments and runs do not match their checksum",
            where=DATABASE,
            hint="restore the file from a backup or index the corpus again",
        )


def _made(connection: sqlite3.Connection) -> str:
    """Return the generation and the checksum, as they are stored."""
    digest = hashlib.blake2b(digest_size=8)
    for query in _TABLES:
        digest.update(repr(connection.execute(query).fetchall()).encode())
    generation = connection.execute("SELECT value FROM properties WHERE name = 'generation'").fetchone()
    return f"{generation and generation[0]}:{digest.hexdigest()}"
