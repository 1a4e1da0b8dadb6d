"""A heap of the best hits, each one int64: a greater key is a better hit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexhound.index.jit import Integer, kernel

# The key of a hit: its score (31 bits) above 2**32 - 1 - row.
_ROW_MASK = (1 << 32) - 1


@kernel
def sink(heap: NDArray[np.int64], size: Integer, key: Integer) -> None:
    """Replace the root of the min-heap `heap[:size]` by `key` and restore its order."""
    hole = 0
    while True:
        child = 2 * hole + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if key <= heap[child]:
            break
        heap[hole] = heap[child]
        hole = child
    heap[hole] = key


@kernel
def offer(heap: NDArray[np.int64], size: Integer, score: Integer, row: Integer) -> Integer:
    """Offer a hit to a min-heap that keeps the best `len(heap)` of them, in any order; return its new size."""
    key = (score << 32) | (_ROW_MASK - row)
    if size == len(heap):
        if key > heap[0]:
            sink(heap, size, key)
        return size
    hole = size
    while hole > 0:
        parent = (hole - 1) >> 1
        if heap[parent] <= key:
            break
        heap[hole] = heap[parent]
        hole = parent
    heap[hole] = key
    return size + 1


@kernel
def least_score(heap: NDArray[np.int64]) -> Integer:
    """Return the score of the worst hit of a heap that is not empty."""
    score: Integer = heap[0] >> 32
    return score


@kernel
def drain(
    heap: NDArray[np.int64], size: Integer, unit: float, rows: NDArray[np.int64], scores: NDArray[np.float64]
) -> None:
    """Empty the heap `heap[:size]`, from its worst hit to its best, into `rows` and `scores` (in units of `unit`)."""
    for remaining in range(size, 0, -1):
        key = heap[0]
        rows[remaining - 1] = _ROW_MASK - (key & _ROW_MASK)
        scores[remaining - 1] = np.float64(key >> 32) * unit
        sink(heap, remaining - 1, heap[remaining - 1])
