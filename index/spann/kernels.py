"""Kernels of the clustered index: find centroids, scan postings, choose the postings of a vector.

An entry of a posting is `entry` bytes: u32 row, u32 version, f32 scale, f32 squared norm, then the codes (int8,
float16 or float32); a vector is about scale x codes. The scan ranks by `scale * <codes, query> - lift * norm`, which
orders rows as their score does: `lift` is 1/2 for L2 and 0 elsewhere. These sums are of 32 bits and in any order, as
they only choose; `exact` scores what was chosen.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexhound.index.jit import Integer, kernel, prefetch, reordering_kernel

from .int8_dot import coded, product

HEADER_BYTES = 16

INT8, FLOAT16, FLOAT32 = 0, 1, 2

# Places in the array `state` of a scan: rows kept; rows seen; entries read; rows scored; the next place in the order of
# postings; postings read; those of them that hold a row which may be returned.
HEAP_SIZE, SEEN, ENTRIES, SCORED, NEXT, READ, PRODUCTIVE = 0, 1, 2, 3, 4, 5, 6
STATE_SIZE = 7

# What a scan comes back with: it is through; it needs more centroids; it needs a larger set for the next posting.
DONE, EXHAUSTED, CROWDED = 0, 1, 2

_LINE = 64  # bytes of a line of the cache
_AHEAD = 6  # entries ahead of the one that is scored, whose first lines are asked for

_BINS = 1024  # in which candidates are counted by their scores

_HALF_BIAS = np.float32(2.0**112)  # between the exponents of float16 and float32


@kernel
def rehash(old: NDArray[np.uint32], table: NDArray[np.uint32]) -> None:
    """Put every row of a set into a larger one, of 2**n zeros. A row is kept as row + 1; 0 is free."""
    mask = np.uint64(len(table) - 1)
    for value in old:
        if value:
            place = (np.uint64(value) * np.uint64(0x9E3779B1) >> np.uint64(7)) & mask
            while table[place]:
                place = (place + np.uint64(1)) & mask
            table[place] = value


@kernel
def _offer(
    score: float, row: Integer, scores: NDArray[np.float32], rows: NDArray[np.int64], size: Integer, limit: Integer
) -> Integer:
    """Keep the best `limit` (score descending, row ascending) in a heap whose root is the worst; its new size."""
    if size < limit:
        at = size
        while at:
            above = (at - 1) // 2
            if scores[above] < score or (scores[above] == score and rows[above] > row):
                break
            scores[at], rows[at] = scores[above], rows[above]
            at = above
        scores[at], rows[at] = score, row
        return size + 1
    if score < scores[0] or (score == scores[0] and row > rows[0]):
        return size
    at = 0
    while 2 * at + 1 < limit:
        below = 2 * at + 1
        right = below + 1
        if right < limit and (
            scores[right] < scores[below] or (scores[right] == scores[below] and rows[right] > rows[below])
        ):
            below = right
        if score < scores[below] or (score == scores[below] and row > rows[below]):
            break
        scores[at], rows[at] = scores[below], rows[below]
        at = below
    scores[at], rows[at] = score, row
    return size


@reordering_kernel
def _dot_float32(codes: NDArray[np.float32], query: NDArray[np.float32]) -> float:
    total = np.float32(0)
    for j in range(len(query)):
        total += codes[j] * query[j]
    return total  # type: ignore[return-value]


@reordering_kernel
def _dot_float16(
    codes: NDArray[np.uint16],
    query: NDArray[np.float32],
    bits: NDArray[np.uint32],
    values: NDArray[np.float32],
) -> float:
    """`bits` and `values` are one piece of memory: what is written as bits is read as floats."""
    for j in range(len(query)):
        half = np.uint32(codes[j])
        bits[j] = (half & np.uint32(0x8000)) << np.uint32(16) | (half & np.uint32(0x7FFF)) << np.uint32(13)
    total = np.float32(0)
    for j in range(len(query)):
        total += values[j] * _HALF_BIAS * query[j]
    return total  # type: ignore[return-value]


@kernel
def prepare(query: NDArray[np.float32], unit: bool, prepared: NDArray[np.float32]) -> float:
    """Copy a query, where `unit` is set with length one unless it is zero; returns the square of its length before."""
    square = 0.0
    for j in range(len(query)):
        square += np.float64(query[j]) * np.float64(query[j])
    length = np.sqrt(square) if unit and square > 0 else 1.0
    for j in range(len(query)):
        prepared[j] = np.float64(query[j]) / length
    return square


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
    dead: NDArray[np.bool_],
    query: NDArray[np.float32],
    squares: NDArray[np.float32],
    numbers: NDArray[np.int64],
) -> int:
    """The points, float32[c, d], nearest to a query, of those that are not dead: how many were found.

    As many as there is room for in squares, float32[m], and numbers, int64[m]; nearest first, then by number.
    """
    limit = len(numbers)
    size: Integer = 0
    for i in range(len(points)):
        if not dead[i]:
            size = _offer(-_square(points[i], query), i, squares, numbers, size, limit)
    return _sorted(squares, numbers, size)


@kernel
def _bin_of(score: np.float32, least: np.float32, fineness: np.float32) -> Integer:
    place = (score - least) * fineness
    return np.int64(place) if 0 <= place < _BINS else 0  # what is no number, after an overflow, is in the lowest


@kernel
def nearest_by_codes(
    codes: NDArray[np.int8],
    scales: NDArray[np.float32],
    lengths: NDArray[np.float32],
    points: NDArray[np.float32],
    dead: NDArray[np.bool_],
    query: NDArray[np.float32],
    compared: NDArray[np.float32],
    short: NDArray[np.int16],
    wanted: int,
    near: NDArray[np.float32],
    squares: NDArray[np.float32],
    numbers: NDArray[np.int64],
) -> int:
    """`nearest` with a quarter of the memory read, or less: 8-bit codes choose candidates, and the points order these.

    codes: int8[c, e], a point is about scales[c] x codes; lengths: float32[c], its squared length. compared:
    float32[e], the query as codes are compared with it, which may be a part of it after a turn; short: int16[e], near:
    float32[c], written. wanted: candidates, at least.
    """
    unit = 2 * coded(compared, short)
    flat = codes.reshape(-1)
    least, most = np.float32(np.inf), np.float32(-np.inf)
    for i in range(len(codes)):
        if dead[i]:
            near[i] = -np.inf
            continue
        near[i] = unit * scales[i] * product(flat, i * len(short), short, 0, len(short)) - lengths[i]
        least, most = min(least, near[i]), max(most, near[i])
    # The candidates are the fullest bins from the top: a heap of hundreds takes longer than all the products.
    counts = np.zeros(_BINS, np.int64)
    fineness = np.float32((_BINS - 1) / (most - least)) if most > least else np.float32(0)
    for i in range(len(near)):
        if near[i] >= least:
            counts[_bin_of(near[i], least, fineness)] += 1
    lowest, found = _BINS - 1, counts[_BINS - 1]
    while lowest > 0 and found < wanted:
        lowest -= 1
        found += counts[lowest]
    limit = len(numbers)
    size: Integer = 0
    for i in range(len(near)):
        if near[i] >= least and _bin_of(near[i], least, fineness) >= lowest:
            size = _offer(-_square(points[i], query), i, squares, numbers, size, limit)
    return _sorted(squares, numbers, size)


@kernel
def scan(
    codec: int,
    words: NDArray[np.uint32],
    floats: NDArray[np.float32],
    halves: NDArray[np.uint16],
    codes: NDArray[np.int8],
    starts: NDArray[np.int64],
    counts: NDArray[np.int64],
    entry: int,
    order: NDArray[np.int64],
    squares: NDArray[np.float32],
    query: NDArray[np.float32],
    lift: float,
    versions: NDArray[np.uint16],
    allowed: NDArray[np.bool_],
    filtered: bool,
    wanted: int,
    most: int,
    ratio: float,
    anchor: NDArray[np.float64],
    stamps: NDArray[np.uint32],
    stamp: int,
    seen: NDArray[np.uint32],
    short: NDArray[np.int16],
    unit: float,
    first: int,
    margin: float,
    bits: NDArray[np.uint32],
    values: NDArray[np.float32],
    scores: NDArray[np.float32],
    rows: NDArray[np.int64],
    state: NDArray[np.int64],
) -> int:
    """Offer every row that lives, is allowed and was not seen before to the heap of the best, posting by posting.

    words, floats, halves, codes: four views of the file of postings; starts: int64[c], the byte in it where each
    begins, a multiple of four; counts: int64[c], its entries. order: int64[m], postings from the nearest on, -1 for
    none; squares: float32[m], their squared distances. They are read until `most` of them held a row that may be
    returned, or the distance is beyond `ratio` times that of the first that did (`anchor`, below 0 before there is
    one), but not before `wanted` rows were found. stamps: uint32[c], of the postings that have been read: `stamp`.
    short, unit: the query as integers, int16[d], turned as entries are, and what 1 of them stands for, for 8-bit
    entries. Of those only the `first` values are compared where even `margin` times its length more would not bring an
    entry into the full heap. seen: a set. scores, rows: the heap. state: see above; it goes on from call to call. Rows
    beyond `versions` (damage) are passed over. Returns DONE, EXHAUSTED or CROWDED.
    """
    mask = np.uint64(len(seen) - 1)
    limit = len(rows)
    narrow = ratio < np.inf  # times a distance of 0 infinity is no number
    while state[NEXT] < len(order):
        p = order[state[NEXT]]
        if p < 0 or stamps[p] == stamp:
            state[NEXT] += 1
            continue
        distance = np.sqrt(np.float64(squares[state[NEXT]]))
        if state[HEAP_SIZE] >= wanted and (
            state[PRODUCTIVE] >= most or (narrow and anchor[0] >= 0 and distance > ratio * anchor[0])
        ):
            return DONE
        if 2 * (state[SEEN] + counts[p]) > len(seen):
            return CROWDED
        stamps[p] = stamp
        state[NEXT] += 1
        usable = False
        for i in range(counts[p]):
            start = starts[p] + i * entry
            # The processor fetches by itself what is read from end to end, but of most entries only the head is.
            prefetch(codes, start + _AHEAD * entry)
            prefetch(codes, start + _AHEAD * entry + _LINE)
            prefetch(codes, start + _AHEAD * entry + 2 * _LINE)
            word = start // 4
            row = words[word]
            if row >= len(versions) or words[word + 1] != versions[row] or versions[row] & 1 == 0:
                continue
            if filtered and not allowed[row]:
                continue
            usable = True
            value = row + np.uint32(1)
            place = (np.uint64(value) * np.uint64(0x9E3779B1) >> np.uint64(7)) & mask
            while seen[place] and seen[place] != value:
                place = (place + np.uint64(1)) & mask
            if seen[place]:
                continue
            seen[place] = value
            state[SEEN] += 1
            begin = start + HEADER_BYTES
            if codec == INT8:
                total = product(codes, begin, short, 0, first)
                if first < len(short):
                    if state[HEAP_SIZE] == limit:
                        norm = floats[word + 3]
                        reach = total * unit * floats[word + 2] + margin * np.sqrt(norm) - lift * norm
                        if reach <= scores[0]:
                            state[SCORED] += 1
                            continue
                    total += product(codes, begin, short, first, len(short))
                dot: float = np.float32(total * unit)  # type: ignore[assignment]
            elif codec == FLOAT16:
                dot = _dot_float16(halves[begin // 2 : begin // 2 + len(query)], query, bits, values)
            else:
                dot = _dot_float32(floats[begin // 4 : begin // 4 + len(query)], query)
            score = np.float32(dot * floats[word + 2] - lift * floats[word + 3])
            state[HEAP_SIZE] = _offer(score, np.int64(row), scores, rows, state[HEAP_SIZE], limit)  # type: ignore[arg-type]
            state[SCORED] += 1
        state[ENTRIES] += counts[p]
        state[READ] += 1
        if usable:
            state[PRODUCTIVE] += 1
            if anchor[0] < 0:
                anchor[0] = distance
    if state[HEAP_SIZE] >= wanted and state[PRODUCTIVE] >= most:
        return DONE
    return EXHAUSTED


@reordering_kernel
def choose(
    candidates: NDArray[np.int64],
    distances: NDArray[np.float32],
    centroids: NDArray[np.float32],
    replicas: int,
    rng: float,
    closure: float,
    chosen: NDArray[np.int64],
) -> None:
    """The postings of each vector: closure assignment under the relative-neighbourhood rule ("SPANN", 3.2.1).

    candidates: int64[n, c], the nearest centroids of each vector, nearest first, -1 where there are no more.
    distances: float32[n, c], squared. A centroid is taken if it is within `closure` times the distance of the nearest
    (both squared), and if no centroid taken before is nearer to it than the vector is (`rng`, squared, times). The
    taken ones go to chosen: int64[n, replicas], -1 at the end.
    """
    for i in range(len(candidates)):
        taken = 0
        bound = closure * distances[i, 0]
        for c in range(candidates.shape[1]):
            one = candidates[i, c]
            if one < 0 or taken == replicas or (taken and distances[i, c] > bound):
                break
            apart = True
            for t in range(taken):
                other = chosen[i, t]
                square = np.float32(0)
                for j in range(centroids.shape[1]):
                    difference = centroids[one, j] - centroids[other, j]
                    square += difference * difference
                if rng * square < distances[i, c]:
                    apart = False
                    break
            if apart:
                chosen[i, taken] = one
                taken += 1
        for t in range(taken, replicas):
            chosen[i, t] = -1
