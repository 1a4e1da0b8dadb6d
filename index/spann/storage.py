"""The two data files of a clustered index: postings in pages, and the exact copy of the vectors.

Searches read them mapped: what they touch is in the page cache, which the system takes back when it needs the memory.
What reads much at once reads at positions, into buffers of the caller, and writing is never done through a map. A page
that the last saved state refers to is only ever written behind the entries that the state knows of: see docs/spann.md.
"""

from __future__ import annotations

import errno
import mmap
import os
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexhound.core.atomic_files import naming
from lexhound.index.array_files import Pace, create_file, no_pace
from lexhound.index.errors import CorruptFileError
from lexhound.index.jit import frozen

from .options import CopyType

PAGE = 4096

POSTINGS_FILE = "postings.bin"
VECTORS_FILE = "vectors.bin"

_READ_ROWS = 1024  # records read at a time


Views = tuple[NDArray[np.uint32], NDArray[np.float32], NDArray[np.uint16], NDArray[np.int8]]


class _Map:
    """A file in memory, as long as it was when it was mapped: four read-only views of the same bytes."""

    def __init__(self, descriptor: int, *, random: bool) -> None:
        size = os.fstat(descriptor).st_size
        self.memory = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) if size else None
        if self.memory is not None and random and hasattr(mmap, "MADV_RANDOM"):
            self.memory.madvise(mmap.MADV_RANDOM)
        raw = np.frombuffer(self.memory or b"", np.uint8, size // 4 * 4)
        self.nbytes = len(raw)
        self.views: Views = (
            frozen(raw.view(np.uint32)),
            frozen(raw.view(np.float32)),
            frozen(raw.view(np.uint16)),
            frozen(raw.view(np.int8)),
        )

    def advise(self, advice: str, position: int = 0, length: int | None = None) -> None:
        """Tell the system what is wanted of some of it, where it can be told."""
        if self.memory is not None and hasattr(mmap, advice):
            first = position // mmap.PAGESIZE * mmap.PAGESIZE
            last = len(self.memory) if length is None else min(position + length, len(self.memory))
            if last > first:
                self.memory.madvise(getattr(mmap, advice), first, last - first)


class DataFile:
    """A file that is read, mapped or at positions, and written at positions, by many threads."""

    def __init__(self, path: Path, *, writable: bool, random: bool = False) -> None:
        """`random`: of what is mapped, single pages are wanted, and not what lies behind them."""
        self.path = path
        self._random = random
        self._map: _Map | None = None
        try:
            self._descriptor = os.open(path, os.O_RDWR if writable else os.O_RDONLY)
        except FileNotFoundError:
            raise CorruptFileError(path, "is missing") from None
        if hasattr(os, "posix_fadvise"):
            # The next page is seldom wanted, so the system should not read ahead.
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        # Reads that must not wait: they say at once that something has to come from the disk.
        self._ask_first = hasattr(os, "RWF_NOWAIT")

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        self._map = None
        descriptor, self._descriptor = getattr(self, "_descriptor", -1), -1
        if descriptor >= 0:
            os.close(descriptor)

    @property
    def nbytes(self) -> int:
        return os.fstat(self._descriptor).st_size

    def views(self, end: int) -> Views:
        """The file in memory, mapped, at least to the byte `end` if it is so long."""
        return self._mapped(end).views

    def announce(self, position: int, length: int) -> None:
        """Tell the system that some of what is mapped will be read soon."""
        if self._map is not None:
            self._map.advise("MADV_WILLNEED", position, length)

    def _mapped(self, end: int) -> _Map:
        found = self._map
        if found is None or found.nbytes < end:
            # Another thread may do the same: then one of the two maps goes when its last user is through.
            found = self._map = _Map(self._descriptor, random=self._random)
        return found

    def read_runs(self, buffer: memoryview, runs: list[tuple[int, int, int]]) -> None:
        """Read (place in the buffer, place in the file, bytes) of each run.

        Where the page cache lacks a run, the system is told of all that are left before any of them is waited for, so
        that the disk works on them together. Raises CorruptFileError where the file ends too early.
        """
        with naming(self.path):
            for number, (target, position, length) in enumerate(runs):
                got = 0
                if self._ask_first:
                    got = self._read_now(buffer[target : target + length], position)
                    if got < length:
                        self._announce(runs[number:])
                while got < length:
                    step = os.preadv(self._descriptor, [buffer[target + got : target + length]], position + got)
                    if step == 0:
                        raise CorruptFileError(self.path, f"ends before byte {position + length}, which is in use")
                    got += step

    def _read_now(self, target: memoryview, position: int) -> int:
        try:
            return os.preadv(self._descriptor, [target], position, os.RWF_NOWAIT)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
            self._ask_first = False
            return 0

    def _announce(self, runs: Iterable[tuple[int, int, int]]) -> None:
        if hasattr(os, "posix_fadvise"):
            for _, position, length in runs:
                os.posix_fadvise(self._descriptor, position, length, os.POSIX_FADV_WILLNEED)

    def write(self, data: NDArray[np.uint8], position: int) -> None:
        view = memoryview(np.ascontiguousarray(data).reshape(-1))  # type: ignore[arg-type]
        with naming(self.path):
            while view:
                written = os.pwrite(self._descriptor, view, position)
                view, position = view[written:], position + written

    def extend(self, size: int) -> None:
        """Make the file at least so long; what is added reads as zeros."""
        with naming(self.path):
            if self.nbytes < size:
                os.ftruncate(self._descriptor, size)

    def sync(self) -> None:
        with naming(self.path):
            os.fsync(self._descriptor)

    def forget(self) -> None:
        """Ask the system to drop the file from its page cache."""
        if hasattr(os, "posix_fadvise"):
            if self._map is not None:  # pages that are mapped are not dropped
                self._map.advise("MADV_DONTNEED")
            os.fsync(self._descriptor)
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def create(path: Path) -> None:
    """An empty file; raises FileExistsError where there is one."""
    create_file(path).close()


class VectorFile:
    """The exact copy: a record a row, at `row * record_bytes`: the vector, and the CRC-32 of row (u64) and vector."""

    def __init__(self, path: Path, dimension: int, dtype: CopyType, *, writable: bool) -> None:
        self.file = DataFile(path, writable=writable, random=True)
        self.dimension = dimension
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self.vector_bytes = dimension * self.dtype.itemsize
        self.record_bytes = (self.vector_bytes + 4 + 3) // 4 * 4

    def rounded(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """`vectors` as they will be read again. Raises ValueError where float16 cannot hold them."""
        if vectors.dtype == self.dtype:
            return vectors
        with np.errstate(over="ignore"):
            kept: NDArray[np.float32] = vectors.astype(self.dtype).astype(np.float32)
        if not np.isfinite(kept).all():
            raise ValueError("the vectors have values beyond 65,504, which a float16 copy cannot hold")
        return kept

    def mapped(self, n_rows: int) -> NDArray[np.float32]:
        """The vectors of rows 0 to `n_rows` - 1 as they lie in a file of float32 that is long enough: a view, [n, d].

        Mapped apart from what searches read, as a thing to be read from one end to the other.
        """
        if not n_rows:
            return np.empty((0, self.dimension), np.float32)
        with self.file.path.open("rb") as file:
            whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return np.ndarray((n_rows, self.dimension), np.float32, whole, 0, (self.record_bytes, 4))

    def words(
        self, rows: NDArray[np.int64], *, announce: bool = False
    ) -> tuple[NDArray[np.float32], int, NDArray[np.int64]]:
        """Where the vectors of rows stand in memory: floats, the distance of two rows in them, and the rows' places.

        `announce`: they may have to come from the disk, which is told of all of them first.
        """
        if self.dtype != np.float32:
            return frozen(self.read(rows).reshape(-1)), self.dimension, np.arange(len(rows))
        words = self.file.views(self.record_bytes * (int(rows.max(initial=-1)) + 1))[1]
        if announce:
            for row in rows.tolist():
                self.file.announce(row * self.record_bytes, self.record_bytes)
        return words, self.record_bytes // 4, rows

    def write(self, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Write records; rows in a sequence go in one write."""
        records = np.zeros((len(rows), self.record_bytes), np.uint8)
        records[:, : self.vector_bytes] = vectors.astype(self.dtype).view(np.uint8)
        for i, row in enumerate(rows.tolist()):
            records[i, self.vector_bytes : self.vector_bytes + 4] = self._checksum(row, records[i])
        breaks = np.flatnonzero(np.diff(rows) != 1) + 1
        for start, end in zip([0, *breaks.tolist()], [*breaks.tolist(), len(rows)], strict=True):
            if end > start:
                self.file.write(records[start:end], int(rows[start]) * self.record_bytes)

    def _checksum(self, row: int, record: NDArray[np.uint8]) -> NDArray[np.uint8]:
        crc = zlib.crc32(record[: self.vector_bytes], zlib.crc32(row.to_bytes(8, "little")))  # type: ignore[arg-type]
        return np.frombuffer(crc.to_bytes(4, "little"), np.uint8)

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors of rows, in their order: float32[m, d]."""
        vectors = np.empty((len(rows), self.dimension), np.float32)
        for start in range(0, len(rows), _READ_ROWS):
            part = rows[start : start + _READ_ROWS]
            vectors[start : start + len(part)] = self._records(part)[:, : self.vector_bytes].view(self.dtype)
        return vectors

    def _records(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        size = self.record_bytes
        records = np.empty((len(rows), size), np.uint8)
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        breaks = (np.flatnonzero(np.diff(ordered) != 1) + 1).tolist()
        runs = [
            (start * size, int(ordered[start]) * size, (end - start) * size)
            for start, end in zip([0, *breaks], [*breaks, len(rows)], strict=True)
        ]
        self.file.read_runs(memoryview(records).cast("B"), runs if len(rows) else [])  # type: ignore[arg-type]
        if np.array_equal(order, np.arange(len(rows))):
            return records
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return records[back]

    def problem(self, rows: NDArray[np.int64], pace: Pace = no_pace) -> str:
        """What is wrong with the records of these rows, or an empty text."""
        for start in range(0, len(rows), _READ_ROWS):
            part = rows[start : start + _READ_ROWS]
            pace()
            for row, record in zip(part.tolist(), self._records(part), strict=True):
                if (record[self.vector_bytes : self.vector_bytes + 4] != self._checksum(row, record)).any():
                    return f"does not hold what was written for row {row}: its checksum does not match"
        return ""
