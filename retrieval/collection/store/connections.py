"""Connections that read one collection's database, each for the time of one transaction.

No transaction is left open between two calls: while one is, SQLite cannot reuse its write-ahead log, which then grows
with every write.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock

from lexhound.core.errors import ReadOnlyError

from .schema import DATABASE, Identity, connect, identity_of, translate

# Connections that are kept for the next reader, most recently used first; each has a cache of its own.
KEPT = 4


class Connections:
    """Read connections of one collection, made as threads need them. Safe to use from several threads."""

    def __init__(self, directory: Path, identity: Identity | None = None) -> None:
        """Take the `identity` of the database that is to be read; by default that which is there now."""
        self.directory = directory.absolute()  # wherever the process goes
        self.identity = identity or identity_of(directory)
        self._idle: list[sqlite3.Connection] = []
        self._lock = RLock()  # a snapshot that goes gives its connection back, whatever this thread is doing
        self._closed = False

    def take(self) -> sqlite3.Connection:
        """Return a connection for the caller alone, to be given back with `give` or closed.

        Raises:
            CollectionGoneError: another database, or none, is at the path by now.
        """
        with self._lock:
            if self._closed:
                raise ReadOnlyError("the collection is closed", where=str(self.directory), hint="open it again")
            if self._idle:
                return self._idle.pop()
        return connect(self.directory, writable=False, identity=self.identity)

    def give(self, connection: sqlite3.Connection) -> None:
        """Take a connection back; whatever transaction it is in ends."""
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        with self._lock:
            if not self._closed and len(self._idle) < KEPT:
                self._idle.append(connection)
                return
        connection.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give a connection in a read transaction of its own, for as long as the block runs.

        Raises:
            CorruptCollectionError and others that `translate` names, where SQLite fails.
        """
        connection = self.take()
        try:
            connection.execute("BEGIN")
            yield connection
        except sqlite3.Error as error:
            connection.close()
            raise translate(error, self.directory / DATABASE) from error
        except BaseException:
            self.give(connection)
            raise
        self.give(connection)

    def close(self) -> None:
        """Close the connections that nobody uses; the others are closed when they are given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
