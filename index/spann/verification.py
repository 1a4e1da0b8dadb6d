"""Reading every byte of a clustered index, and saying what is wrong with it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lexhound.index.array_files import FileProblem, Pace, no_pace
from lexhound.index.errors import CorruptFileError, IndexStorageError, UnsupportedFormatError

from .codec import EntryFormat
from .log import read_log
from .state import CURRENT_FILE, current_state, load_state, verify_state
from .storage import PAGE, POSTINGS_FILE, VECTORS_FILE, DataFile, VectorFile


def verify_index(path: Path, pace: Pace = no_pace) -> Iterator[FileProblem]:
    """What is wrong with which file; nothing means that all is well.

    Postings and vectors are checked as the saved state knows them. Vectors that the log replaces are not: they may
    have been written already.
    """
    try:
        number = current_state(path)
    except FileNotFoundError:
        yield FileProblem(path, "there is no such directory")
        return
    except CorruptFileError as error:
        yield FileProblem(error.path or path, error.problem)
        return
    except UnsupportedFormatError as error:
        yield FileProblem(path / CURRENT_FILE, f"format {error.found} is newer than this version reads")
        return
    except IndexStorageError as error:
        yield FileProblem(error.path or path, error.message)
        return
    problems = list(verify_state(path, number, pace))
    yield from problems
    if problems:
        return
    try:
        settings, state = load_state(path, number)
        geometry = settings.geometry
        entries = EntryFormat(settings.options.codec, geometry.dimension)
        postings = DataFile(path / POSTINGS_FILE, writable=False)
        vectors = VectorFile(path / VECTORS_FILE, geometry.dimension, settings.options.copy, writable=False)
        state.check(path, entries.entry_bytes, postings, vectors)
        rows = np.flatnonzero(state.live)
        for change, _ in read_log(path, number, geometry.dimension):
            rows = np.setdiff1d(rows, change.rows)
    except CorruptFileError as error:
        yield FileProblem(error.path or path, error.problem)
        return
    for posting in np.flatnonzero(state.counts).tolist():
        length = int(state.counts[posting]) * entries.entry_bytes
        data = bytearray(length)
        postings.read_runs(memoryview(data), [(0, int(state.pages[posting]) * PAGE, length)])
        pace()
        if zlib.crc32(data) != state.checksums[posting]:
            yield FileProblem(
                postings.path, f"does not hold what was written in posting {posting}: its checksum does not match"
            )
            break
    try:
        problem = vectors.problem(rows, pace)
    except CorruptFileError as error:
        problem = error.problem
    if problem:
        yield FileProblem(vectors.file.path, problem)
