"""The SQLite file of a collection: its tables, and how connections to it are opened.

The database is the single source of truth: a segment directory that no row of `segments` names does not exist.

    properties   small mutable values: generation, average length, impact scale, the fusion of hybrid searches
    rows         one row a stored document version: its number (`seq`, ascending in insertion order) and its id
    contents     title, text and metadata of the same row; apart from `rows` so that scans of ids stay small
    metadata     one row a (field, value, seq): what filters scan; rows of deleted documents go at compaction
    terms        the lexical vocabulary, append-only
    batches      encoded documents that are in no segment yet; with dense vectors, they have a column of their own
    segments     the live segments
    tombstones   rows that a batch or a segment still holds but that no longer exist
    runs         bulk runs that have not been published: their rows, batches and segments are invisible
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from .errors import CorruptCollectionError, NotACollectionError, ReadOnlyError, StorageFullError

DATABASE = "documents.sqlite"

TABLES = """
CREATE TABLE properties(name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE rows(
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    run INTEGER NOT NULL,
    hash INTEGER NOT NULL
);
CREATE INDEX rows_by_id ON rows(id);
CREATE TABLE contents(seq INTEGER PRIMARY KEY, title TEXT NOT NULL, text TEXT NOT NULL, metadata TEXT);
CREATE TABLE metadata(
    field TEXT NOT NULL, value NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY(field, value, seq)
) WITHOUT ROWID;
CREATE TABLE terms(term_id INTEGER PRIMARY KEY, term TEXT NOT NULL UNIQUE);
CREATE TABLE batches(
    batch INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL,
    documents INTEGER NOT NULL,
    vectors BLOB NOT NULL
);
CREATE TABLE segments(
    name TEXT PRIMARY KEY,
    run INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    documents INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE tombstones(seq INTEGER PRIMARY KEY);
CREATE TABLE runs(run INTEGER PRIMARY KEY AUTOINCREMENT, source TEXT NOT NULL, first_seq INTEGER NOT NULL);
INSERT INTO properties VALUES ('generation', 0);
"""

# Of collections with dense vectors only: without them, files are of format 1 to the last byte.
DENSE_COLUMN = "ALTER TABLE batches ADD COLUMN dense BLOB;"

# A writer waits this long for another connection's commit or checkpoint before it gives up.
BUSY_TIMEOUT_SECONDS = 30.0


def create_database(directory: Path, *, dense: bool = False) -> None:
    """Create the database file of a new collection; it must not exist.

    Raises:
        StorageFullError, ReadOnlyError: it cannot be written.
    """
    connection = sqlite3.connect(directory / DATABASE, isolation_level=None)
    try:
        # Must come before the first table: lets `compact` hand free pages back without a full copy of the file.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript("BEGIN;" + TABLES + (DENSE_COLUMN if dense else "") + "COMMIT;")
    except sqlite3.Error as error:
        raise translate(error, directory / DATABASE) from error
    finally:
        connection.close()


def connect(directory: Path, *, writable: bool) -> sqlite3.Connection:
    """Open a connection in autocommit mode; transactions are begun explicitly.

    The connection may be used from any thread, one at a time (callers hold a lock).

    Raises:
        NotACollectionError: the directory holds no database.
        CorruptCollectionError: the file is not a SQLite database.
        ReadOnlyError: a writable connection to a read-only file was asked for.
    """
    path = directory / DATABASE
    if not path.is_file():
        raise NotACollectionError(
            f"not a collection: it has no {DATABASE}",
            where=str(directory),
            hint="give the path of a directory that `lexhound index` made",
        )
    try:
        connection = _open(path, "rw")
        if not writable:
            connection.execute("PRAGMA query_only = ON")
    except sqlite3.OperationalError as error:
        if writable:
            raise translate(error, path) from error
        # Nobody can write to a read-only medium, so the file cannot change under us: `immutable` needs no -shm.
        connection = _open(path, "ro", immutable=True)
    except sqlite3.DatabaseError as error:
        raise translate(error, path) from error
    return connection


def _open(path: Path, mode: str, *, immutable: bool = False) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}{'&immutable=1' if immutable else ''}"
    connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_SECONDS
    )
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -65536")  # KiB
        connection.execute("SELECT value FROM properties WHERE name = 'generation'").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def translate(error: sqlite3.Error, path: Path) -> Exception:
    """The exception of ours that says what a SQLite error means to the user."""
    code = getattr(error, "sqlite_errorname", "") or ""
    if code.startswith("SQLITE_FULL"):
        return StorageFullError(
            "the disk is full",
            where=str(path),
            hint="free some space and run the same command again; nothing that was acknowledged is lost",
        )
    if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return ReadOnlyError(
            "the collection cannot be written to",
            where=str(path),
            hint="check the permissions of the collection's directory and its files",
        )
    if code.startswith("SQLITE_IOERR"):
        return StorageFullError(
            f"reading or writing failed ({error})",
            where=str(path),
            hint="check the disk; nothing that was acknowledged is lost",
        )
    return CorruptCollectionError(
        f"damaged: not readable as a SQLite database ({error})",
        where=str(path),
        hint="restore the file from a backup or index the corpus again",
    )
