"""The log: what was inserted and deleted since the last saved state, synced before it is acknowledged.

`log-NUMBER.bin` belongs to the state of that number. A record is a head of 32 bytes, u32 magic "LHSL", u32 kind (1
insert, 2 delete), u64 rows, u64 bytes of the body, u32 CRC-32 of the body, u32 CRC-32 of the head's first 28 bytes;
then the body: the rows, i64 each, and for an insert their vectors, float32. A record that ends with the file before
its time was never acknowledged and is dropped; anything else that does not check is damage.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexhound.core.atomic_files import naming
from lexhound.index.array_files import create_file
from lexhound.index.errors import CorruptFileError

INSERT, DELETE = 1, 2

_HEAD = struct.Struct("<4sIQQI")
_MAGIC = b"LHSL"
_HEAD_BYTES = _HEAD.size + 4


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """An acknowledged change: rows that are gone (no vectors), or rows and their vectors, float32[m, d]."""

    rows: NDArray[np.int64]
    vectors: NDArray[np.float32] | None


def log_path(directory: Path, number: int) -> Path:
    return directory / f"log-{number:06d}.bin"


def create_log(directory: Path, number: int) -> None:
    """An empty, synced log; one that a crash left under the name is replaced."""
    path = log_path(directory, number)
    path.unlink(missing_ok=True)
    with naming(path), create_file(path) as file:
        os.fsync(file.fileno())


class Log:
    """The log of a state, open for appending."""

    def __init__(self, directory: Path, number: int) -> None:
        self.path = log_path(directory, number)
        with naming(self.path):
            self._descriptor = os.open(self.path, os.O_RDWR)
        self.nbytes = os.fstat(self._descriptor).st_size

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        descriptor, self._descriptor = getattr(self, "_descriptor", -1), -1
        if descriptor >= 0:
            os.close(descriptor)

    def cut(self, size: int) -> None:
        """Drop what stands behind `size` bytes: a record that was never acknowledged."""
        if size < self.nbytes:
            os.ftruncate(self._descriptor, size)
            self.nbytes = size

    def append(self, change: Change) -> None:
        """Write a change and bring it to the disk. After a failure the log is as it was."""
        body = change.rows.astype("<i8").tobytes()
        if change.vectors is not None:
            body += np.ascontiguousarray(change.vectors, "<f4").tobytes()
        kind = DELETE if change.vectors is None else INSERT
        head = _HEAD.pack(_MAGIC, kind, len(change.rows), len(body), zlib.crc32(body))
        record = memoryview(head + zlib.crc32(head).to_bytes(4, "little") + body)
        end = self.nbytes
        try:
            with naming(self.path):
                while record:
                    written = os.pwrite(self._descriptor, record, end)
                    record, end = record[written:], end + written
                os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, self.nbytes)
            raise
        self.nbytes = end


def read_log(directory: Path, number: int, dimension: int) -> Iterator[tuple[Change, int]]:
    """The changes of a log, and where each ends. Raises CorruptFileError for damage before the end."""
    path = log_path(directory, number)
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise CorruptFileError(path, "is missing") from None
    with file:
        size = os.fstat(file.fileno()).st_size
        position = 0
        while position + _HEAD_BYTES <= size:
            head = file.read(_HEAD_BYTES)
            magic, kind, count, length, crc = _HEAD.unpack(head[: _HEAD.size])
            intact = int.from_bytes(head[_HEAD.size :], "little") == zlib.crc32(head[: _HEAD.size])
            if not intact and not any(head):
                return  # the file grew before its contents came to the disk
            expected = count * 8 * (kind in (INSERT, DELETE)) + count * 4 * dimension * (kind == INSERT)
            if not intact or magic != _MAGIC or length != expected:
                raise CorruptFileError(path, f"does not hold what was written at byte {position}")
            end = position + _HEAD_BYTES + length
            if end > size:
                return
            body = file.read(length)
            if zlib.crc32(body) != crc:
                if end == size:
                    return
                raise CorruptFileError(path, f"does not hold what was written at byte {position}")
            rows = np.frombuffer(body, "<i8", count)
            vectors = np.frombuffer(body, "<f4", offset=8 * count).reshape(count, dimension) if kind == INSERT else None
            yield Change(rows, vectors), end
            position = end
