"""Scores of a window: postings are added up in an accumulator, and chunks without a good score are passed over."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexhound.index.inverted.arguments import Window
from lexhound.index.inverted.heap import least_score, offer
from lexhound.index.jit import Integer, inlined_kernel, kernel

ACCUMULATOR_SIZE = 1 << 16
"""One place for each value that a 16-bit row can take, whatever the window size."""

# Rows per step of a scan. A step is one maximum over int32s, which the compiler turns into vector instructions:
# 256 took 1.4 microseconds for 16,384 rows, 64 took 2.2.
CHUNK = 256
STRIP = 32  # of a chunk that holds something


@kernel
def accumulate(
    factor: np.int32, rows: NDArray[np.uint16], impacts: NDArray[np.uint8], accumulator: NDArray[np.int32]
) -> None:
    """Add a list's postings of a window to the scores of their rows."""
    for i in range(len(rows)):
        accumulator[rows[i]] += factor * np.int32(impacts[i])


@kernel
def accumulate_within(
    factor: np.int32,
    rows: NDArray[np.uint16],
    impacts: NDArray[np.uint8],
    within: tuple[Integer, Integer],
    accumulator: NDArray[np.int32],
) -> None:
    """Do as `accumulate` for the rows from one to another, `within`; others are in damaged lists only."""
    low, limit = within
    for i in range(len(rows)):
        row = rows[i]
        if low <= row < limit:
            accumulator[row] += factor * np.int32(impacts[i])


@kernel
def accumulate_flagged(
    factor: np.int32,
    rows: NDArray[np.uint16],
    impacts: NDArray[np.uint8],
    flags: NDArray[np.uint8],
    accumulator: NDArray[np.int32],
) -> None:
    """Do as `accumulate` for the rows whose flag is 1 and not 0, which are few: pass over eight rows at a time."""
    unrolled = len(rows) & -8
    for begin in range(0, unrolled, 8):
        some = (
            flags[rows[begin]]
            | flags[rows[begin + 1]]
            | flags[rows[begin + 2]]
            | flags[rows[begin + 3]]
            | flags[rows[begin + 4]]
            | flags[rows[begin + 5]]
            | flags[rows[begin + 6]]
            | flags[rows[begin + 7]]
        )
        if some:
            for i in range(begin, begin + 8):
                accumulator[rows[i]] += factor * np.int32(impacts[i] * flags[rows[i]])
    for i in range(unrolled, len(rows)):
        accumulator[rows[i]] += factor * np.int32(impacts[i] * flags[rows[i]])


@kernel
def clear(rows: NDArray[np.uint16], accumulator: NDArray[np.int32]) -> None:
    """Set the scores of these rows to zero."""
    for i in range(len(rows)):
        accumulator[rows[i]] = 0


@kernel
def greatest(scores: NDArray[np.int32]) -> np.int32:
    """Return the greatest of some scores, 0 at least; vectorised."""
    best = np.int32(0)
    for i in range(len(scores)):
        best = max(best, scores[i])
    return best


@kernel
def threshold_of(
    heap: NDArray[np.int64],
    size: Integer,
    accumulator: NDArray[np.int32],
    allowed: NDArray[np.bool_],
    filtered: bool,
    within: tuple[Integer, Integer],
    trial: NDArray[np.int64],
) -> Integer:
    """Return a score that rows must exceed, from the scores so far of a window; 0 where that tells nothing.

    One less than the k-th best of the hits in `heap[:size]` and of the (partial) scores of the window's rows: at least
    k rows will have that score, so lower ones are out. within: the first row of the window that counts, and the end of
    them. allowed: bool of the rows to there, read only when `filtered`. trial: int64[k], used up.
    """
    low, limit = within
    for i in range(size):  # copying a slice in one go takes Numba seconds to compile
        trial[i] = heap[i]
    size_of_trial: Integer = size
    least = np.int64(1)
    for begin in range(low // CHUNK * CHUNK, limit, CHUNK):
        chunk = accumulator[begin : min(begin + CHUNK, limit)]
        if greatest(chunk) < least:
            continue
        for near in range(0, len(chunk), STRIP):
            strip = chunk[near : near + STRIP]
            if greatest(strip) < least:
                continue
            for i in range(len(strip)):
                score = np.int64(strip[i])
                if score >= least and (not filtered or allowed[begin + near + i]):
                    size_of_trial = offer(trial, size_of_trial, score, np.int64(0))
                    if size_of_trial == len(trial):
                        least = (trial[0] >> 32) + 1
    return (trial[0] >> 32) - 1 if size_of_trial == len(trial) else 0


@inlined_kernel
def offer_scanned(
    accumulator: NDArray[np.int32],
    threshold: Integer,
    window: Window,
    heap: NDArray[np.int64],
    size: Integer,
    stats: NDArray[np.int64],
) -> Integer:
    """Offer the rows of a window that score more than `threshold`, which rises, and clear it; return the heap's size.

    accumulator: int32[rows of a window], to its end; of one that is not whole the rest is zero. See
    `candidates.scanned_candidates`.
    """
    permitted, filtered, limit, base = window.permitted, window.filtered, window.limit, window.base
    least = threshold + 1
    first, end = (0, len(accumulator)) if window.whole else (window.low // CHUNK * CHUNK, limit)
    for begin in range(first, end, CHUNK):
        chunk = accumulator[begin : begin + CHUNK]
        if greatest(chunk) >= least:
            for near in range(0, len(chunk), STRIP):
                strip = chunk[near : near + STRIP]
                if greatest(strip) < least:
                    continue
                for i in range(len(strip)):
                    score = np.int64(strip[i])
                    row = begin + near + i
                    if score >= least and row < limit and (not filtered or permitted[row]):
                        size = offer(heap, size, score, base + row)
                        if size == len(heap):  # a later row needs more than the k-th score, not as much
                            least = max(least, least_score(heap) + 1)
                        stats[1] += 1
        chunk[:] = 0
    return size
