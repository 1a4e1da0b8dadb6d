"""MaxScore in a window: lists are added up until the rest decides little, then candidates get what they lack."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexhound.index.inverted.accumulator import accumulate, accumulate_within, threshold_of
from lexhound.index.inverted.arguments import EXACT_FACTOR, IndexArrays, Scratch, Window, scaled
from lexhound.index.inverted.candidates import ask_ahead, complete, threshold_of_candidates
from lexhound.index.inverted.query_lists import FACTOR, ORDER, START, STOP, TOP, order_by
from lexhound.index.jit import Integer, kernel, prefetch

# Lists are added up until the bound is this share (in 1,024ths) of the threshold. Estimated nanoseconds a window, from
# counts over BM25 vectors of 300,000 passages with a look-up at 15 ns: 9,955 at the whole threshold, 5,772 at .7, 5,889
# at .5, 6,751 at .35, 10,057 with every list; over learned vectors with inference-free queries 15,538, 9,890, 8,396,
# 9,421, 73,215; with expanded queries 16,270 at .7, then 13,159, 13,533, 44,240. Look-ups turned out dearer, hence .4.
# Lists cut into tiers by impact gave smaller bounds and saved nothing in any of the three.
_ENOUGH = 410

# The same where frequent terms have maxima of blocks, which leave fewer candidates. (1,000,000 learned vectors, of the
# time without blocks: 410 takes .95 for inference-free queries and .86 for expanded ones, 480 .95 and .82, some 600 .98
# and .90, some 800 1.08 and 1.09.)
_ENOUGH_WITH_BLOCKS = 480

# In a window with fewer postings than this share of its rows, in eighths, exact search reads them all: ordering lists
# and looking for candidates costs what adding up some thousands of postings does. (BM25, 300,000 passages, 8,600
# postings a window: 137 microseconds a question in the median with all of them, 157 with what pruning leaves, 45,375
# of 84,817.)
_EXHAUSTIVE_EIGHTHS = 3

# Postings read in the first window before its partial scores are looked at for a threshold, and again after twice that.
_FIRST_LOOK = 4096

# Lines of the cache that are asked for of the next list's rows, and half as many of its impacts. (Without asking
# inference-free queries over 1,000,000 rows take 1.03 of the time without blocks, with it .95; 8 and 16: no less.)
_AHEAD = 4


@kernel
def add_lists(
    window: Window,
    size: Integer,
    rising: bool,
    thresholds: tuple[Integer, Integer, int],
    index: IndexArrays,
    scratch: Scratch,
) -> tuple[int, Integer, Integer]:
    """Add lists up in their order until the bound of the others is small.

    thresholds: the score to exceed, the bound of all lists, and the bound factor. With `rising`, partial scores raise
    the threshold while the heap, of `size` hits, is not full. Returns how many lists are done, how many postings were
    read, and the threshold.
    """
    rows, impacts, lists, accumulator = index.rows, index.impacts, scratch.lists, scratch.accumulator
    heap, trial, active = scratch.heap, scratch.trial, window.active
    threshold, bound, bound_factor = thresholds
    look: Integer = _FIRST_LOOK
    exhaustive = bound_factor == EXACT_FACTOR and window.postings * 8 < window.span * _EXHAUSTIVE_EIGHTHS
    enough = 0 if exhaustive else _ENOUGH if len(index.blocked_terms) == 0 else _ENOUGH_WITH_BLOCKS
    done = 0
    postings_read: Integer = 0
    while done < active and scaled(bound, bound_factor) > (threshold * enough) >> 10:
        at = lists[ORDER, done]
        start, stop = lists[START, at], lists[STOP, at]
        factor, within = np.int32(lists[FACTOR, at]), (window.low, window.limit)
        done += 1
        if done < active:  # the processor sees for itself how a list goes on, not where the next one begins
            ahead = lists[START, lists[ORDER, done]]
            for line in range(_AHEAD):
                prefetch(rows, ahead + 32 * line)
            for line in range(_AHEAD // 2):
                prefetch(impacts, ahead + 64 * line)
        if window.whole:
            accumulate(factor, rows[start:stop], impacts[start:stop], accumulator)
        else:
            accumulate_within(factor, rows[start:stop], impacts[start:stop], within, accumulator)
        postings_read += stop - start
        bound -= lists[TOP, at]
        if rising and postings_read >= look and size < len(heap) and done < active:
            partial = threshold_of(heap, size, accumulator, window.permitted, window.filtered, within, trial)
            threshold = max(threshold, partial)
            look = 2 * postings_read
    return done, postings_read, threshold


@kernel
def complete_candidates(
    done: int,
    window: Window,
    count: Integer,
    thresholds: tuple[Integer, int, bool],
    size: Integer,
    index: IndexArrays,
    scratch: Scratch,
    stats: NDArray[np.int64],
) -> tuple[Integer, Integer]:
    """Add the lists from `done` on to the scores of the `count` candidates, the heaviest list first.

    thresholds: the score to exceed, the bound factor, and whether the candidates raise the threshold while the heap, of
    `size` hits, is not full. Candidates drop out as their bounds fall. Returns how many are left, and the threshold.
    stats: incremented by the postings read.
    """
    lists, priorities, candidates = scratch.lists, scratch.priorities, scratch.candidates
    heap, trial, active = scratch.heap, scratch.trial, window.active
    threshold, bound_factor, rising = thresholds
    for i in range(active):
        priorities[i] = lists[TOP, i]
    order_by(priorities[:active], lists[ORDER, done:active])
    ask_ahead(lists[ORDER, done], window, count, index, scratch)
    for y in range(done, active):
        if rising and size < len(heap):
            threshold = max(threshold, threshold_of_candidates(heap, size, candidates, count, trial))
        at = lists[ORDER, y]
        if y + 1 < active:
            ask_ahead(lists[ORDER, y + 1], window, count, index, scratch)
        count, postings_read = complete(at, window, count, (threshold, bound_factor), index, scratch)
        stats[0] += postings_read
        if count == 0:
            break
    return count, threshold
