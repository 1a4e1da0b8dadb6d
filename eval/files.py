"""Reading text that may be compressed, and writing files that are whole or absent."""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TextIO

from ..retrieval.durable import make_directories, replace_file
from .errors import DatasetError

COMPRESSIONS = ("", ".gz", ".zst")


def find_compressed(path: Path) -> Path | None:
    """The file itself, or the same name with `.gz` or `.zst` behind it; None when there is none."""
    for suffix in COMPRESSIONS:
        candidate = path.with_name(path.name + suffix)
        if candidate.is_file():
            return candidate
    return None


def plain_suffix(path: Path) -> str:
    """The suffix that tells the format: `.jsonl` for `queries.jsonl.gz`; lower case."""
    name = path.name.lower()
    for suffix in COMPRESSIONS[1:]:
        name = name.removesuffix(suffix)
    return Path(name).suffix


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """The text of a UTF-8 file (a byte order mark is dropped), decompressed by its suffix.

    Bytes that are not UTF-8 become replacement characters: one broken line must not hide the rest.

    Raises:
        DatasetError: the file cannot be read, or is not the compressed file that its name says.
    """
    try:
        with path.open("rb") as raw, _decompressed(raw, path.suffix.lower()) as stream:
            yield io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")
    except (OSError, EOFError) as error:
        raise DatasetError(f"{path}: cannot be read: {error}", "Check that the file is whole.") from error


@contextmanager
def _decompressed(raw: IO[bytes], suffix: str) -> Iterator[IO[bytes]]:
    if suffix == ".gz":
        with gzip.open(raw) as stream:
            yield stream  # type: ignore[misc]  # GzipFile reads like any binary file
    elif suffix == ".zst":
        import zstandard

        try:
            with zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True) as stream:
                yield io.BufferedReader(stream, 1 << 20)
        except zstandard.ZstdError as error:
            raise OSError(str(error)) from error
    else:
        yield raw


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number from 1, line without its end) of every line that is not blank."""
    with open_text(path) as lines:
        for number, line in enumerate(lines, 1):
            text = line.rstrip("\r\n")
            if text.strip():
                yield number, text


@contextmanager
def atomic_writer(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that takes its name when it is complete; on an error nothing is left behind.

    The folder is made if need be. Written aside in the same folder, synced, then renamed.
    """
    make_directories(path.parent)
    with replace_file(path) as file:
        yield file


@contextmanager
def compressed(file: IO[bytes], suffix: str) -> Iterator[IO[bytes]]:
    """A file to write to that compresses by the suffix of its name; the same bytes for the same content."""
    if suffix == ".gz":
        # No name and no time in the header: they would make two files of the same content differ.
        with gzip.GzipFile("", "wb", 6, file, mtime=0) as stream:
            yield stream  # type: ignore[misc]  # as above
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
    """The hexadecimal digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
