"""Reading everything once in the background, so that damage is known before an answer is wrong by it.

A thread of its own compares segments with their checksums, then documents with theirs, and segments that come later
when they are seen. It works a quarter of the time and sleeps the rest, so searches hardly notice it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np

from lexhound.core.errors import LexhoundError
from lexhound.retrieval.collection.query.pending import PENDING
from lexhound.retrieval.collection.query.snapshot import Snapshot
from lexhound.retrieval.collection.store.schema import connect
from lexhound.retrieval.collection.store.segment import read_through

from .verification import NO_ROW, Problem, verify_database, verify_documents, verify_table, verify_values

SHARE = 0.25
"""Of the time in which it works."""
_LONGEST = 2.0  # seconds that it sleeps at once


class Damage:
    """What is known to be wrong with a collection besides the files of its segments.

    Attributes:
        searches: by which searches and filters may be wrong, so they are not answered.
        documents: by row, documents that are not what was written; each is told of when it is read, and searches go on.
    """

    def __init__(self) -> None:
        self.searches: tuple[Problem, ...] = ()
        self.documents: dict[int, Problem] = {}

    def of(self, snapshot: Snapshot) -> tuple[Problem, ...]:
        """Return all that is known of a snapshot, the files of its segments included."""
        files = [
            Problem(str(file.path), file.problem)
            for view in snapshot.segments
            for file in view.segment.condition.problems
        ]
        documents = dict(self.documents)
        if documents and not files:  # those that were put in again are gone
            rows = np.array(list(documents), np.int64)
            for row in rows[(rows != NO_ROW) & ~np.isin(rows, snapshot.live_internal_ids)].tolist():
                del documents[row]
        return (*files, *self.searches, *documents.values())


class _StopError(Exception):
    """Raised in the thread where it is to end."""


class Checker:
    """The thread; it ends with `close`."""

    def __init__(
        self,
        directory: Path,
        index_name: str,
        damage: Damage,
        current: Callable[[], Snapshot | None],
    ) -> None:
        """Take `current`, which gives the snapshot that searches use."""
        self._directory = directory
        self._index_name = index_name
        self._damage = damage
        self._current = current
        self._closing = threading.Event()
        self._wake = threading.Event()
        self.done = threading.Event()  # everything that was there at the beginning has been read
        self._worked = 0.0
        self._thread = threading.Thread(target=self._run, name="checking", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """Say that there may be new segments."""
        self._wake.set()

    def close(self) -> None:
        """End, and wait for it."""
        self._closing.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._segments()
            self._database()
            self.done.set()
            while True:
                self._wake.wait()
                self._wake.clear()
                self._pace()
                self._segments()
        except _StopError:
            pass

    def _segments(self) -> None:
        snapshot = self._current()
        self._worked = perf_counter()
        for view in () if snapshot is None else snapshot.segments:
            if view.segment.name != PENDING:
                read_through(self._directory, view.segment, self._index_name, self._pace)

    def _database(self) -> None:
        snapshot = self._current()
        if snapshot is None:
            return
        try:
            connection = connect(self._directory, writable=False)
        except LexhoundError:  # it has gone, or whoever opens it is told
            return
        try:
            self._worked = perf_counter()
            searches = verify_database(self._directory, connection, thorough=False) + verify_table(self._directory)
            self._damage.searches += tuple(searches)
            self._pace()
            if searches:
                return
            documents = verify_documents(self._directory, connection, snapshot.exact, self._pace)
            self._damage.documents = documents
            if not documents:
                connection.execute("BEGIN")
                self._damage.searches += tuple(verify_values(self._directory, connection, self._pace))
        finally:
            connection.close()

    def _pace(self, size: int = 0) -> None:
        """Sleep as long as the share asks for after what was done since the last time."""
        worked = perf_counter() - self._worked
        if self._closing.wait(min(worked * (1 / SHARE - 1), _LONGEST)):
            raise _StopError
        self._worked = perf_counter()
