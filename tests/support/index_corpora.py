"""Small corpora that are hard on an index: ties, empty rows, duplicates in long runs, many windows."""

from __future__ import annotations

from dataclasses import dataclass

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array

WEIGHTS = (0.0, 0.25, 0.5, 1.0)
SCALES = (1 / 255, 0.25, 0.0123)


def to_csr(dense: NDArray[np.float32]) -> csr_array:
    """A document matrix as the index takes it, from a dense one."""
    matrix = csr_array(dense)
    matrix.sort_indices()
    return matrix


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """Dense weights, rows x terms, and how to index them."""

    weights: NDArray[np.float32]
    scale: float
    window_bits: int

    @property
    def csr(self) -> csr_array:
        return to_csr(self.weights)

    def __repr__(self) -> str:
        return f"Corpus({self.weights.tolist()}, scale={self.scale}, window_bits={self.window_bits})"


def weights(max_rows: int = 24, max_terms: int = 8) -> st.SearchStrategy[NDArray[np.float32]]:
    """Dense matrices with few different weights, so that ties abound."""
    shapes = st.tuples(st.integers(0, max_rows), st.integers(1, max_terms))
    return shapes.flatmap(
        lambda shape: hnp.arrays(np.int8, shape, elements=st.integers(0, len(WEIGHTS) - 1), fill=st.just(0))
    ).map(lambda codes: np.array(WEIGHTS, np.float32)[codes])


@st.composite
def corpora(draw: st.DrawFn) -> Corpus:
    """Corpora of up to 24 different rows; some with every row repeated 64 times, over many windows."""
    dense = draw(weights())
    window_bits = draw(st.integers(0, 4))
    if len(dense) <= 5 and draw(st.booleans()):
        dense = np.repeat(dense, 64, axis=0)
        window_bits = draw(st.integers(3, 8))
    return Corpus(dense, draw(st.sampled_from(SCALES)), window_bits)


@st.composite
def queries(draw: st.DrawFn) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Query vectors over the terms of such corpora and a few unknown ones."""
    terms = sorted(draw(st.sets(st.integers(0, 9) | st.sampled_from([70_000, 2**31 - 1]), max_size=6)))
    values = draw(st.lists(st.sampled_from([0.25, 0.5, 1.0, 3.0, 1e-9]), min_size=len(terms), max_size=len(terms)))
    return np.array(terms, np.int32), np.array(values, np.float32)


@st.composite
def masks(draw: st.DrawFn, n_rows: int) -> NDArray[np.bool_] | None:
    """Which rows are allowed: no restriction, all, none, one, or any."""
    kind = draw(st.sampled_from(["no mask", "all", "none", "one", "any"]))
    if kind == "no mask":
        return None
    mask = np.full(n_rows, kind == "all")
    if kind == "one" and n_rows:
        mask[draw(st.integers(0, n_rows - 1))] = True
    if kind == "any":
        mask = np.random.default_rng(draw(st.integers(0, 1000))).random(n_rows) < draw(st.sampled_from([0.1, 0.5, 0.9]))
    return mask
