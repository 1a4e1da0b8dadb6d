"""How one process tells those beside it that what it wrote must be searchable now (`?refresh=true`)."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

_COUNT = struct.Struct("<Q")


class RefreshSignal:
    """A number that all processes see and the writing one raises. Reading it costs next to nothing.

    Without a file it is the process's own.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._shared: mmap.mmap | bytearray = bytearray(_COUNT.size)
        if path is not None:
            with path.open("r+b") as file:
                self._shared = mmap.mmap(file.fileno(), _COUNT.size)

    @staticmethod
    def create(path: Path) -> None:
        """Make the file that processes share."""
        path.write_bytes(_COUNT.pack(0))

    def value(self) -> int:
        """Return the number now."""
        return int(_COUNT.unpack_from(self._shared)[0])

    def raise_it(self) -> int:
        """Raise the number by one; only the writing process does."""
        value = self.value() + 1
        _COUNT.pack_into(self._shared, 0, value)  # aligned, so readers see the old number or the new one
        return value
