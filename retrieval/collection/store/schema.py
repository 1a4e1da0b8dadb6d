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
    runs         ingest jobs that have not been published: their rows, batches and segments are invisible
    passages     from format 5 on: which documents are split or cut, and where (`passage_table`)
    token_vectors  of collections with late interaction: the vectors of a row's tokens (`token_table`)
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import TypeAlias

from lexhound.core.errors import CollectionGoneError, ReadOnlyError, StorageFullError
from lexhound.retrieval.errors import CorruptCollectionError, NotACollectionError

from .sqlite_damage import Connection

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

# SQLite's log and its index stay beside the database, if need be empty: without them only those who may write to the
# directory could read.
LOG = f"{DATABASE}-wal"
LOG_INDEX = f"{DATABASE}-shm"
# What stays of the log's file after SQLite has begun it anew.
LOG_KEPT_BYTES = 4 * 2**20

# Device and inode of a database file: which collection it is, whatever is at its path by now.
Identity: TypeAlias = tuple[int, int]

# A writer waits this long for another connection's commit or checkpoint before it gives up.
BUSY_TIMEOUT_SECONDS = 30.0


def create_database(directory: Path, *, dense: bool = False, more: str = "") -> None:
    """Create the database file of a new collection; it must not exist. `more` makes further tables.

    Raises:
        StorageFullError, ReadOnlyError: it cannot be written.
    """
    connection = sqlite3.connect(directory / DATABASE, isolation_level=None)
    try:
        # Must come before the first table: lets `compact` hand free pages back without a full copy of the file.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript("BEGIN;" + TABLES + (DENSE_COLUMN if dense else "") + more + "COMMIT;")
    except sqlite3.Error as error:
        raise translate(error, directory / DATABASE) from error
    finally:
        connection.close()
    keep_log(directory)


def identity_of(directory: Path) -> Identity:
    """Return which database is at the path of a collection now.

    Raises:
        NotACollectionError: none is.
    """
    try:
        status = (directory / DATABASE).stat()
    except OSError as error:
        raise NotACollectionError(
            f"not a collection: it has no {DATABASE}" if isinstance(error, FileNotFoundError) else str(error.strerror),
            where=str(directory),
            hint="give the path of a directory that `lexhound index` made",
        ) from error
    return status.st_dev, status.st_ino


def find_identity(directory: Path) -> Identity | None:
    """Return the same; None where there is no database."""
    try:
        return identity_of(directory)
    except NotACollectionError:
        return None


def log_identity(directory: Path) -> Identity | None:
    """Return which log is beside the database; it stays the same file as long as a connection is open."""
    try:
        status = (directory / LOG).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def check_identity(directory: Path, identity: Identity, log: Identity | None = None) -> None:
    """Check that the database at the path is the one that was opened, with the same `log` if given.

    Raises:
        CollectionGoneError: it is another one, or there is none any more.
    """
    current = find_identity(directory)
    if current != identity:
        raise CollectionGoneError(
            "the collection was removed while it was open"
            if current is None
            else "the collection was replaced by another one while it was open",
            where=str(directory),
            hint="open it again" if current is not None else "make it again, or restore it from a backup",
        )
    if log is not None and log_identity(directory) != log:
        raise CollectionGoneError(
            f"{LOG} was removed or replaced while the collection was open",
            where=str(directory),
            hint="open the collection again and look at what was written last; leave that file to SQLite",
        )


def connect(directory: Path, *, writable: bool, identity: Identity | None = None) -> sqlite3.Connection:
    """Open a connection in autocommit mode; transactions are begun explicitly.

    The connection may be used from any thread, one at a time (callers hold a lock).

    Args:
        identity: of the database that is meant.

    Raises:
        NotACollectionError: the directory holds no database.
        CollectionGoneError: the database is not the one that is meant.
        CorruptCollectionError: the file is not a SQLite database.
        ReadOnlyError: the file cannot be written to, or, for reading, its log cannot be used.
    """
    path = directory / DATABASE
    if not path.is_file():
        if identity is not None:
            check_identity(directory, identity)
        identity_of(directory)
    try:
        connection = _open(path, "rw" if writable else "ro")
    except sqlite3.DatabaseError as error:
        if writable or not _is_refused(error):
            raise translate(error, path) from error
        connection = _open_unchanging(directory, error)
    except CorruptCollectionError as error:
        raise CorruptCollectionError(
            error.message, where=str(path), hint="restore the file from a backup or index the corpus again"
        ) from error
    if identity is not None:
        try:
            check_identity(directory, identity)
        except BaseException:
            connection.close()
            raise
    return connection


def keep_log(directory: Path) -> None:
    """Leave an empty log beside the database where the last connection has removed it, so that others can read.

    Nothing happens where it cannot be made: the collection is whole without it.
    """
    try:
        status = (directory / DATABASE).stat()
        for name in (LOG, LOG_INDEX):
            descriptor = os.open(directory / name, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, status.st_mode & 0o777)
            try:
                log_status = os.fstat(descriptor)
                if log_status.st_size == 0 and (log_status.st_mode ^ status.st_mode) & 0o777:
                    os.fchmod(descriptor, status.st_mode & 0o777)
                if log_status.st_uid != status.st_uid or log_status.st_gid != status.st_gid:
                    os.fchown(descriptor, status.st_uid, status.st_gid)
            finally:
                os.close(descriptor)
    except OSError:
        return


def log_bytes(directory: Path) -> int:
    """Return the bytes of SQLite's log."""
    try:
        return (directory / LOG).stat().st_size
    except OSError:
        return 0


def _open_unchanging(directory: Path, refused: sqlite3.Error) -> sqlite3.Connection:
    """Open a database whose log cannot be used, where nobody can have written to it or will."""
    path = directory / DATABASE
    if os.access(path, os.R_OK) and _is_read_only_system(directory):
        if not log_bytes(directory):
            try:
                return _open(path, "ro", immutable=True)
            except sqlite3.Error as error:
                raise translate(error, path) from error
        message = f"the file system is read-only and {LOG} holds changes that cannot be read without {LOG_INDEX}"
        hint = "open the collection once where it can be written to, or copy it there"
    elif not os.access(path, os.R_OK):
        message, hint = f"{DATABASE} cannot be read", "it takes permission to read the collection's files"
    else:
        missing = [name for name in (LOG, LOG_INDEX) if not os.access(directory / name, os.R_OK)]
        message = (
            f"reading needs {' and '.join(missing) or LOG}, which cannot be "
            + ("read" if all((directory / name).exists() for name in missing) else "made")
            + " by this user, and without them newer documents would be missing"
        )
        hint = (
            "let a user who may write to the directory open the collection once (`lexhound info` will do), or give"
            " this user permission to write to the directory and to read its files"
        )
    raise ReadOnlyError(message, where=str(directory), hint=hint) from refused


def _is_read_only_system(directory: Path) -> bool:
    return bool(os.statvfs(directory).f_flag & os.ST_RDONLY)


def _is_refused(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorname", "") or ""
    return code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM"))


def _open(path: Path, mode: str, *, immutable: bool = False) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}{'&immutable=1' if immutable else ''}"
    connection = sqlite3.connect(
        uri,
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_TIMEOUT_SECONDS,
        factory=Connection,
    )
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -65536")  # KiB
        if mode == "rw":
            connection.execute(f"PRAGMA journal_size_limit = {LOG_KEPT_BYTES}").fetchall()
        connection.execute("SELECT value FROM properties WHERE name = 'generation'").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def translate(error: sqlite3.Error, path: Path) -> Exception:
    """Return the exception of ours that says what a SQLite error means to the user."""
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
