"""The arguments of the kernels of an inverted index.

Python passes each of them as a plain tuple, and the kernels make a named one of it: Numba finds the type of a named
tuple in Python, which takes more than a microsecond a call, that of a plain one at once.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexhound.index.jit import Integer, kernel

EXACT_FACTOR = 1 << 10
"""A bound factor is counted in these parts: so much means that bounds count in full."""


def counted_factor(bound_factor: float) -> int:
    """Return a bound factor as kernels count it, rounded up. Raises ValueError where it is not in 0 to 1."""
    if not 0 <= bound_factor <= 1:
        raise ValueError(f"bound_factor must be from 0 to 1, not {bound_factor}")
    return math.ceil(bound_factor * EXACT_FACTOR)


class IndexArrays(NamedTuple):
    """The arrays of an index that a search reads; see `format`."""

    terms: NDArray[np.uint32]
    entry_starts: NDArray[np.uint32]
    entry_windows: NDArray[np.uint16]
    entry_ends: NDArray[np.uint32]
    entry_maxima: NDArray[np.uint8]
    rows: NDArray[np.uint16]
    impacts: NDArray[np.uint8]
    blocked_terms: NDArray[np.uint32]
    blocked_starts: NDArray[np.uint32]
    block_maxima: NDArray[np.uint8]
    n_rows: int
    window_bits: int


class PostingLists(NamedTuple):
    """The arrays of an index for kernels that go through whole lists; frequencies: uint8[P], or of length 0."""

    entry_starts: NDArray[np.uint32]
    entry_windows: NDArray[np.uint16]
    entry_ends: NDArray[np.uint32]
    rows: NDArray[np.uint16]
    impacts: NDArray[np.uint8]
    frequencies: NDArray[np.uint8]
    window_bits: int


class Limits(NamedTuple):
    """The rows that may be returned, and how much may be missed.

    allowed: bool of the rows from `origin` on, read only when `filtered`, and then beginning at a multiple of 8 bytes.
    bound_factor: 0 to 1,024 (`EXACT_FACTOR`), which is exact: bounds are scaled by so many 1,024ths. first, stop: the
    run of rows that is searched, of the others no posting is read; origin: where the window of `first` begins.
    """

    allowed: NDArray[np.bool_]
    filtered: bool
    bound_factor: int
    first: int
    stop: int
    origin: int


class QueryArrays(NamedTuple):
    """A query: terms int32[m] and weights int32[m] (see `Query`), the worth of a score of 1, and a score to exceed.

    Rows of at most the integer score `above` are of no interest.
    """

    terms: NDArray[np.int32]
    weights: NDArray[np.int32]
    unit: float
    above: int


class BatchArrays(NamedTuple):
    """b queries: the terms and weights of query i stand at starts[i]:starts[i + 1].

    units: float64[b], above: int64[b].
    """

    starts: NDArray[np.int64]
    terms: NDArray[np.int32]
    weights: NDArray[np.int32]
    units: NDArray[np.float64]
    above: NDArray[np.int64]


class Scratch(NamedTuple):
    """The arrays that a search writes besides its hits.

    accumulator: int32[65536] and flags: uint8[65536], zero, and zero again afterwards where windows of this size are
    looked at. candidates: int32[3, 65536] (`candidates`); bounds: int32[512], of the blocks of a window; lists:
    int64[10, m], priorities: float64[m], with m at least the terms of the query; heap, trial: int64[k], k at least 1.
    """

    accumulator: NDArray[np.int32]
    flags: NDArray[np.uint8]
    candidates: NDArray[np.int32]
    bounds: NDArray[np.int32]
    lists: NDArray[np.int64]
    priorities: NDArray[np.float64]
    heap: NDArray[np.int64]
    trial: NDArray[np.int64]


class Window(NamedTuple):
    """A window of rows: rows base + low to base + limit - 1 are searched; and its lists (`query_lists`).

    whole: whether these are all of it; else nothing but its rows from `low` to `limit` is touched. span: over how many
    rows its postings are spread; active: the number of its lists; postings: of all of them; permitted: bool[limit], the
    part of `allowed` that is the window's, read only when `filtered`.
    """

    base: Integer
    low: Integer
    limit: Integer
    whole: bool
    span: Integer
    active: int
    postings: Integer
    permitted: NDArray[np.bool_]
    filtered: bool


@kernel
def scaled(bound: Integer, bound_factor: int) -> Integer:
    """Return a bound as it counts."""
    result: Integer = (bound * bound_factor) >> 10
    return result
