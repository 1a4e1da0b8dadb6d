"""Reading every byte of an array directory, and saying what is wrong with it."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from lexhound.core.progress import Pace, no_pace
from lexhound.index.array_files import (
    CHANGED,
    CHECK_CHUNK,
    HEADER,
    FileProblem,
    StoredArray,
    checksum_text,
    listed,
    read_header,
    wrong_size,
)
from lexhound.index.errors import CorruptFileError, IndexStorageError, UnsupportedFormatError


def verify_arrays(
    path: str | os.PathLike[str], *, kind: str, format: int, pace: Pace = no_pace
) -> Iterator[FileProblem]:
    """Read every byte of an array directory; yield what is wrong, file by file. Nothing means that all is well.

    Files are read and not mapped, so that one which is cut short meanwhile is no more than a problem.
    """
    directory = Path(path)
    try:
        header = read_header(directory, kind, format)
    except FileNotFoundError:
        yield FileProblem(directory, "there is no such directory")
        return
    except CorruptFileError as error:
        yield FileProblem(error.path or directory, error.problem)
        return
    except UnsupportedFormatError as error:
        yield FileProblem(directory / HEADER, f"format {error.found} is newer than this version reads")
        return
    except IndexStorageError as error:
        yield FileProblem(error.path or directory, error.message)
        return
    for stored in listed(directory, header).values():
        try:
            problem = _read_through(stored, pace)
        except FileNotFoundError:
            problem = "is missing"
        except OSError as error:
            problem = f"cannot be read: {error.strerror}"
        if problem:
            yield FileProblem(stored.path, problem)


def _read_through(stored: StoredArray, pace: Pace) -> str:
    """Read the file of an array; return what is wrong with it, or an empty text."""
    crc = size = 0
    buffer = memoryview(bytearray(min(CHECK_CHUNK, max(stored.bytes, 1))))
    with stored.path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size != stored.bytes:
            return wrong_size(size, stored)
        while count := file.readinto(buffer):
            crc = zlib.crc32(buffer[:count], crc)
            pace(count)
    return "" if checksum_text(crc) == stored.checksum else CHANGED
