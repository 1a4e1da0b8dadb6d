"""Kernels of the clustered index: scan postings, rescore rows, choose the postings of a vector.

An entry of a posting is `entry` bytes: u32 row, u32 version, f32 scale, f32 squared norm, then the codes (int8,
float16 or float32); a vector is about scale x codes. The scan ranks by `scale * <codes, query> * unit - lift * norm`,
which orders rows as their score does: `unit` is the worth of 1 in the query (twice that for L2), `lift` is 1 for L2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._jit import Integer, kernel, reordering_kernel

HEADER_BYTES = 16

INT8, FLOAT16, FLOAT32 = 0, 1, 2

# Places in the array `state` of a scan.
HEAP_SIZE, SEEN, ENTRIES, SCORED = 0, 1, 2, 3

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
def _dot_int8(codes: NDArray[np.int8], query: NDArray[np.int16]) -> float:
    # A slice of its own, like those of the other two: with an offset in the loop Numba tests each place for being
    # negative, and the loop is not vectorised (185 ns instead of 58 for 384 dimensions).
    total = np.int32(0)
    for j in range(len(query)):
        total += np.int32(codes[j]) * np.int32(query[j])
    return np.float32(total)  # type: ignore[return-value]


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
def scan(
    codec: int,
    words: NDArray[np.uint32],
    floats: NDArray[np.float32],
    halves: NDArray[np.uint16],
    codes: NDArray[np.int8],
    starts: NDArray[np.int64],
    counts: NDArray[np.int64],
    entry: int,
    integers: NDArray[np.int16],
    query: NDArray[np.float32],
    unit: float,
    lift: float,
    versions: NDArray[np.uint16],
    allowed: NDArray[np.bool_],
    filtered: bool,
    seen: NDArray[np.uint32],
    bits: NDArray[np.uint32],
    values: NDArray[np.float32],
    limit: int,
    scores: NDArray[np.float32],
    rows: NDArray[np.int64],
    found: NDArray[np.int64],
    state: NDArray[np.int64],
) -> None:
    """Offer every row of some postings that lives, is allowed and was not seen before to the heap of the best.

    words, floats, halves, codes: four views of the buffer that holds the postings; starts: int64[p], the byte in it
    where each begins, a multiple of four; counts: int64[p], its entries. found: int64[p], how many rows of each may
    be returned, seen before or not. seen: a set with room for all entries. state: see above; it goes on from call to
    call. Rows beyond `versions` (damage) are passed over.
    """
    mask = np.uint64(len(seen) - 1)
    for p in range(len(starts)):
        usable = 0
        for i in range(counts[p]):
            start = starts[p] + i * entry
            word = start // 4
            row = words[word]
            if row >= len(versions) or words[word + 1] != versions[row] or versions[row] & 1 == 0:
                continue
            if filtered and not allowed[row]:
                continue
            usable += 1
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
                dot = _dot_int8(codes[begin : begin + len(query)], integers)
            elif codec == FLOAT16:
                dot = _dot_float16(halves[begin // 2 : begin // 2 + len(query)], query, bits, values)
            else:
                dot = _dot_float32(floats[begin // 4 : begin // 4 + len(query)], query)
            score = np.float32(dot * floats[word + 2] * unit - lift * floats[word + 3])
            state[HEAP_SIZE] = _offer(score, np.int64(row), scores, rows, state[HEAP_SIZE], limit)  # type: ignore[arg-type]
            state[SCORED] += 1
        state[ENTRIES] += counts[p]
        found[p] = usable


@kernel
def exact_scores(
    vectors: NDArray[np.float32], query: NDArray[np.float32], squared_distance: bool, scores: NDArray[np.float64]
) -> None:
    """Inner products, or negative squared distances, of the rows of a matrix with a query, summed in order.

    In float64 and in order: the same on every machine, and equal vectors score equally.
    """
    for i in range(len(vectors)):
        total = 0.0
        if squared_distance:
            for j in range(len(query)):
                difference = np.float64(vectors[i, j]) - np.float64(query[j])
                total -= difference * difference
        else:
            for j in range(len(query)):
                total += np.float64(vectors[i, j]) * np.float64(query[j])
        scores[i] = total


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
