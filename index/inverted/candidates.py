"""Candidates: the few rows of a window that may still be among the best, and what completes their scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexhound.index.inverted.accumulator import CHUNK, STRIP, accumulate, clear, greatest
from lexhound.index.inverted.arguments import Window
from lexhound.index.inverted.heap import offer
from lexhound.index.inverted.query_lists import ORDER, START, STOP
from lexhound.index.jit import Integer, kernel

# Looking a row up in a list costs what adding up so many postings does: binary search misses the cache.
LOOK_UP_COST = 32

# How far from the guessed place a look-up looks first.
_NEAR = 16


@kernel
def gather_allowed(allowed: NDArray[np.bool_], most: Integer, candidates: NDArray[np.int32]) -> Integer:
    """Write the true places of a mask into `candidates[0]`, ascending; return how many, or above `most`: some number.

    allowed begins at a multiple of 8 bytes where it has 8 or more; candidates: int32[2, 65536], `most` at most 65,528.
    Eight rows at a time: a selective mask is nearly all zeros.
    """
    count: Integer = 0
    bytes_in_blocks = len(allowed) >> 5 << 2
    words = allowed[: bytes_in_blocks << 3].view(np.uint64)
    rest = bytes_in_blocks << 3
    for four in range(0, bytes_in_blocks, 4):
        if words[four] | words[four + 1] | words[four + 2] | words[four + 3] == 0:
            continue
        for at in range(four, four + 4):
            if words[at] != 0:
                if count + 8 > most:  # maybe too many: from here on one by one
                    rest = at << 3
                    break
                begin = at << 3
                for i in range(8):  # without a branch that could be mispredicted
                    candidates[0, count] = begin + i
                    count += np.int64(allowed[begin + i])
        if rest < bytes_in_blocks << 3:
            break
    for i in range(rest, len(allowed)):
        if allowed[i]:
            if count == most:
                return most + 1
            candidates[0, count] = i
            count += 1
    return count


@kernel
def touched_candidates(
    n_lists: int,
    lists: NDArray[np.int64],
    rows: NDArray[np.uint16],
    accumulator: NDArray[np.int32],
    least: Integer,
    window: Window,
    candidates: NDArray[np.int32],
) -> int:
    """Collect the rows of the first `n_lists` lists that score at least `least`, and clear the scores of all of them.

    candidates int32[2, 65536]: rows and scores, written; returns how many.
    """
    allowed, filtered, limit = window.permitted, window.filtered, window.limit
    count = 0
    for y in range(n_lists):
        at = lists[ORDER, y]
        for i in range(lists[START, at], lists[STOP, at]):
            row = np.int64(rows[i])
            score = accumulator[row]
            accumulator[row] = 0
            if score >= least and row < limit and (not filtered or allowed[row]):
                candidates[0, count] = row
                candidates[1, count] = score
                count += 1
    return count


@kernel
def scanned_candidates(
    accumulator: NDArray[np.int32],
    least: Integer,
    window: Window,
    candidates: NDArray[np.int32],
) -> int:
    """Collect the rows of a window that score at least `least`, and clear it.

    accumulator: int32[rows of a window]: to its end, past the last row, as damaged rows there must not be left for
    another index. candidates as for `touched_candidates`.
    """
    allowed, filtered, limit = window.permitted, window.filtered, window.limit
    count = 0
    first, end = (0, len(accumulator)) if window.whole else (window.low // CHUNK * CHUNK, limit)
    for begin in range(first, end, CHUNK):
        chunk = accumulator[begin : begin + CHUNK]
        if greatest(chunk) >= least:
            for near in range(0, len(chunk), STRIP):
                strip = chunk[near : near + STRIP]
                if greatest(strip) >= least:
                    for i in range(len(strip)):
                        row = begin + near + i
                        if strip[i] >= least and row < limit and (not filtered or allowed[row]):
                            candidates[0, count] = row
                            candidates[1, count] = strip[i]
                            count += 1
        chunk[:] = 0
    return count


@kernel
def scoring_candidates(
    accumulator: NDArray[np.int32],
    flags: NDArray[np.uint8],
    least: Integer,
    candidates: NDArray[np.int32],
    count: Integer,
) -> Integer:
    """Give the candidates of `gather_allowed` their scores, and drop those below `least`; return how many are left.

    A `least` of 0 or below keeps rows that no list has touched yet. Their scores and flags are zero afterwards.
    """
    remaining: Integer = 0
    for c in range(count):
        row = candidates[0, c]
        score = accumulator[row]
        accumulator[row] = 0
        flags[row] = 0
        if score >= least:
            candidates[0, remaining] = row
            candidates[1, remaining] = score
            remaining += 1
    return remaining


@kernel
def threshold_of_candidates(
    heap: NDArray[np.int64], size: Integer, candidates: NDArray[np.int32], count: Integer, trial: NDArray[np.int64]
) -> Integer:
    """Return `threshold_of` for the (partial) scores of candidates, which are all allowed."""
    if size + count < len(trial):
        return 0
    for i in range(size):  # as in `threshold_of`
        trial[i] = heap[i]
    filled: Integer = size
    for c in range(count):
        filled = offer(trial, filled, np.int64(candidates[1, c]), np.int64(0))
    least: Integer = (trial[0] >> 32) - 1
    return max(0, least)


@kernel
def complete(
    factor: np.int32,
    rows: NDArray[np.uint16],
    impacts: NDArray[np.uint8],
    accumulator: NDArray[np.int32],
    candidates: NDArray[np.int32],
    count: Integer,
    above: Integer,
    spread: tuple[Integer, np.float64],
) -> tuple[Integer, Integer]:
    """Add a list to the scores of the candidates and drop those that stay at `above` or below.

    rows, impacts: the list in the window, of at least one posting, rows ascending. spread: the lowest row that it can
    have, and over how many its rows are spread. Returns how many candidates are left and how many postings were read.
    """
    low, density = spread[0], len(rows) / spread[1]
    remaining = 0
    if count * LOOK_UP_COST > len(rows):
        accumulate(factor, rows, impacts, accumulator)
        for c in range(count):
            row = candidates[0, c]
            score = candidates[1, c] + accumulator[row]
            if score > above:
                candidates[0, remaining] = row
                candidates[1, remaining] = score
                remaining += 1
        clear(rows, accumulator)
        return remaining, len(rows)
    for c in range(count):
        row = candidates[0, c]
        # Rows are spread over their window, so a guess is some tens of places off, and the search stays in a line or
        # two of the cache, where halving the whole list would fetch one after another.
        guess = np.int64((row - low) * density)
        at: Integer = min(np.int64(len(rows) - 1), max(np.int64(0), guess))
        span: Integer = _NEAR
        if rows[at] <= row:
            while at + span < len(rows) and rows[at + span] <= row:
                at += span
                span <<= 1
            span = min(span, len(rows) - at)
        else:
            while at > span and rows[at - span] > row:
                at -= span
                span <<= 1
            span = min(span, at)
            at -= span
        while span > 1:  # without a branch that could be mispredicted
            half = span >> 1
            at += half if rows[at + half] <= row else 0
            span -= half
        score = candidates[1, c]
        if rows[at] == row:
            score += factor * np.int32(impacts[at])
        if score > above:
            candidates[0, remaining] = row
            candidates[1, remaining] = score
            remaining += 1
    return remaining, count
