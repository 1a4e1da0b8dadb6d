"""Reading every byte of a clustered index, and saying what is wrong with it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lexhound.core.progress import Pace, no_pace
from lexhound.index.array_files import FileProblem
from lexhound.index.errors import CorruptFileError
from lexhound.index.spann.storage import POSTINGS_FILE, VECTORS_FILE, PostingsFile, VectorsFile, vectors_problem
from lexhound.index.spann.tables import Tables, load_tables, verify_tables


def verify_index(path: Path, pace: Pace = no_pace) -> Iterator[FileProblem]:
    """Yield what is wrong with which file; nothing means that all is well."""
    problems = list(verify_tables(path, pace))
    yield from problems
    if problems:
        return
    try:
        settings, tables = load_tables(path)
        dimension = settings.geometry.dimension
        if tables is not None:
            tables.check(path, PostingsFile(path / POSTINGS_FILE))
        VectorsFile(path / VECTORS_FILE, settings.n_rows, dimension)
    except CorruptFileError as error:
        yield FileProblem(error.path or path, error.problem)
        return
    for file, problem in (
        (POSTINGS_FILE, _postings_problem(path / POSTINGS_FILE, tables, pace)),
        (VECTORS_FILE, vectors_problem(path / VECTORS_FILE, settings.n_rows, dimension, pace)),
    ):
        if problem:
            yield FileProblem(path / file, problem)


def _postings_problem(path: Path, tables: Tables | None, pace: Pace) -> str:
    """Read every posting; return what is wrong with the first that is damaged, or an empty text.

    Without tables nothing is read: searches do not, either.
    """
    if tables is None:
        return ""
    with path.open("rb") as file:
        for posting in np.flatnonzero(tables.counts).tolist():
            file.seek(int(tables.starts[posting]))
            data = file.read(int(tables.ends[posting] - tables.starts[posting]))
            pace(len(data))
            if zlib.crc32(data) != tables.checksums[posting]:
                return f"does not hold what was written in posting {posting}: its checksum does not match"
    return ""
