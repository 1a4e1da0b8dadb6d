"""Reading text that may be compressed, and writing files that are whole or absent."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lexhound.core.atomic_files import make_directories, replace_file
from lexhound.core.rows import BadRecord, read_text
from lexhound.core.streams import Fault, InputStream, open_input, without_compression

from .errors import DatasetError

NUL_HINT = "Is it UTF-16? Convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW."


def dataset_fault(message: str, where: str, hint: str) -> DatasetError:
    """Return what a reader of files raises for a data set, a run or queries."""
    return DatasetError(f"{where}: {message}", hint)


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file of UTF-8 text, plain or compressed, or a pipe: its name for messages, the suffix that tells its format
    (`.jsonl` for `queries.jsonl.gz`), and how it is opened."""

    name: str
    suffix: str
    open: Callable[[], InputStream]

    @classmethod
    def at(cls, path: Path, fault: Fault = dataset_fault) -> TextFile:
        """Return the file at a path; what is wrong with it is raised as `fault` makes it."""
        return cls(str(path), without_compression(path).suffix.lower(), lambda: open_input(path, str(path), fault))

    def lines(self) -> Iterator[tuple[int, str]]:
        """Yield (line number from 1, line without its end) of every line that is not blank.

        Raises:
            DatasetError, or what the fault makes: the file cannot be read or is cut short, or a line is not UTF-8,
                too long, or holds what no line of text does. A file of the wrong encoding has no good lines.
        """
        with self.open() as stream:
            for line in read_text(stream):
                where = f"{self.name}, line {line.line}"
                if isinstance(line, BadRecord):
                    raise stream.fault(line.reason, where, line.hint)
                if "\0" in line.text:
                    raise stream.fault("a NUL byte", where, NUL_HINT)
                yield line.line, line.text


@contextmanager
def atomic_writer(path: Path) -> Iterator[IO[bytes]]:
    """Open a binary file that takes its name when it is complete; on an error nothing is left behind.

    The folder is made if need be. Written aside in the same folder, synced, then renamed.
    """
    make_directories(path.parent)
    with replace_file(path) as file:
        yield file


@contextmanager
def compressed(file: IO[bytes], suffix: str) -> Iterator[IO[bytes]]:
    """Open a file to write to that compresses by the suffix of its name; the same bytes for the same content."""
    if suffix == ".gz":
        # No name and no time in the header: they would make two files of the same content differ.
        with gzip.GzipFile("", "wb", 6, file, mtime=0) as stream:
            yield stream  # type: ignore[misc]  # GzipFile writes like any binary file
    elif suffix == ".zst":
        import zstandard

        with zstandard.ZstdCompressor(level=3).stream_writer(file, closefd=False) as stream:
            yield stream
    else:
        yield file


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file atomically."""
    with atomic_writer(path) as file:
        file.write(content)


def digest_file(path: Path, algorithm: str = "blake2b") -> str:
    """Return the hexadecimal digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
