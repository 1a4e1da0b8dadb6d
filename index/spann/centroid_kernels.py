"""Kernels of the clustered index over centroids: find the nearest ones, choose the postings of a vector."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexhound.index.jit import Integer, kernel, reordering_kernel
from lexhound.index.spann.int8_dot import coded, product
from lexhound.index.spann.kernels import offer

_BINS = 1024  # in which candidates are counted by their scores


@reordering_kernel
def _square(point: NDArray[np.float32], query: NDArray[np.float32]) -> float:
    total = np.float32(0)
    for j in range(len(query)):
        difference = point[j] - query[j]
        total += difference * difference
    return total  # type: ignore[return-value]


@kernel
def _sorted(squares: NDArray[np.float32], numbers: NDArray[np.int64], size: Integer) -> int:
    """Turn a heap of negative squares, worst first, into squares and numbers from the nearest on; its size."""
    last = size
    while last > 1:  # the root is the worst that is left: it goes to the end, and the last one takes its way down
        last -= 1
        worst, which = squares[0], numbers[0]
        score, row = squares[last], numbers[last]
        at = 0
        while 2 * at + 1 < last:
            below = 2 * at + 1
            right = below + 1
            if right < last and (
                squares[right] < squares[below]
                or (squares[right] == squares[below] and numbers[right] > numbers[below])
            ):
                below = right
            if score < squares[below] or (score == squares[below] and row > numbers[below]):
                break
            squares[at], numbers[at] = squares[below], numbers[below]
            at = below
        squares[at], numbers[at] = score, row
        squares[last], numbers[last] = worst, which
    for i in range(size):
        squares[i] = -squares[i]
    return int(size)


@kernel
def nearest(
    points: NDArray[np.float32],
    query: NDArray[np.float32],
    squares: NDArray[np.float32],
    numbers: NDArray[np.int64],
) -> int:
    """Find the points, float32[c, d], nearest to a query; returns how many.

    As many as there is room for in squares, float32[m], and numbers, int64[m]; nearest first, then by number.
    """
    limit = len(numbers)
    size: Integer = 0
    for i in range(len(points)):
        size = offer(-_square(points[i], query), i, squares, numbers, size, limit)
    return _sorted(squares, numbers, size)


class CodedPoints(NamedTuple):
    """Points as 8-bit codes: int8[c, e]; scales: float32[c], a point is about scale x codes; squares: float32[c], its
    squared length; points: float32[c, d]."""

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    squares: NDArray[np.float32]
    points: NDArray[np.float32]


@kernel
def _bin_of(score: np.float32, least: np.float32, fineness: np.float32) -> Integer:
    position = (score - least) * fineness
    return np.int64(position) if 0 <= position < _BINS else 0  # what is no number, after an overflow, is in the lowest


@kernel
def nearest_by_codes(
    coded_points: tuple[Any, ...],
    query: NDArray[np.float32],
    compared: NDArray[np.float32],
    least_candidates: int,
    squares: NDArray[np.float32],
    numbers: NDArray[np.int64],
) -> int:
    """Do as `nearest` with a quarter of the memory read, or less: codes choose candidates, the points order these.

    coded_points: the fields of `CodedPoints`. compared: float32[e], the query as codes are compared with it, which may
    be a part of it after a rotation. least_candidates: how many, at least.
    """
    named = CodedPoints(*coded_points)
    codes, scales, lengths, points = named.codes, named.scales, named.squares, named.points
    integers, near = np.empty(len(compared), np.int16), np.empty(len(codes), np.float32)
    unit = 2 * coded(compared, integers)
    flat = codes.reshape(-1)
    least, most = np.float32(np.inf), np.float32(-np.inf)
    for i in range(len(codes)):
        near[i] = unit * scales[i] * product(flat, i * len(integers), integers, 0, len(integers)) - lengths[i]
        least, most = min(least, near[i]), max(most, near[i])
    # The candidates are the fullest bins from the top: a heap of hundreds takes longer than all the products.
    counts = np.zeros(_BINS, np.int64)
    fineness = np.float32((_BINS - 1) / (most - least)) if most > least else np.float32(0)
    for i in range(len(near)):
        if near[i] >= least:
            counts[_bin_of(near[i], least, fineness)] += 1
    lowest, candidates = _BINS - 1, counts[_BINS - 1]
    while lowest > 0 and candidates < least_candidates:
        lowest -= 1
        candidates += counts[lowest]
    limit = len(numbers)
    size: Integer = 0
    for i in range(len(near)):
        if near[i] >= least and _bin_of(near[i], least, fineness) >= lowest:
            size = offer(-_square(points[i], query), i, squares, numbers, size, limit)
    return _sorted(squares, numbers, size)


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
