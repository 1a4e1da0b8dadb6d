"""Whole rankings from engines that cut among equal scores as they please.

Our order is score descending, then insertion order. An engine that returns the best n may leave out an equal of the
last one that was inserted earlier. So a little more is asked for than is needed, and where the ranking ends in the
middle of equals at the cut, more, until it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .engine import Ranked

# Hits asked for beyond those that are needed; enough that equals at the cut seldom need a second search.
SPARE = 8
_GROWTH = 8

Search = Callable[[Sequence[int], int], list[Ranked]]
"""(places of queries, limit) to a ranking each, in any order among equals."""


def complete_ranking(search: Search, places: Sequence[int], number: int, depth: int, most: int) -> list[Ranked]:
    """Return the best `depth` of each of `number` queries in our order; empty for those not in `places`.

    Among more equals than `most` hits hold, those that the engine returns first are taken.
    """
    found = [Ranked([], np.empty(0, np.int64), np.empty(0, np.float64))] * number
    waiting, limit = list(places), min(depth + SPARE, most)
    while waiting:
        unfinished = []
        for place, ranked in zip(waiting, search(waiting, limit), strict=True):
            found[place] = ranked.ordered(depth)
            # Fewer than asked for are all that there are.
            if len(ranked) >= limit < most and found[place].scores[-1] == ranked.scores.min():
                unfinished.append(place)
        waiting, limit = unfinished, min(limit * _GROWTH, most)
    return found
