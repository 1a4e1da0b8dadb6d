"""Maxima of blocks: of the frequent terms, the greatest impact in each block of 256 rows.

A frequent term's greatest impact in a window is that of some unusual row, and says little of all others; that in a
block says more (block-max indexes: Ding and Suel, "Faster top-k document retrieval using block-max indexes", SIGIR
2011, section 3). A block of a term that has few postings a block would cost more bytes than it saves, so only frequent
terms have any.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lexhound.index.inverted.arguments import IndexArrays, Scratch
from lexhound.index.inverted.format import BLOCK_BITS, LEAST_BLOCKED_BITS, Postings, blocks_of_window
from lexhound.index.inverted.query_lists import BLOCK, FACTOR, ORDER, TOP
from lexhound.index.jit import frozen, kernel

# Postings a block that a term has on average in the windows where it occurs. (1,000,000 learned vectors of 177 terms:
# with 4 the maxima take 8.6 bytes a row, with 2 26.6, with 1 50.4.)
_LEAST_A_BLOCK = 4


def blocked_terms(
    entry_starts: NDArray[np.uint32], entry_ends: NDArray[np.uint32], window_bits: int
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return the places of the frequent terms, uint32[m], and how many entries those before each have."""
    starts = entry_starts.astype(np.int64)
    if window_bits < LEAST_BLOCKED_BITS or len(starts) < 2:
        return np.empty(0, np.uint32), np.zeros(1, np.uint32)
    ends = np.concatenate([np.zeros(1, np.int64), entry_ends.astype(np.int64)])
    entries, postings = np.diff(starts), np.diff(ends[starts])
    frequent = np.flatnonzero(postings >= entries * blocks_of_window(window_bits) * _LEAST_A_BLOCK)
    return frequent.astype(np.uint32), np.concatenate([[0], np.cumsum(entries[frequent])]).astype(np.uint32)


def maxima_of_terms(postings: Postings, terms: NDArray[np.uint32]) -> Iterator[NDArray[np.uint8]]:
    """Yield the maxima of the blocks of some terms, by their places: uint8[entries * blocks of a window] each."""
    blocks = blocks_of_window(postings.window_bits)
    for place in terms.tolist():
        first, last = int(postings.entry_starts[place]), int(postings.entry_starts[place + 1])
        start = int(postings.entry_ends[first - 1]) if first else 0
        ends = postings.entry_ends[first:last].astype(np.int64)
        counts = np.diff(ends, prepend=start)
        numbers = (postings.rows[start : ends[-1]] >> BLOCK_BITS).astype(np.int64)
        numbers += np.repeat(np.arange(last - first) * blocks, counts)
        begins = np.flatnonzero(np.diff(numbers, prepend=-1))
        maxima = np.zeros((last - first) * blocks, np.uint8)
        maxima[numbers[begins]] = np.maximum.reduceat(postings.impacts[start : ends[-1]], begins)
        yield maxima


def with_blocks(postings: Postings) -> Postings:
    """Return the postings with the maxima of their blocks, in memory."""
    terms, starts = blocked_terms(postings.entry_starts, postings.entry_ends, postings.window_bits)
    maxima = np.concatenate([np.empty(0, np.uint8), *maxima_of_terms(postings, terms)])
    return replace(postings, blocked_terms=frozen(terms), blocked_starts=frozen(starts), block_maxima=frozen(maxima))


@kernel
def blocks_in(window_bits: int) -> int:
    """Return `format.blocks_of_window` in a kernel."""
    return max(1, (1 << window_bits) >> BLOCK_BITS)


@kernel
def add_maxima(factor: np.int32, maxima: NDArray[np.uint8], bounds: NDArray[np.int32]) -> None:
    """Add what a list can give to the rows of each block."""
    for i in range(len(maxima)):
        bounds[i] += factor * np.int32(maxima[i])


@kernel
def bound_blocks(done: int, active: int, index: IndexArrays, scratch: Scratch) -> None:
    """Write into `bounds` the most that the lists from `done` on can give to a row of each block of the window."""
    lists, bounds = scratch.lists, scratch.bounds
    blocks = blocks_in(index.window_bits)
    everywhere = np.int32(0)
    for y in range(done, active):
        at = lists[ORDER, y]
        if lists[BLOCK, at] < 0:
            everywhere += np.int32(lists[TOP, at])
    for i in range(blocks):
        bounds[i] = everywhere
    for y in range(done, active):
        at = lists[ORDER, y]
        if lists[BLOCK, at] >= 0:
            first = lists[BLOCK, at] * blocks
            add_maxima(np.int32(lists[FACTOR, at]), index.block_maxima[first : first + blocks], bounds)
