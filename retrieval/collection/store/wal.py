"""SQLite's write-ahead log, kept short.

SQLite copies the log into the database now and then (a checkpoint), and begins it anew when no reader is in the middle
of it. Where many readers come and go one always is, and the log only grows. So the writer, when the log has become
long, waits for the readers' transactions to end, which are short, and cuts it.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from time import monotonic

from .schema import BUSY_TIMEOUT_SECONDS, log_bytes

# The log is cut when it is longer than this.
CUT_AT_BYTES = 16 * 2**20
# How long a commit may wait for readers so that the log can be cut, and for how long no other tries after one that
# waited in vain: a long read, such as an export, is under way.
WAIT_SECONDS = 0.5
PAUSE_SECONDS = 10.0


class BoundedLog:
    """The log of the database that a writer's connection writes to; used under the writer's lock."""

    def __init__(self, directory: Path, connection: sqlite3.Connection) -> None:
        self._directory = directory
        self._connection = connection
        self._next = 0.0

    def bound(self) -> None:
        """Cut the log if it is long; to be called after a commit. What fails here is tried again later."""
        if log_bytes(self._directory) > CUT_AT_BYTES and monotonic() >= self._next and not self.cut(WAIT_SECONDS):
            self._next = monotonic() + PAUSE_SECONDS

    def cut(self, seconds: float) -> bool:
        """Copy the log into the database and cut it, waiting so long for readers; returns whether that went well."""
        try:
            self._connection.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}").fetchall()
            try:
                busy, _, _ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                self._connection.execute(f"PRAGMA busy_timeout = {round(BUSY_TIMEOUT_SECONDS * 1000)}").fetchall()
        except sqlite3.Error:  # the log still holds what the database lacks
            return False
        return not busy
