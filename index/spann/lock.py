"""Who has an index open: one process that writes, or any number that read."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from lexhound.core.atomic_files import naming
from lexhound.index.errors import IndexStorageError

LOCK_FILE = "lock"


class IndexLock:
    """A lock on an index directory, held until `close` or the end of the process.

    Raises IndexStorageError when another opening of the index stands against it.
    """

    def __init__(self, directory: Path, *, exclusive: bool) -> None:
        path = directory / LOCK_FILE
        with naming(path):
            try:
                self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            except OSError:
                if exclusive:
                    raise
                self._descriptor = os.open(path, os.O_RDONLY)  # a disk that cannot be written to
        try:
            fcntl.flock(self._descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise IndexStorageError(
                f"{directory}: is in use" if exclusive else f"{directory}: is being written to",
                path=directory,
                hint="one process may have it open for writing, or several for reading; close the other first",
            ) from None

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            self.close()
