"""Exhaustive traversal: every list of the window has been added up, and the scan offers what it finds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexhound.index.inverted.accumulator import CHUNK, STRIP, greatest
from lexhound.index.inverted.arguments import Window
from lexhound.index.inverted.heap import least_score, offer
from lexhound.index.jit import Integer, inlined_kernel


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
