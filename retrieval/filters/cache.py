"""Columns that have been read, for the filters that come next; bounded in memory, least recently used dropped first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import TypeAlias

from .column import Column

COLUMN_BYTES = 256 * 2**20
"""What the columns of one open collection take in memory, at most; one that is larger by itself is read each time."""

Key: TypeAlias = tuple[Hashable, str, bool]
"""Whose column (a segment), of which field, and whether of the field itself or of those within it."""


class ColumnCache:
    """Columns by key. Safe to use from several threads: each column is read by one of them, the others wait for it."""

    def __init__(self, limit: int = COLUMN_BYTES) -> None:
        self.read = 0  # columns, since the beginning
        self._limit = limit
        self._size = 0
        self._lock = Lock()
        self._columns: OrderedDict[Key, Column] = OrderedDict()
        self._reading: dict[Key, Future[Column]] = {}

    def get(self, key: Key, read: Callable[[], Column]) -> Column:
        """Return the column of a key; `read` makes it where it is not there."""
        with self._lock:
            column = self._columns.get(key)
            if column is not None:
                self._columns.move_to_end(key)
                return column
            waiting = self._reading.get(key)
            result: Future[Column] = Future()
            if waiting is None:
                self._reading[key] = result
        if waiting is not None:
            return waiting.result()
        try:
            column = read()
        except BaseException as error:
            with self._lock:
                del self._reading[key]
            result.set_exception(error)
            raise
        with self._lock:
            del self._reading[key]
            self.read += 1
            self._keep(key, column)
        result.set_result(column)
        return column

    def retain(self, owners: Collection[Hashable]) -> None:
        """Drop the columns of all but these segments."""
        with self._lock:
            for key in [key for key in self._columns if key[0] not in owners]:
                self._size -= self._columns.pop(key).nbytes

    def _keep(self, key: Key, column: Column) -> None:
        self._columns[key] = column
        self._size += column.nbytes
        while self._size > self._limit:
            _, dropped = self._columns.popitem(last=False)
            self._size -= dropped.nbytes
