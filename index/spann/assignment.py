"""Which postings hold which rows: closure assignment of a whole collection, within the limit of a posting."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexhound.index.jit import frozen

from .centroids import Router
from .clustering import halves
from .kernels import choose
from .options import SpannOptions

_CHUNK = 1 << 14


def assign(router: Router, vectors: NDArray[np.float32], options: SpannOptions) -> NDArray[np.int64]:
    """The postings of each routed vector, nearest first, -1 behind them: int64[n, replicas]."""
    chosen = np.full((len(vectors), options.replicas), -1, np.int64)
    centroids = frozen(router.all_centroids())
    for start in range(0, len(vectors), _CHUNK):
        part = vectors[start : start + _CHUNK]
        numbers, distances = router.nearest(part, options.candidates)
        taken = np.empty((len(part), options.replicas), np.int64)
        choose(
            frozen(numbers),
            frozen(distances),
            centroids,
            options.replicas,
            options.rng_factor**2,
            options.closure_ratio**2,
            taken,
        )
        chosen[start : start + len(part)] = taken
    return chosen


def limited(
    centroids: NDArray[np.float32], vectors: NDArray[np.float32], chosen: NDArray[np.int64], limit: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Centroids and assignment after no posting holds more than `limit` rows.

    A posting that is too long drops the farthest of those rows that have a nearer posting elsewhere; where even the
    rows that it is the nearest to are too many, it is halved.
    """
    members = np.bincount(chosen[chosen >= 0], minlength=len(centroids))
    if members.max(initial=0) <= limit:
        return centroids, chosen
    chosen = chosen.copy()
    pieces = [centroids]
    total = len(centroids)
    order = np.argsort(chosen, axis=None, kind="stable")
    ends = np.searchsorted(chosen.reshape(-1)[order], np.arange(-1, len(centroids)), side="right")
    for number in np.flatnonzero(members > limit).tolist():
        rows, places = np.divmod(order[ends[number] : ends[number + 1]], chosen.shape[1])
        first = rows[places == 0]
        others, other_places = rows[places > 0], places[places > 0]
        room = max(0, limit - len(first))
        far = ((vectors[others] - centroids[number]) ** 2).sum(axis=1)
        dropped = np.lexsort((others, far))[room:]
        chosen[others[dropped], other_places[dropped]] = -1
        parts = [first]
        while any(len(part) > limit for part in parts):
            longest = max(range(len(parts)), key=lambda i: len(parts[i]))
            part = parts.pop(longest)
            second = halves(vectors[part])
            parts += [part[~second], part[second]]
        if len(parts) > 1:
            new = np.array([vectors[part].mean(axis=0) for part in parts], np.float32)
            pieces[0] = pieces[0].copy() if pieces[0] is centroids else pieces[0]
            pieces[0][number] = new[0]
            for i, part in enumerate(parts[1:]):
                chosen[part, 0] = total + i
            pieces.append(new[1:])
            total += len(new) - 1
    # The dropped ones leave gaps; what is kept moves to the front, in its order.
    gaps = np.argsort(chosen < 0, axis=1, kind="stable")
    return np.concatenate(pieces), np.take_along_axis(chosen, gaps, axis=1)
