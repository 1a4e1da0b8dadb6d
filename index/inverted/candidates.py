"""Candidates: the few rows of a window that may still be among the best, and what completes their scores.

They are three rows of an array, `candidates`: row within the window, score so far, and the most that the lists which
are not in it can add.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexhound.index.inverted.accumulator import CHUNK, STRIP, accumulate, clear, greatest
from lexhound.index.inverted.arguments import IndexArrays, Scratch, Window, scaled
from lexhound.index.inverted.blocks import blocks_in
from lexhound.index.inverted.format import BLOCK_BITS
from lexhound.index.inverted.heap import offer
from lexhound.index.inverted.query_lists import BLOCK, FACTOR, ORDER, START, STOP, TOP
from lexhound.index.jit import Integer, kernel, prefetch

# Looking a row up in a list costs what adding up so many postings does: binary search misses the cache.
LOOK_UP_COST = 32

# How far from the guessed place a look-up looks first.
_NEAR = 16


@kernel
def gather_allowed(allowed: NDArray[np.bool_], most: Integer, candidates: NDArray[np.int32]) -> Integer:
    """Write the true places of a mask into `candidates[0]`, ascending; return how many, or above `most`: some number.

    allowed begins at a multiple of 8 bytes where it has 8 or more; candidates: int32[3, 65536], `most` at most 65,528.
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
    rows: NDArray[np.uint16],
    thresholds: tuple[Integer, int],
    window: Window,
    scratch: Scratch,
) -> int:
    """Collect the rows of the first `n_lists` lists that may exceed the threshold, and clear the scores of all of them.

    thresholds: that and the bound factor. The bounds of the other lists are those of `blocks.bound_blocks`. Returns how
    many candidates there are.
    """
    allowed, filtered, limit = window.permitted, window.filtered, window.limit
    lists, accumulator, bounds, candidates = scratch.lists, scratch.accumulator, scratch.bounds, scratch.candidates
    threshold, bound_factor = thresholds
    count = 0
    for y in range(n_lists):
        at = lists[ORDER, y]
        for i in range(lists[START, at], lists[STOP, at]):
            row = np.int64(rows[i])
            score = np.int64(accumulator[row])
            accumulator[row] = 0
            bound = np.int64(bounds[row >> BLOCK_BITS])
            good = score > 0 and row < limit and score + scaled(bound, bound_factor) > threshold
            if good and (not filtered or allowed[row]):
                candidates[0, count] = row
                candidates[1, count] = score
                candidates[2, count] = bound
                count += 1
    return count


@kernel
def scanned_candidates(
    accumulator: NDArray[np.int32],
    thresholds: tuple[Integer, int],
    window: Window,
    scratch: Scratch,
) -> int:
    """Collect the rows of a window that may exceed the threshold, and clear it.

    accumulator: int32[rows of a window]: to its end, past the last row, as damaged rows there must not be left for
    another index. All else as for `touched_candidates`.
    """
    allowed, filtered, limit = window.permitted, window.filtered, window.limit
    bounds, candidates = scratch.bounds, scratch.candidates
    threshold, bound_factor = thresholds
    count = 0
    first, end = (0, len(accumulator)) if window.whole else (window.low // CHUNK * CHUNK, limit)
    for begin in range(first, end, CHUNK):
        chunk = accumulator[begin : begin + CHUNK]
        bound = np.int64(bounds[begin >> BLOCK_BITS])
        least = max(np.int64(1), threshold + 1 - scaled(bound, bound_factor))
        if greatest(chunk) >= least:
            for near in range(0, len(chunk), STRIP):
                strip = chunk[near : near + STRIP]
                if greatest(strip) >= least:
                    for i in range(len(strip)):
                        row = begin + near + i
                        if strip[i] >= least and row < limit and (not filtered or allowed[row]):
                            candidates[0, count] = row
                            candidates[1, count] = strip[i]
                            candidates[2, count] = bound
                            count += 1
        chunk[:] = 0
    return count


@kernel
def scoring_candidates(count: Integer, thresholds: tuple[Integer, int], final: bool, scratch: Scratch) -> Integer:
    """Give the candidates of `gather_allowed` their scores and bounds, and drop those that cannot exceed the threshold.

    Unless `final`, rows that no list has touched yet may stay. Returns how many do. The scores and flags of all of them
    are zero afterwards.
    """
    accumulator, flags, bounds, candidates = scratch.accumulator, scratch.flags, scratch.bounds, scratch.candidates
    threshold, bound_factor = thresholds
    remaining: Integer = 0
    for c in range(count):
        row = candidates[0, c]
        score, bound = np.int64(accumulator[row]), np.int64(bounds[row >> BLOCK_BITS])
        accumulator[row] = 0
        flags[row] = 0
        if score + scaled(bound, bound_factor) > threshold and (score > 0 or not final):
            candidates[0, remaining] = row
            candidates[1, remaining] = score
            candidates[2, remaining] = bound
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
def ask_ahead(at: Integer, window: Window, count: Integer, index: IndexArrays, scratch: Scratch) -> None:
    """Prefetch what `complete` is going to read of a list."""
    start, stop = scratch.lists[START, at], scratch.lists[STOP, at]
    density = (stop - start) / np.float64(window.span)
    if count * LOOK_UP_COST <= stop - start:
        for c in range(count):
            guess = start + np.int64((scratch.candidates[0, c] - window.low) * density)
            prefetch(index.rows, guess)
            prefetch(index.impacts, guess)


@kernel
def complete(
    at: Integer,
    window: Window,
    count: Integer,
    thresholds: tuple[Integer, int],
    index: IndexArrays,
    scratch: Scratch,
) -> tuple[Integer, Integer]:
    """Add a list, `lists[..., at]`, to the scores of the candidates and drop those that cannot exceed the threshold.

    thresholds: that and the bound factor. The list has at least one posting in the window, rows ascending. Returns how
    many candidates are left and how many postings were read.
    """
    lists, accumulator, candidates = scratch.lists, scratch.accumulator, scratch.candidates
    threshold, bound_factor = thresholds
    start, stop = lists[START, at], lists[STOP, at]
    rows, impacts = index.rows[start:stop], index.impacts[start:stop]
    factor, blocked = np.int32(lists[FACTOR, at]), bool(lists[BLOCK, at] >= 0)
    first = lists[BLOCK, at] * blocks_in(index.window_bits)
    # Rows are spread over their window, so a guess is some tens of places off, and the search stays in a line or two
    # of the cache, where halving the whole list would fetch one after another.
    low, density = window.low, len(rows) / np.float64(window.span)
    added_up = count * LOOK_UP_COST > len(rows)
    if added_up:
        accumulate(factor, rows, impacts, accumulator)
    remaining: Integer = 0
    looked_up: Integer = 0
    for c in range(count):
        row, score, rest = candidates[0, c], candidates[1, c], np.int64(candidates[2, c])
        most = (
            np.int64(factor * np.int32(index.block_maxima[first + (row >> BLOCK_BITS)])) if blocked else lists[TOP, at]
        )
        rest -= most
        if added_up:
            score += accumulator[row]
        elif most > 0:
            place = find_row(rows, row, np.int64((row - low) * density))
            score += factor * np.int32(impacts[place]) if rows[place] == row else 0
            looked_up += 1
        candidates[0, remaining] = row
        candidates[1, remaining] = score
        candidates[2, remaining] = rest
        remaining += 1 if score + scaled(rest, bound_factor) > threshold else 0
    if added_up:
        clear(rows, accumulator)
        return remaining, len(rows)
    return remaining, looked_up


@kernel
def find_row(rows: NDArray[np.uint16], row: Integer, guess: Integer) -> Integer:
    """Return the place of the last of the ascending `rows` that is not above `row`, or 0; found from a guess on."""
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
    return at
