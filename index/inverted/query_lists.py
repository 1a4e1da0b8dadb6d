"""The posting lists of a query, window by window: which there are, what each can add, and the order of reading them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexhound.index.inverted.arguments import IndexArrays
from lexhound.index.inverted.format import BLOCK_BITS
from lexhound.index.jit import Integer, kernel, prefetch

LIST_FIELDS = 10
"""Rows of the int64 workspace `lists` of a search; each has one place per query term."""

# What those rows hold. Of each query term that the index knows:
_CURSOR = 0  # its next entry in the directory
_LAST = 1  # the end of its entries
_WEIGHT = 2  # its integer weight in the query
_BLOCKS = 8  # what makes the number of an entry that of its maxima of blocks; far below 0 without any
# and, packed, of each of them that has postings in the present window:
START = 3  # its first posting there
STOP = 4  # the end of them
FACTOR = 5  # its integer weight again
TOP = 6  # the most that it adds to a score
BLOCK = 9  # the number of its maxima of blocks; below 0 without any
ORDER = 7  # not of a list: the lists in the order in which they are read


_WITHOUT = -(1 << 40)


@kernel
def find_term(terms: NDArray[np.uint32], term: int) -> int:
    """Return where `term` stands in the ascending `terms`, or -1. Binary search."""
    at, span = 0, len(terms)
    while span > 1:  # as often for every term and without another branch, so that searches run side by side
        half = span >> 1
        at += half if terms[at + half] <= term else 0
        span -= half
    if span == 1 and terms[at] == term:
        return at
    return -1


@kernel
def look_up(
    index: IndexArrays,
    query_terms: NDArray[np.int32],
    query_weights: NDArray[np.int32],
    lists: NDArray[np.int64],
) -> int:
    """Fill the rows of `lists` that are of the whole query with the terms that the index knows; return how many."""
    known = 0
    for i in range(len(query_terms)):
        at = find_term(index.terms, query_terms[i])
        if at >= 0:
            first = np.int64(index.entry_starts[at])
            lists[_CURSOR, known] = first
            lists[_LAST, known] = index.entry_starts[at + 1]
            lists[_WEIGHT, known] = query_weights[i]
            frequent = find_term(index.blocked_terms, at)
            lists[_BLOCKS, known] = np.int64(index.blocked_starts[frequent]) - first if frequent >= 0 else _WITHOUT
            known += 1
    return known


@kernel
def next_window(known: int, entry_windows: NDArray[np.uint16], lists: NDArray[np.int64]) -> Integer:
    """Return the lowest window in which a query term still has postings, or -1."""
    window: Integer = -1
    for j in range(known):
        if lists[_CURSOR, j] < lists[_LAST, j]:
            ahead = np.int64(entry_windows[lists[_CURSOR, j]])
            if window < 0 or ahead < window:
                window = ahead
    return window


@kernel
def keep_windows(
    known: int, entry_windows: NDArray[np.uint16], lists: NDArray[np.int64], first: Integer, last: Integer
) -> None:
    """Pass over the entries of windows before `first` and after `last`."""
    for j in range(known):
        low, high = lists[_CURSOR, j], lists[_LAST, j]
        while low < high:
            middle = (low + high) >> 1
            if entry_windows[middle] < first:
                low = middle + 1
            else:
                high = middle
        lists[_CURSOR, j] = low
        high = lists[_LAST, j]
        while low < high:
            middle = (low + high) >> 1
            if entry_windows[middle] <= last:
                low = middle + 1
            else:
                high = middle
        lists[_LAST, j] = low


@kernel
def place_of(rows: NDArray[np.uint16], start: Integer, stop: Integer, row: Integer) -> Integer:
    """Return the first place from `start` to `stop` whose row is not below `row`. Binary search."""
    low, high = start, stop
    while low < high:
        middle = (low + high) >> 1
        if rows[middle] < row:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def enter_window(
    window: Integer,
    known: int,
    bounds: tuple[Integer, Integer, bool],
    index: IndexArrays,
    lists: NDArray[np.int64],
    priorities: NDArray[np.float64],
) -> tuple[int, Integer, Integer]:
    """Fill the last rows of `lists` with the terms of `window`; return how many, their postings, and the bound.

    Steps past their entries. bounds: the first row of the window that counts, the end of them, and whether that is all
    of it; otherwise of lists that reach beyond only that part is taken. priorities float64[as wide as lists]: written:
    what a list takes off the bound a posting.
    """
    low, limit, whole = bounds
    entry_windows, entry_ends, entry_maxima = index.entry_windows, index.entry_ends, index.entry_maxima
    active = 0
    postings: Integer = 0
    bound: Integer = 0
    for j in range(known):
        entry = lists[_CURSOR, j]
        if entry < lists[_LAST, j] and entry_windows[entry] == window:
            start: Integer = np.int64(entry_ends[entry - 1]) if entry > 0 else 0
            stop: Integer = np.int64(entry_ends[entry])
            if not whole:
                lists[_CURSOR, j] = entry + 1
                start = place_of(index.rows, start, stop, low)
                stop = place_of(index.rows, start, stop, limit)
                if start == stop:
                    continue
            top = lists[_WEIGHT, j] * np.int64(entry_maxima[entry])
            prefetch(index.rows, start)
            prefetch(index.impacts, start)
            lists[START, active] = start
            lists[STOP, active] = stop
            lists[FACTOR, active] = lists[_WEIGHT, j]
            lists[TOP, active] = top
            lists[ORDER, active] = active
            block = entry + lists[_BLOCKS, j]
            lists[BLOCK, active] = block
            if block >= 0:
                first = (block << index.window_bits) >> BLOCK_BITS
                prefetch(index.block_maxima, first)
                prefetch(index.block_maxima, first + 64)
            lists[_CURSOR, j] = entry + 1
            priorities[active] = top / (stop - start)
            postings += stop - start
            bound += top
            active += 1
    return active, postings, bound


@kernel
def order_by(keys: NDArray[np.float64], order: NDArray[np.int64]) -> None:
    """Sort `order` by falling `keys[order[i]]`, of equal ones the lower number first. Shell's sort, in place."""
    gap = 1
    while gap < len(order) // 3:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, len(order)):
            moved = order[i]
            key = keys[moved]
            hole = i
            while hole >= gap:
                before = order[hole - gap]
                if keys[before] > key or (keys[before] == key and before < moved):
                    break
                order[hole] = before
                hole -= gap
            order[hole] = moved
        gap //= 3
