"""A directory of raw arrays: one file per array, and `arrays.json`, which says what they are.

`NAME.bin` holds the elements of an array, little-endian, nothing else. `arrays.json` is written last, and under
another name first: a directory without it was never finished, and a crash leaves nothing in between. It holds

    {"arrays": {NAME: {"bytes": ..., "checksum": "crc32:........", "dtype": "<u2", "shape": [...], "structure": true}},
     "attributes": {...}, "checksum": "crc32:........", "format": 1, "kind": "inverted"}

in one fixed form (`_encode`), so that no byte of it can change unnoticed: its checksum is that of the same text with
an empty checksum, and a text in any other form is refused.

Arrays marked as `structure` are verified when the directory is opened; `array_verification` reads all of them.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import mmap
import os
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lexhound.core.atomic_files import naming, sync_directory

from .errors import CorruptFileError, IndexStorageError, UnsupportedFormatError

HEADER = "arrays.json"
_UNFINISHED = "arrays.json.part"
CHECK_CHUNK = 1 << 22
CHANGED = "does not hold what was written: its checksum does not match"
_ALLOWED_KINDS = "iuf"


def create_file(path: Path) -> BinaryIO:
    """Create `path`, which must not exist, for writing bytes, unbuffered. Every file of an index is made here."""
    return path.open("xb", buffering=0)


def write_all(file: BinaryIO, data: Any) -> None:
    """Write all bytes of a buffer or a contiguous array to an unbuffered file."""
    view = memoryview(data)
    rest = view.cast("B") if view.nbytes else memoryview(b"")  # what has no bytes cannot be cast
    while rest:
        rest = rest[file.write(rest) :]


@dataclass(frozen=True, slots=True)
class FileProblem:
    """Something wrong with a file of an index."""

    path: Path
    problem: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


def _bytes_of(array: NDArray[Any]) -> memoryview:
    """Return the elements of an array as bytes, without a copy when it is contiguous."""
    return memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8))  # type: ignore[arg-type]


def checksum_text(crc: int) -> str:
    """Return a CRC-32 as the header writes it."""
    return f"crc32:{crc:08x}"


_CHECKSUM_LINE = re.compile(rb'^ "checksum": "[^"]*"', re.MULTILINE)
"""The line with a header's own checksum, which is that of the whole text with none in its place."""


def _encode(header: dict[str, Any]) -> bytes:
    """Return a header as text, with its checksum."""
    text = (json.dumps(header | {"checksum": ""}, indent=1, sort_keys=True) + "\n").encode("ascii")
    checksum = checksum_text(zlib.crc32(text))
    return _CHECKSUM_LINE.sub(f' "checksum": "{checksum}"'.encode("ascii"), text)


class _ArrayFile:
    """An array on its way to disk."""

    def __init__(self, path: Path, dtype: DTypeLike, item_shape: tuple[int, ...], structure: bool) -> None:
        self.path = path
        self.dtype = np.dtype(dtype).newbyteorder("<")
        if self.dtype.kind not in _ALLOWED_KINDS:
            raise ValueError(f"arrays of {self.dtype} are not stored; use integers or floats")
        self.item_shape = item_shape
        self.structure = structure
        self.length = 0
        self.crc = 0
        with naming(path):
            self.file = create_file(path)

    def append(self, array: NDArray[Any]) -> None:
        if array.shape[1:] != self.item_shape:
            raise ValueError(f"{self.path.name}: items have shape {array.shape[1:]}, not {self.item_shape}")
        if not np.can_cast(array.dtype, self.dtype, "equiv"):
            raise ValueError(f"{self.path.name}: holds {self.dtype}, not {array.dtype}")
        data = _bytes_of(array.astype(self.dtype, copy=False))
        with naming(self.path):
            for start in range(0, len(data), CHECK_CHUNK):
                chunk = data[start : start + CHECK_CHUNK]
                self.crc = zlib.crc32(chunk, self.crc)
                write_all(self.file, chunk)
        self.length += len(array)

    def finish(self) -> dict[str, Any]:
        with naming(self.path):
            os.fsync(self.file.fileno())
            self.file.close()
        shape = [self.length, *self.item_shape]
        return {
            "bytes": math.prod(shape) * self.dtype.itemsize,
            "checksum": checksum_text(self.crc),
            "dtype": self.dtype.str,
            "shape": shape,
            "structure": self.structure,
        }


class ArrayDirectoryWriter:
    """A writer of an array directory; nothing that `ArrayDirectory` would open stands there until `finish` returns.

    A context manager: what it wrote is removed when the block ends without `finish`, whatever the reason. Raises
    IndexStorageError when the directory exists and is not empty, OSError (naming the file) when the disk refuses.
    """

    def __init__(self, path: str | os.PathLike[str], *, kind: str, format: int) -> None:
        self.path = Path(path)
        self.kind = kind
        self.format = format
        self._arrays: dict[str, _ArrayFile] = {}
        self._finished = False
        self._made_directory = not self.path.exists()
        if self._made_directory:
            self.path.mkdir()
        elif not self.path.is_dir():
            raise IndexStorageError(f"{self.path}: is not a directory", path=self.path)
        elif any(self.path.iterdir()):
            raise IndexStorageError(
                f"{self.path}: is not empty", path=self.path, hint="an index is written into a new directory"
            )

    def __enter__(self) -> ArrayDirectoryWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._finished:
            self.discard()

    def declare(
        self, name: str, dtype: DTypeLike, *, item_shape: tuple[int, ...] = (), structure: bool = False
    ) -> None:
        """Begin an array; `append` adds to it. `item_shape` is the shape of one of its rows."""
        if name in self._arrays or not name.isidentifier():
            raise ValueError(f"{name!r} is not a name for another array")
        self._arrays[name] = _ArrayFile(self.path / f"{name}.bin", dtype, item_shape, structure)

    def append(self, name: str, array: NDArray[Any]) -> None:
        """Write `array` behind what was appended to `name` before."""
        self._arrays[name].append(array)

    def write(self, name: str, array: NDArray[Any], *, structure: bool = False) -> None:
        """Declare an array and write the whole of it."""
        self.declare(name, array.dtype, item_shape=array.shape[1:], structure=structure)
        self.append(name, array)

    def written(self, name: str) -> NDArray[Any]:
        """Return what was appended to `name` so far, mapped read-only; to be let go before `discard`."""
        array = self._arrays[name]
        if array.length == 0:
            flat = np.empty(0, array.dtype)
            flat.flags.writeable = False
        else:
            with array.path.open("rb") as file:
                flat = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), array.dtype)
        return flat.reshape((array.length, *array.item_shape))

    def finish(self, attributes: dict[str, Any]) -> None:
        """Bring everything to the disk, `arrays.json` last. `attributes` are JSON values of the caller's choice."""
        header = {
            "arrays": {name: array.finish() for name, array in self._arrays.items()},
            "attributes": attributes,
            "checksum": "",
            "format": self.format,
            "kind": self.kind,
        }
        unfinished = self.path / _UNFINISHED
        with naming(unfinished), create_file(unfinished) as file:
            write_all(file, _encode(header))
            os.fsync(file.fileno())
        unfinished.rename(self.path / HEADER)
        self._finished = True
        sync_directory(self.path)
        sync_directory(self.path.parent)

    def discard(self) -> None:
        """Remove what was written. Does not raise: it runs while another error is on its way."""
        for array in self._arrays.values():
            with contextlib.suppress(OSError):
                array.file.close()
            with contextlib.suppress(OSError):
                array.path.unlink(missing_ok=True)
        for name in (_UNFINISHED, HEADER):
            with contextlib.suppress(OSError):
                (self.path / name).unlink(missing_ok=True)
        if self._made_directory:
            with contextlib.suppress(OSError):
                self.path.rmdir()


@dataclass(frozen=True, slots=True)
class StoredArray:
    """An array, as `arrays.json` describes it."""

    path: Path
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    bytes: int
    checksum: str
    structure: bool


class ArrayDirectory:
    """An array directory, open for reading: arrays are mapped into memory, read-only, and never change.

    Opening checks the format, that every file has its size, and the checksums of the arrays marked as structure.
    Raises FileNotFoundError where there is no directory, CorruptFileError (naming the file), UnsupportedFormatError,
    and IndexStorageError when the directory holds something else.
    """

    def __init__(self, path: str | os.PathLike[str], *, kind: str, format: int) -> None:
        self.path = Path(path)
        self.kind = kind
        header = read_header(self.path, kind, format)
        self.format: int = header["format"]
        self.attributes: dict[str, Any] = header["attributes"]
        self._stored = listed(self.path, header)
        mapped = {name: _map(stored) for name, stored in self._stored.items()}
        self._mapped = {name: array for name, (array, _) in mapped.items()}
        self._memory = [
            (stored, memory)
            for stored, (_, memory) in zip(self._stored.values(), mapped.values(), strict=True)
            if memory is not None
        ]
        for name, stored in self._stored.items():
            if stored.structure and (problem := _check(stored, self._mapped[name])):
                raise CorruptFileError(stored.path, problem)

    def __contains__(self, name: object) -> bool:
        return name in self._stored

    @property
    def nbytes(self) -> int:
        """Bytes of all files, `arrays.json` included."""
        return sum(stored.bytes for stored in self._stored.values()) + (self.path / HEADER).stat().st_size

    def read_ahead(self) -> None:
        """Read the files into the system's cache, so that the first searches need not wait for the disk.

        Takes as long as reading does: for a thread in the background. Leaves out what is not there any more.
        """
        for stored in self._stored.values():
            with contextlib.suppress(FileNotFoundError), stored.path.open("rb", buffering=0) as file:
                while file.read(CHECK_CHUNK):
                    pass

    def cut_short(self) -> Path | None:
        """Return the first file that has become shorter than it was when it was mapped, if any.

        To touch what it has lost would end the process.
        """
        for stored, memory in self._memory:
            if memory.size() < stored.bytes:
                return stored.path
        return None

    def array(self, name: str) -> NDArray[Any]:
        """Return the array `name`, mapped. Raises CorruptFileError when the directory does not have it."""
        if name not in self._mapped:
            raise CorruptFileError(self.path / HEADER, f"does not list the array {name!r}")
        return self._mapped[name]


def memory_size() -> int:
    """Return the bytes of memory of this machine; where the system does not tell, so many that it never matters."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 1 << 62


def read_header(directory: Path, kind: str, supported: int) -> dict[str, Any]:
    """Read and check `arrays.json`; raises what `ArrayDirectory` raises."""
    path = directory / HEADER
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        if not directory.is_dir():
            raise FileNotFoundError(errno.ENOENT, "there is no index directory", str(directory)) from None
        raise CorruptFileError(path, "is missing, so this index was never finished or has lost it") from None
    except NotADirectoryError:
        raise IndexStorageError(f"{directory}: is not a directory", path=directory) from None
    try:
        header = json.loads(text)
        version = header["format"]
        if isinstance(version, int) and version > supported:
            raise UnsupportedFormatError(path, version, supported)
        without, found = _CHECKSUM_LINE.subn(b' "checksum": ""', text)
        intact = found == 1 and header["checksum"] == checksum_text(zlib.crc32(without))
    except (ValueError, TypeError, KeyError, RecursionError):
        intact = False
    if not intact:
        raise CorruptFileError(path, "does not hold what was written: its checksum does not match")
    if header["kind"] != kind:
        raise IndexStorageError(f"{directory}: holds an index of kind {header['kind']!r}, not {kind!r}", path=directory)
    checked: dict[str, Any] = header
    return checked


def listed(directory: Path, header: dict[str, Any]) -> dict[str, StoredArray]:
    """Return the arrays that a header lists, by name."""
    return {
        name: StoredArray(
            directory / f"{name}.bin",
            np.dtype(entry["dtype"]),
            tuple(entry["shape"]),
            entry["bytes"],
            entry["checksum"],
            entry["structure"],
        )
        for name, entry in header["arrays"].items()
    }


def _map(stored: StoredArray) -> tuple[NDArray[Any], mmap.mmap | None]:
    memory = None
    try:
        with stored.path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size != stored.bytes:
                raise CorruptFileError(stored.path, wrong_size(size, stored))
            if size == 0:
                flat = np.empty(0, stored.dtype)
                flat.flags.writeable = False
            else:
                memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                flat = np.frombuffer(memory, stored.dtype)
    except FileNotFoundError:
        raise CorruptFileError(stored.path, "is missing") from None
    return flat.reshape(stored.shape), memory


def wrong_size(size: int, stored: StoredArray) -> str:
    """Return what to say about a file of another size."""
    return f"has {size} bytes where {stored.bytes} were written"


def _check(stored: StoredArray, array: NDArray[Any]) -> str:
    """Return what is wrong with the contents of an array, or an empty text."""
    data = _bytes_of(array)
    crc = 0
    for start in range(0, len(data), CHECK_CHUNK):
        crc = zlib.crc32(data[start : start + CHECK_CHUNK], crc)
    return "" if checksum_text(crc) == stored.checksum else CHANGED
