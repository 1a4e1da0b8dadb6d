"""Errors of an index on disk. Misuse of a function (a wrong shape, `k` below one) is a `ValueError`."""

from __future__ import annotations

from pathlib import Path

from lexhound.core.errors import LexhoundError


class IndexStorageError(LexhoundError):
    """An index directory cannot be read or written as asked; most messages name the `path` themselves."""

    def __init__(self, message: str, *, path: Path | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint, where=None if path is None or str(path) in message else str(path))
        self.path = path


class CorruptFileError(IndexStorageError):
    """A file is missing, has the wrong size, or does not hold what was written; the message names it."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(
            f"{path}: {problem}", path=path, hint="the file is damaged: restore it or build the index again"
        )
        self.problem = problem


class UnsupportedFormatError(IndexStorageError):
    """The directory was written by a version of Lexhound whose format this one does not read."""

    def __init__(self, path: Path, found: int, supported: int) -> None:
        super().__init__(
            f"{path}: written in format {found}, and this version reads formats up to {supported}",
            path=path,
            hint="open it with a newer Lexhound",
        )
        self.found = found
        self.supported = supported
