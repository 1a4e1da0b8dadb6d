"""Kernels of the clustered index over centroids: find the nearest ones, choose the postings of a vector."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexhound.index.jit import Integer, kernel, reordering_kernel
from lexhound.index.spann.block_sums import BLOCK
from lexhound.index.spann.kernels import estimate

_BINS = 4096


class CodedPoints(NamedTuple):
    """Points as sign codes: codes and floats, two views of their blocks, of `block_bytes` each; centre: float32[d], of
    the codes; squares: float32[c], the points' squared lengths."""

    codes: NDArray[np.uint8]
    floats: NDArray[np.float32]
    block_bytes: int
    centre: NDArray[np.float32]
    squares: NDArray[np.float32]


@kernel
def _bin_of(score: np.float32, least: np.float32, fineness: np.float32) -> Integer:
    position = (score - least) * fineness
    if not position >= 0:  # what is no number is in the lowest
        return 0
    return np.int64(position) if position < _BINS else _BINS - 1


@kernel
def order_by_codes(
    coded_points: tuple[Any, ...],
    compared: tuple[NDArray[np.float32], NDArray[np.uint8], float, float],
    numbers: NDArray[np.int64],
) -> None:
    """Write the points that their codes say are the nearest, int64[m], about the nearest first, then by number.

    coded_points: the fields of `CodedPoints`. compared: (point, tables, unit, offset) of the query as it stands among
    the points: float32[d + 1], and as for `kernels.estimate`.
    """
    named = CodedPoints(*coded_points)
    codes, floats, lengths, centre, step = named.codes, named.floats, named.squares, named.centre, named.block_bytes
    query, tables, n = compared[0], compared[1], len(named.squares)
    base = 0.0
    for j in range(len(centre)):
        base += np.float64(query[j]) * np.float64(centre[j])
    near, sums = np.empty(-(-n // BLOCK) * BLOCK, np.float32), np.empty(BLOCK, np.uint16)
    terms = (compared[2], compared[3], base, 0.0)
    least, most = np.float32(np.inf), np.float32(-np.inf)
    for at in range(0, n, BLOCK):
        estimate(codes, floats, at // BLOCK * step, tables, terms, sums, near[at : at + BLOCK])
    for i in range(n):
        near[i] = 2 * near[i] - lengths[i]
        least, most = min(least, near[i]), max(most, near[i])
    # Sorted by counting, into so many bins that a finer order would say no more than estimates can.
    places = np.zeros(_BINS + 1, np.int64)
    fineness = np.float32((_BINS - 1) / (most - least)) if most > least else np.float32(0)
    for i in range(n):
        places[_BINS - _bin_of(near[i], least, fineness)] += 1
    places = np.cumsum(places)
    for i in range(n):
        which = _BINS - 1 - _bin_of(near[i], least, fineness)
        if places[which] < len(numbers):
            numbers[places[which]] = i
        places[which] += 1


@reordering_kernel
def choose(
    candidates: NDArray[np.int64],
    distances: NDArray[np.float32],
    centroids: NDArray[np.float32],
    rng: float,
    closure: float,
    assigned: NDArray[np.int64],
) -> None:
    """Choose the postings of each vector: closure assignment under the relative-neighbourhood rule ("SPANN", 3.2.1).

    candidates: int64[n, c], the nearest centroids of each vector, nearest first, -1 where there are no more.
    distances: float32[n, c], squared. A centroid is taken if it is within `closure` times the distance of the nearest
    (both squared), and if no centroid taken before is nearer to it than the vector is (`rng`, squared, times). The
    taken ones go to assigned: int64[n, replicas], -1 at the end.
    """
    replicas = assigned.shape[1]
    for i in range(len(candidates)):
        taken = 0
        bound = closure * distances[i, 0]
        for c in range(candidates.shape[1]):
            one = candidates[i, c]
            if one < 0 or taken == replicas or (taken and distances[i, c] > bound):
                break
            apart = True
            for t in range(taken):
                other = assigned[i, t]
                square = np.float32(0)
                for j in range(centroids.shape[1]):
                    difference = centroids[one, j] - centroids[other, j]
                    square += difference * difference
                if rng * square < distances[i, c]:
                    apart = False
                    break
            if apart:
                assigned[i, taken] = one
                taken += 1
        for t in range(taken, replicas):
            assigned[i, t] = -1
