"""Which index a segment's dense vectors are kept in: the one place that chooses, builds, opens, merges and checks.

A flat index compares a query with every row; a clustered one reads the postings of the nearest clusters. Which one it
is follows from the collection's policy and the number of rows when a segment is built, and from the files when it is
opened. Both give the same scores, to the last bit.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexhound.core.progress import OnStep, Pace, Stage, no_pace
from lexhound.index.array_files import HEADER, FileProblem
from lexhound.index.dense.flat import FlatIndex, FlatPart, VectorIndex, build_flat, merge_flat
from lexhound.retrieval.errors import DenseIndexError

NAME = "dense"
"""The folder of a segment that holds it."""

POLICIES = ("auto", "flat", "spann")
"""`auto`: clustered from CLUSTERED_FROM rows on; `flat` and `spann`: always flat, always clustered."""

CLUSTERED_FROM = 20_000
"""Comparing a query with so many rows of 384 dimensions takes some 3 ms, five to ten times as long as reading clusters;
with fewer rows less is won than clustering costs, about a quarter of a millisecond a row whenever a segment is made."""

_MERGED = ".merged"


def wanted_kind(policy: str, n_rows: int) -> str:
    """Return the kind of index, "flat" or "spann", for a segment of so many rows."""
    if policy == "auto":
        return "spann" if n_rows >= CLUSTERED_FROM and _has_faiss() else "flat"
    return policy


def kind_of(index: VectorIndex) -> str:
    """Return which kind an index is: "flat" or "spann".

    "flat", too, for a clustered one of an earlier version, which compares all vectors: so a merge clusters it again.
    """
    if isinstance(index, FlatIndex):
        return "flat"
    from lexhound.index.spann.index import ClusteredIndex

    return "flat" if isinstance(index, ClusteredIndex) and index.is_former else "spann"


def check_policy(policy: str) -> None:
    """Refuse a policy that cannot be followed here.

    Raises:
        DenseIndexError: it is none of POLICIES, or needs faiss, which is not installed.
    """
    if policy not in POLICIES:
        raise DenseIndexError(
            f"the index of dense vectors is {policy!r}", hint=f"it must be one of {', '.join(POLICIES)}"
        )
    if policy == "spann" and not _has_faiss():
        raise DenseIndexError(
            "a clustered index of dense vectors needs faiss, which is not installed",
            hint="pip install 'lexhound[dense]', or use a flat index",
        )


def build_dense(folder: Path, vectors: NDArray[np.float32], policy: str) -> VectorIndex:
    """Write the index of float32[n, width] into a new folder.

    Raises:
        DenseIndexError: as for `check_policy`.
    """
    check_policy(policy)
    if wanted_kind(policy, len(vectors)) == "flat":
        return build_flat(folder, vectors)
    from lexhound.index.spann.index import build_clustered

    return build_clustered(folder, vectors)


def dense_in_memory(vectors: NDArray[np.float32]) -> VectorIndex:
    """Return the index of documents that are in no segment yet."""
    return FlatIndex.from_vectors(vectors)


def open_dense(folder: Path) -> VectorIndex:
    """Map the files of an index.

    Raises:
        FileNotFoundError, CorruptFileError, UnsupportedFormatError: see `FlatIndex.open`.
    """
    if not _clustered(folder):
        return FlatIndex.open(folder)
    from lexhound.index.spann.index import ClusteredIndex

    return ClusteredIndex.open(folder)


def merge_dense(
    folder: Path,
    parts: Sequence[tuple[VectorIndex, NDArray[np.int64]]],
    n_rows: int,
    width: int,
    policy: str,
    progress: OnStep | None = None,
) -> VectorIndex:
    """Write the union of several indexes, each with the new number of its rows (-1: dropped), into a new folder.

    A clustered one is made of the flat union, which is written beside it first, so that its vectors are mapped.
    `progress` is told of the stages.

    Raises:
        DenseIndexError: as for `check_policy`.
    """
    check_policy(policy)
    pace = Stage(progress, "merging vectors", n_rows, "vectors").add
    flat = [FlatPart(index, new_rows) for index, new_rows in parts]
    if wanted_kind(policy, n_rows) == "flat":
        return merge_flat(folder, flat, n_rows, width, pace)
    from lexhound.index.spann.index import build_clustered

    aside = folder.with_name(folder.name + _MERGED)
    try:
        merged = merge_flat(aside, flat, n_rows, width, pace)
        return build_clustered(folder, merged.vectors, progress=progress)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def verify_dense(folder: Path, pace: Pace = no_pace) -> Iterator[FileProblem]:
    """Read every byte of an index; yields what is wrong."""
    if not _clustered(folder):
        return FlatIndex.verify(folder, pace)
    from lexhound.index.spann.index import ClusteredIndex

    return ClusteredIndex.verify(folder, pace)


def _has_faiss() -> bool:
    return find_spec("faiss") is not None  # `index.spann` knows too, but takes time to load


def _clustered(folder: Path) -> bool:
    """Return whether a folder holds a clustered index, which has no header at the top, though it may have lost a
    file.
    """
    if (folder / HEADER).exists():
        return False
    from lexhound.index.spann.storage import POSTINGS_FILE
    from lexhound.index.spann.tables import CURRENT_FILE

    return (folder / CURRENT_FILE).exists() or (folder / POSTINGS_FILE).exists()
