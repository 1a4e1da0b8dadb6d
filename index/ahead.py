"""All kernels of the indexes compiled ahead, each by the least work that needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lexhound.index.dense.flat import FlatIndex
from lexhound.index.inverted.builder import build_inverted
from lexhound.index.inverted.calibration import calibrate
from lexhound.index.inverted.merge import MergePart, merge_inverted
from lexhound.index.inverted.scales import measure_rows, stored_ranges
from lexhound.index.jit import load

from .warming import LENGTHS, ONES, ROWS, warm


def compile_ahead() -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield what kernels there are for this machine, a name and what compiles them, where the cache lacks them."""
    yield "search kernels", warm
    yield "kernels that build and merge indexes", _build_and_merge
    yield "kernels for dense vectors", _search_dense
    if find_spec("faiss") is not None:
        yield "kernels of clustered indexes", _build_clustered


def _build_and_merge() -> None:
    with TemporaryDirectory(prefix="lexhound-") as folder:
        path = Path(folder)
        index = build_inverted(path / "built", ROWS, scale=1.0, frequencies=ONES, lengths=LENGTHS, threads=1)
        merge_inverted(path / "merged", [MergePart(index, np.array([0, -1]))], 1, scale=1.0)
        load(measure_rows)
        stored_ranges(index)
        calibrate(index, smallest=1)


def _search_dense() -> None:
    index = FlatIndex.from_vectors(np.eye(2, dtype=np.float32))
    index.search(np.ones(2, np.float32), 1)
    index.search(np.ones(2, np.float32), 1, allowed=np.array([True, False]))


def _build_clustered() -> None:
    from lexhound.index.spann.index import build_clustered

    vectors = np.random.default_rng(0).normal(size=(256, 8)).astype(np.float32)
    with TemporaryDirectory(prefix="lexhound-") as folder:
        index = build_clustered(Path(folder) / "built", vectors)
        index.search(vectors[0], 10)
        index.search(vectors[0], 10, allowed=np.ones(len(vectors), np.bool_))
