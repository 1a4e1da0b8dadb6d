"""Traversal of a window of which a filter leaves few rows: these are the candidates from the beginning."""

from __future__ import annotations

import numpy as np

from lexhound.index.inverted.accumulator import accumulate_flagged
from lexhound.index.inverted.arguments import IndexArrays, Scratch, scaled
from lexhound.index.inverted.blocks import bound_blocks
from lexhound.index.inverted.candidates import LOOK_UP_COST, scoring_candidates
from lexhound.index.inverted.query_lists import FACTOR, ORDER, START, STOP, TOP
from lexhound.index.jit import Integer, kernel

# Where a filter leaves less than one row in so many of a window, few of the touched rows can be hits. So only lists
# are added up that are shorter than looking all the allowed rows up takes, and only until the bound is the whole
# threshold; then the allowed rows are the candidates, instead of the touched.
SELECTIVE_SHARE = 16


@kernel
def add_flagged_lists(
    active: int,
    count: Integer,
    thresholds: tuple[Integer, Integer, int],
    index: IndexArrays,
    scratch: Scratch,
) -> tuple[int, Integer, Integer]:
    """Add the lists that decide to the scores of the `count` candidates, and drop those that cannot be among the best.

    thresholds: the score to exceed, the bound of all lists, and the bound factor. Returns how many lists are done, how
    many postings were read, and how many candidates are left.
    """
    rows, impacts = index.rows, index.impacts
    lists, flags, accumulator, candidates = scratch.lists, scratch.flags, scratch.accumulator, scratch.candidates
    threshold, bound, bound_factor = thresholds
    most = count * LOOK_UP_COST
    for c in range(count):
        flags[candidates[0, c]] = 1
    done = 0
    postings_read: Integer = 0
    while done < active and scaled(bound, bound_factor) > threshold:
        at = lists[ORDER, done]
        start, stop = lists[START, at], lists[STOP, at]
        if stop - start > most:
            break
        accumulate_flagged(np.int32(lists[FACTOR, at]), rows[start:stop], impacts[start:stop], flags, accumulator)
        postings_read += stop - start
        bound -= lists[TOP, at]
        done += 1
    bound_blocks(done, active, index, scratch)
    count = scoring_candidates(count, (threshold, bound_factor), bool(done == active), scratch)
    return done, postings_read, count
