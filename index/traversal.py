"""The search kernel: exact top-k by adding up every posting, term at a time inside a window of rows.

Rows are cut into windows of `2**window_bits`, so that the scores of a window stay in the processor's second-level cache
while its postings are added up (about a nanosecond each); then one vectorised scan finds the rows that beat the k-th
best score so far, and clears the scores for the next window. Term-at-a-time evaluation into an array of accumulators
is the oldest there is (Moffat and Zobel, "Self-indexing inverted files for fast text retrieval", TOIS 1996).
MaxScore inside the windows (terms that cannot lift a row over the k-th score are looked up for promising rows instead
of being added up; exact as well) was tried and was slower: over 300,000 passages of Wikipedia and 1,000 natural
questions it touched a third of the postings and took three to four times as long (180 against 47 microseconds a
question in the mean, 1,067 against 129 at the 99th percentile), because a look-up costs what thirty additions cost.

The kernel trusts the directory (term starts, entries), which is checksummed when an index is opened, and nothing else:
whatever bytes stand in `rows` and `impacts`, it reads and writes inside its arrays, because the accumulator has a place
for every 16-bit row and rows past the last are skipped.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import Integer, kernel

ACCUMULATOR_SIZE = 1 << 16
"""One place for each value that a 16-bit row can take, whatever the window size."""

WORKSPACE_ROWS = 6
"""Rows of the int64 workspace `lists` of `search_windows`; each has one place per query term."""

# What those rows hold. Of each query term that the index knows:
_CURSOR = 0  # its next entry in the directory
_LAST = 1  # the end of its entries
_WEIGHT = 2  # its integer weight in the query
# and, packed, of each of them that has postings in the present window:
_START = 3  # its first posting there
_STOP = 4  # the end of them
_FACTOR = 5  # its integer weight again

# A hit travels as one int64: its score (31 bits) above 2**32 - 1 - row, so that a greater key is a better hit.
_ROW_MASK = (1 << 32) - 1

# Rows per step of the scan. A step is one maximum over int32s, which the compiler turns into vector instructions:
# 256 took 1.4 microseconds for 16,384 rows, 64 took 2.2.
_CHUNK = 256

# A window with fewer postings than this share of its rows is read back posting by posting instead of being scanned.
_SPARSE_SHARE = 16


@kernel
def find_term(terms: NDArray[np.uint32], term: int) -> int:
    """Where `term` stands in the ascending `terms`, or -1. Binary search."""
    low, high = 0, len(terms)
    while low < high:
        middle = (low + high) >> 1
        if terms[middle] < term:
            low = middle + 1
        else:
            high = middle
    if low < len(terms) and terms[low] == term:
        return low
    return -1


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
    """Offer a hit to a min-heap that keeps the best `len(heap)` of them, in any order; returns its new size."""
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
def least_score(heap: NDArray[np.int64], size: Integer) -> Integer:
    """The least score worth offering: 1 until the heap is full, then that of the k-th hit (its row decides)."""
    return max(1, heap[0] >> 32) if size == len(heap) else 1


@kernel
def any_allowed(allowed: NDArray[np.bool_], start: Integer, stop: Integer) -> bool:
    """Whether one of `allowed[start:stop]` is true; vectorised in steps of 1,024."""
    for left in range(start, stop, 1024):
        chunk = allowed[left : min(left + 1024, stop)]
        found = False
        for i in range(len(chunk)):
            found |= chunk[i]
        if found:
            return True
    return False


@kernel
def look_up(
    terms: NDArray[np.uint32],
    entry_starts: NDArray[np.uint32],
    query_terms: NDArray[np.int32],
    query_weights: NDArray[np.int32],
    lists: NDArray[np.int64],
) -> int:
    """Fill the first three rows of `lists` with the query terms that the index knows; returns how many."""
    known = 0
    for i in range(len(query_terms)):
        at = find_term(terms, query_terms[i])
        if at >= 0:
            lists[_CURSOR, known] = entry_starts[at]
            lists[_LAST, known] = entry_starts[at + 1]
            lists[_WEIGHT, known] = query_weights[i]
            known += 1
    return known


@kernel
def next_window(known: int, entry_windows: NDArray[np.uint16], lists: NDArray[np.int64]) -> Integer:
    """The lowest window in which a query term still has postings, or -1."""
    window: Integer = -1
    for j in range(known):
        if lists[_CURSOR, j] < lists[_LAST, j]:
            ahead = np.int64(entry_windows[lists[_CURSOR, j]])
            if window < 0 or ahead < window:
                window = ahead
    return window


@kernel
def enter_window(
    window: Integer,
    known: int,
    entry_windows: NDArray[np.uint16],
    entry_ends: NDArray[np.uint32],
    lists: NDArray[np.int64],
) -> int:
    """Fill the last three rows of `lists` with the terms that have postings in `window`; returns how many.

    Steps past their entries.
    """
    active = 0
    for j in range(known):
        entry = lists[_CURSOR, j]
        if entry < lists[_LAST, j] and entry_windows[entry] == window:
            lists[_START, active] = np.int64(entry_ends[entry - 1]) if entry > 0 else 0
            lists[_STOP, active] = entry_ends[entry]
            lists[_FACTOR, active] = lists[_WEIGHT, j]
            lists[_CURSOR, j] = entry + 1
            active += 1
    return active


@kernel
def accumulate(
    factor: np.int32, rows: NDArray[np.uint16], impacts: NDArray[np.uint8], accumulator: NDArray[np.int32]
) -> None:
    """Add a term's postings of a window to the scores of their rows."""
    for i in range(len(rows)):
        accumulator[rows[i]] += factor * np.int32(impacts[i])


@kernel
def search_windows(
    query_terms: NDArray[np.int32],
    query_weights: NDArray[np.int32],
    terms: NDArray[np.uint32],
    entry_starts: NDArray[np.uint32],
    entry_windows: NDArray[np.uint16],
    entry_ends: NDArray[np.uint32],
    rows: NDArray[np.uint16],
    impacts: NDArray[np.uint8],
    n_rows: int,
    window_bits: int,
    allowed: NDArray[np.bool_],
    filtered: bool,
    unit: float,
    accumulator: NDArray[np.int32],
    lists: NDArray[np.int64],
    heap: NDArray[np.int64],
    out_rows: NDArray[np.int64],
    out_scores: NDArray[np.float64],
    stats: NDArray[np.int64],
) -> Integer:
    """The best `len(heap)` rows for a query; returns how many there are. O(postings of its terms + rows).

    query_terms int32[m], query_weights int32[m]: see `Query`. The index's arrays: see `layout`. allowed: bool[n_rows],
    read only when `filtered`. unit: what a score of 1 is worth. accumulator: int32[65536], zero, and zero again
    afterwards where windows of this size are looked at. lists: int64[6, m], heap: int64[k] with k >= 1, out_rows:
    int64[k], out_scores: float64[k]: written. stats: int64[2], incremented by the postings read and by the rows that
    were good enough to be offered to the heap.
    """
    known = look_up(terms, entry_starts, query_terms, query_weights, lists)
    size: Integer = 0
    while True:
        window = next_window(known, entry_windows, lists)
        if window < 0:
            break
        base = window << window_bits
        limit = min(1 << window_bits, n_rows - base)
        active = enter_window(window, known, entry_windows, entry_ends, lists)
        if filtered and not any_allowed(allowed, base, base + limit):
            continue

        postings = 0
        for j in range(active):
            start, stop = lists[_START, j], lists[_STOP, j]
            accumulate(np.int32(lists[_FACTOR, j]), rows[start:stop], impacts[start:stop], accumulator)
            postings += stop - start
        stats[0] += postings

        least = least_score(heap, size)
        if postings < (1 << window_bits) // _SPARSE_SHARE:
            for j in range(active):
                for i in range(lists[_START, j], lists[_STOP, j]):
                    row = np.int64(rows[i])
                    score = np.int64(accumulator[row])
                    accumulator[row] = 0
                    if score >= least and row < limit and (not filtered or allowed[base + row]):
                        size = offer(heap, size, score, base + row)
                        least = least_score(heap, size)
                        stats[1] += 1
        else:
            # To the end of the window, past the last row: damaged rows there must not be left for another index.
            for left in range(0, 1 << window_bits, _CHUNK):
                chunk = accumulator[left : left + _CHUNK]
                best = np.int32(0)
                for i in range(len(chunk)):
                    best = max(best, chunk[i])
                if best >= least:
                    for i in range(len(chunk)):
                        score = np.int64(chunk[i])
                        place = left + i
                        if score >= least and place < limit and (not filtered or allowed[base + place]):
                            size = offer(heap, size, score, base + place)
                            # Rows ascend here, so a later row needs more than the k-th score, not as much.
                            least = least_score(heap, size)
                            if size == len(heap):
                                least += 1
                            stats[1] += 1
                chunk[:] = 0

    # Empty the heap from its worst hit to its best.
    for left in range(size, 0, -1):
        key = heap[0]
        out_rows[left - 1] = _ROW_MASK - (key & _ROW_MASK)
        out_scores[left - 1] = np.float64(key >> 32) * unit
        sink(heap, left - 1, heap[left - 1])
    return size


@kernel
def search_batch(
    query_starts: NDArray[np.int64],
    query_terms: NDArray[np.int32],
    query_weights: NDArray[np.int32],
    terms: NDArray[np.uint32],
    entry_starts: NDArray[np.uint32],
    entry_windows: NDArray[np.uint16],
    entry_ends: NDArray[np.uint32],
    rows: NDArray[np.uint16],
    impacts: NDArray[np.uint8],
    n_rows: int,
    window_bits: int,
    allowed: NDArray[np.bool_],
    filtered: bool,
    units: NDArray[np.float64],
    accumulator: NDArray[np.int32],
    lists: NDArray[np.int64],
    heap: NDArray[np.int64],
    out_rows: NDArray[np.int64],
    out_scores: NDArray[np.float64],
    stats: NDArray[np.int64],
    hits: NDArray[np.int64],
) -> None:
    """`search_windows` for several queries, one after the other, without coming back to Python in between.

    The terms and weights of query i stand at query_starts[i]:query_starts[i + 1]; units float64[b]; lists as wide as
    the longest query. out_rows int64[b, k], out_scores float64[b, k], hits int64[b]: written. The rest as there.
    """
    for i in range(len(hits)):
        start, stop = query_starts[i], query_starts[i + 1]
        hits[i] = search_windows(
            query_terms[start:stop],
            query_weights[start:stop],
            terms,
            entry_starts,
            entry_windows,
            entry_ends,
            rows,
            impacts,
            n_rows,
            window_bits,
            allowed,
            filtered,
            units[i],
            accumulator,
            lists,
            heap,
            out_rows[i],
            out_scores[i],
            stats,
        )
