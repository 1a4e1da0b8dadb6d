"""The two data files of a clustered index: postings in pages, and the exact copy of the vectors.

Both are read at positions, into buffers of the caller, and never mapped. A page that the last saved state refers to is
only ever written behind the entries that the state knows of: see docs/spann.md on crashes.
"""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import CorruptFileError
from ..files import create_file, naming
from .options import CopyType

PAGE = 4096

POSTINGS_FILE = "postings.bin"
VECTORS_FILE = "vectors.bin"

_GAP_PAGES = 2  # pages between two postings that are read along rather than left out
_READ_ROWS = 1024  # records read at a time


class DataFile:
    """A file that is read and written at positions, by many threads."""

    def __init__(self, path: Path, *, writable: bool) -> None:
        self.path = path
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
        descriptor, self._descriptor = getattr(self, "_descriptor", -1), -1
        if descriptor >= 0:
            os.close(descriptor)

    @property
    def nbytes(self) -> int:
        return os.fstat(self._descriptor).st_size

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
            os.fsync(self._descriptor)
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def create(path: Path) -> None:
    """An empty file; raises FileExistsError where there is one."""
    create_file(path).close()


def plan(
    pages: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[list[tuple[int, int, int]], NDArray[np.int64], int]:
    """How to read some extents in few reads.

    pages, lengths: int64[p], the first page of each and its bytes, all above zero. Returns the runs for
    `DataFile.read_runs`, the place of each extent in the buffer, int64[p], and the bytes of the buffer.
    """
    order = np.argsort(pages, kind="stable")
    first, bytes_ = pages[order], lengths[order]
    begins = first * PAGE
    ends = begins + bytes_
    new = np.ones(len(order), np.bool_)
    new[1:] = begins[1:] - ends[:-1] > _GAP_PAGES * PAGE
    run_of = np.cumsum(new) - 1
    run_begins = begins[new]
    last = np.append(np.flatnonzero(new)[1:] - 1, len(order) - 1)
    run_lengths = ends[last] - run_begins
    targets = np.concatenate([[0], np.cumsum((run_lengths + 63) // 64 * 64)])
    places = np.empty(len(order), np.int64)
    places[order] = begins - run_begins[run_of] + targets[run_of]
    runs = list(zip(targets[:-1].tolist(), run_begins.tolist(), run_lengths.tolist(), strict=True))
    return runs, places, int(targets[-1])


class VectorFile:
    """The exact copy: a record a row, at `row * record_bytes`: the vector, and the CRC-32 of row (u64) and vector."""

    def __init__(self, path: Path, dimension: int, dtype: CopyType, *, writable: bool) -> None:
        self.file = DataFile(path, writable=writable)
        self.dimension = dimension
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self.vector_bytes = dimension * self.dtype.itemsize
        self.record_bytes = (self.vector_bytes + 4 + 3) // 4 * 4

    def rounded(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """`vectors` as they will be read again. Raises ValueError where float16 cannot hold them."""
        with np.errstate(over="ignore"):
            kept: NDArray[np.float32] = vectors.astype(self.dtype).astype(np.float32)
        if not np.isfinite(kept).all():
            raise ValueError("the vectors have values beyond 65,504, which a float16 copy cannot hold")
        return kept

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

    def problem(self, rows: NDArray[np.int64]) -> str:
        """What is wrong with the records of these rows, or an empty text."""
        for start in range(0, len(rows), _READ_ROWS):
            part = rows[start : start + _READ_ROWS]
            for row, record in zip(part.tolist(), self._records(part), strict=True):
                if (record[self.vector_bytes : self.vector_bytes + 4] != self._checksum(row, record)).any():
                    return f"does not hold what was written for row {row}: its checksum does not match"
        return ""
