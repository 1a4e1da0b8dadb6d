"""Which index a segment's dense vectors are kept in: the one place that chooses, builds, opens, merges and checks.

All there is so far is the flat index, which compares a query with every row. Another kind (clustered, for collections
of which that takes too long) joins in here: by size when a segment is built, by the kind in its `arrays.json` when one
is opened.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..index import FileProblem, FlatIndex, FlatPart, VectorIndex, build_flat, merge_flat

NAME = "dense"
"""The folder of a segment that holds it."""


def build_dense(folder: Path, vectors: NDArray[np.float32]) -> VectorIndex:
    """Write the index of float32[n, width] into a new folder."""
    return build_flat(folder, vectors)


def dense_in_memory(vectors: NDArray[np.float32]) -> VectorIndex:
    """The index of documents that are in no segment yet."""
    return FlatIndex.from_vectors(vectors)


def open_dense(folder: Path) -> VectorIndex:
    """Map the files of an index.

    Raises:
        FileNotFoundError, CorruptFileError, UnsupportedFormatError: see `FlatIndex.open`.
    """
    return FlatIndex.open(folder)


def merge_dense(
    folder: Path, parts: Sequence[tuple[VectorIndex, NDArray[np.int64]]], n_rows: int, width: int
) -> VectorIndex:
    """Write the union of several indexes, each with the new number of its rows (-1: dropped), into a new folder."""
    return merge_flat(folder, [FlatPart(index, new_rows) for index, new_rows in parts], n_rows, width)


def verify_dense(folder: Path) -> Iterator[FileProblem]:
    """Read every byte of an index; yields what is wrong."""
    return FlatIndex.verify(folder)
