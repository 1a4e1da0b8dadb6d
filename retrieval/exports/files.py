"""Data files of an export: written in parts of a bounded size."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self


class PartFiles:
    """`stem-00000.suffix`, `stem-00001.suffix`, ...: a new one whenever a record would take one beyond `limit` bytes.

    `head` and `tail` stand around the records of every part, `between` between two of them.
    """

    def __init__(
        self,
        folder: Path,
        stem: str,
        suffix: str,
        limit: int,
        *,
        head: bytes = b"",
        between: bytes = b"",
        tail: bytes = b"",
    ) -> None:
        self._folder = folder
        self._stem = stem
        self._suffix = suffix
        self._limit = limit
        self._head = head
        self._between = between
        self._tail = tail
        self._file: BinaryIO | None = None
        self._size = 0
        self.names: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, record: bytes) -> None:
        """Append a record; it is never cut in two."""
        if self._file is not None and self._size + len(record) + len(self._tail) > self._limit:
            self._finish_part()
        if self._file is None:
            self._begin_part()
            lead = b""
        else:
            lead = self._between
        self._put(lead + record)

    def finish(self) -> tuple[str, ...]:
        """Close the last part; returns the names of all. Without any record there is one part, empty."""
        if not self.names:
            self._begin_part()
        if self._file is not None:
            self._finish_part()
        return tuple(self.names)

    def _begin_part(self) -> None:
        name = f"{self._stem}-{len(self.names):05d}.{self._suffix}"
        self.names.append(name)
        self._file = (self._folder / name).open("xb")
        self._size = 0
        self._put(self._head)

    def _finish_part(self) -> None:
        file = self._file
        if file is not None:
            self._put(self._tail)
            file.close()
            self._file = None

    def _put(self, data: bytes) -> None:
        if self._file is not None:
            self._file.write(data)
            self._size += len(data)
