"""The two data files of a clustered index: postings, and the exact copy of the vectors.

Searches read them mapped: what they touch is in the page cache, which the system takes back when it needs the memory.
"""

from __future__ import annotations

import mmap
import os
import resource
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from lexhound.core.atomic_files import naming
from lexhound.core.progress import Pace, no_pace
from lexhound.index.array_files import create_file, write_all
from lexhound.index.errors import CorruptFileError
from lexhound.index.jit import frozen

POSTINGS_FILE = "postings.bin"
VECTORS_FILE = "vectors.bin"

_RECORDS = 1024  # records of the exact copy that are read or written at a time


_WHO = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)


def major_faults() -> int:
    """Return how often the calling thread had to wait for the disk when it touched mapped memory.

    Where threads are not told apart: how often any thread of the process had to.
    """
    return resource.getrusage(_WHO).ru_majflt


def _scattered(file: BinaryIO) -> mmap.mmap:
    """Map a file that is read here and there: the system should read no pages but those that are touched."""
    memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if hasattr(mmap, "MADV_RANDOM"):
        memory.madvise(mmap.MADV_RANDOM)
    return memory


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
            self.nbytes = os.fstat(file.fileno()).st_size
            self._memory = _scattered(file) if self.nbytes else None
        raw = np.frombuffer(self._memory or b"", np.uint8, self.nbytes // 4 * 4)
        self.words = frozen(raw.view(np.uint32))
        self.floats = frozen(raw.view(np.float32))
        self.bytes = frozen(raw)

    @property
    def cut_short(self) -> bool:
        """Whether the file has become shorter since it was mapped."""
        return self._memory is not None and self._memory.size() < self.nbytes

    def announce(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        """Tell the system which bytes of the file will be read soon: int64[m] each."""
        _announce(self._memory, starts, ends)


def _announce(memory: mmap.mmap | None, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
    """Have the pages of some ranges read, all of them at once; ranges that meet are asked for together."""
    if memory is None or not len(starts) or not hasattr(mmap, "MADV_WILLNEED"):
        return
    order = np.argsort(starts)
    first, last = starts[order] // mmap.PAGESIZE, -(-ends[order] // mmap.PAGESIZE)
    reached = np.maximum.accumulate(last)
    begins = np.flatnonzero(np.concatenate([[True], first[1:] > reached[:-1]]))
    stops = reached[np.concatenate([begins[1:] - 1, [len(first) - 1]])]
    for begin, stop in zip((first[begins] * mmap.PAGESIZE).tolist(), (stops * mmap.PAGESIZE).tolist(), strict=True):
        memory.madvise(mmap.MADV_WILLNEED, begin, min(stop, len(memory)) - begin)


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
    """The exact copy, mapped twice: `vectors`, float32[n, d], views its first n records for those who read all of them,
    `scattered` for those who read some.
    """

    def __init__(self, path: Path, n_rows: int, dimension: int) -> None:
        """Map `path`. Raises CorruptFileError when there is no such file or it is too short."""
        self.path = path
        self.size = n_rows * record_bytes(dimension)
        self._memory: mmap.mmap | None = None
        self.vectors = self.scattered = np.empty((0, dimension), np.float32)
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            raise CorruptFileError(path, "is missing") from None
        if size < self.size:
            raise CorruptFileError(path, f"has {size} bytes where at least {self.size} were written")
        if n_rows:
            with path.open("rb") as file:
                whole, self._memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), _scattered(file)
            strides = (record_bytes(dimension), 4)
            self.vectors = np.ndarray((n_rows, dimension), np.float32, whole, 0, strides)
            self.scattered = np.ndarray((n_rows, dimension), np.float32, self._memory, 0, strides)

    def announce(self, rows: NDArray[np.int64]) -> None:
        """Tell the system which rows will be read soon: int64[m], without the checksums behind them."""
        record, length = self.vectors.strides[0], 4 * self.vectors.shape[1]
        _announce(self._memory, rows * record, rows * record + length)

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
