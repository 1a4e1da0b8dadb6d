"""The two data files of a clustered index: postings in pages, and the exact copy of the vectors.

Searches read them mapped: what they touch is in the page cache, which the system takes back when it needs the memory.
"""

from __future__ import annotations

import mmap
import os
import resource
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexhound.core.atomic_files import naming
from lexhound.core.progress import Pace, no_pace
from lexhound.index.array_files import create_file, write_all
from lexhound.index.errors import CorruptFileError
from lexhound.index.jit import frozen

PAGE = 4096

POSTINGS_FILE = "postings.bin"
VECTORS_FILE = "vectors.bin"

_RECORDS = 1024  # records of the exact copy that are read or written at a time


_WHO = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)


def major_faults() -> int:
    """Return how often the calling thread had to wait for the disk when it touched mapped memory.

    Where threads are not told apart: how often any thread of the process had to.
    """
    return resource.getrusage(_WHO).ru_majflt


class PostingsFile:
    """The file of postings, mapped."""

    def __init__(self, path: Path) -> None:
        """Map `path`. Raises CorruptFileError when there is no such file."""
        self.path = path
        try:
            file = path.open("rb")
        except FileNotFoundError:
            raise CorruptFileError(path, "is missing") from None
        with file:
            if hasattr(os, "posix_fadvise"):
                # The next page is seldom wanted, so the system should not read ahead.
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            self.nbytes = os.fstat(file.fileno()).st_size
            self._memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if self.nbytes else None
        raw = np.frombuffer(self._memory or b"", np.uint8, self.nbytes // 4 * 4)
        self.words = frozen(raw.view(np.uint32))
        self.floats = frozen(raw.view(np.float32))
        self.halves = frozen(raw.view(np.uint16))
        self.bytes = frozen(raw.view(np.int8))

    @property
    def cut_short(self) -> bool:
        """Whether the file has become shorter since it was mapped."""
        return self._memory is not None and self._memory.size() < self.nbytes

    def announce(self, position: int, length: int) -> None:
        """Tell the system that some of the file will be read soon."""
        if self._memory is not None and hasattr(mmap, "MADV_WILLNEED"):
            first = position // mmap.PAGESIZE * mmap.PAGESIZE
            self._memory.madvise(mmap.MADV_WILLNEED, first, min(position + length, self.nbytes) - first)


def record_bytes(dimension: int) -> int:
    """Return the bytes of a record of the exact copy: the vector, and the CRC-32 of row (u64) and vector."""
    return 4 * dimension + 4


def write_vectors(path: Path, vectors: NDArray[np.float32]) -> None:
    """Write the exact copy of float32[n, d] into a new file: the record of row r at r x `record_bytes`."""
    with naming(path), create_file(path) as file:
        for start in range(0, len(vectors), _RECORDS):
            chunk = np.ascontiguousarray(vectors[start : start + _RECORDS], "<f4")
            records = np.empty((len(chunk), record_bytes(chunk.shape[1])), np.uint8)
            records[:, :-4] = chunk.view(np.uint8)
            records[:, -4:] = _checksums(start, records)
            write_all(file, records)
        os.fsync(file.fileno())


class VectorsFile:
    """The exact copy, mapped: `vectors` is a view, float32[n, d], of its first n records."""

    def __init__(self, path: Path, n_rows: int, dimension: int) -> None:
        """Map `path`. Raises CorruptFileError when there is no such file or it is too short."""
        self.path = path
        self.size = n_rows * record_bytes(dimension)
        self._memory: mmap.mmap | None = None
        self.vectors = np.empty((0, dimension), np.float32)
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            raise CorruptFileError(path, "is missing") from None
        if size < self.size:
            raise CorruptFileError(path, f"has {size} bytes where at least {self.size} were written")
        if n_rows:
            with path.open("rb") as file:
                self._memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            strides = (record_bytes(dimension), 4)
            self.vectors = np.ndarray((n_rows, dimension), np.float32, self._memory, 0, strides)

    @property
    def cut_short(self) -> bool:
        """Whether the file has become shorter since it was mapped."""
        return self._memory is not None and self._memory.size() < self.size


def vectors_problem(path: Path, n_rows: int, dimension: int, pace: Pace = no_pace) -> str:
    """Read the records of all rows; return what is wrong with them, or an empty text."""
    size = record_bytes(dimension)
    with naming(path), path.open("rb") as file:
        for start in range(0, n_rows, _RECORDS):
            count = min(_RECORDS, n_rows - start)
            data = file.read(count * size)
            if len(data) < count * size:
                return f"ends before byte {(start + count) * size}, which is in use"
            records = np.frombuffer(data, np.uint8).reshape(count, size)
            damaged = (records[:, -4:] != _checksums(start, records)).any(axis=1)
            if damaged.any():
                row = start + int(damaged.argmax())
                return f"does not hold what was written for row {row}: its checksum does not match"
            pace(len(data))
    return ""


def _checksums(first_row: int, records: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the CRC-32 of row and vector of each record, little-endian: uint8[n, 4]."""
    rows = range(first_row, first_row + len(records))
    crcs = [
        zlib.crc32(record[:-4], zlib.crc32(row.to_bytes(8, "little")))
        for row, record in zip(rows, records, strict=True)
    ]
    return np.array(crcs, "<u4").reshape(-1, 1).view(np.uint8)
