"""Kernels of the clustered index that scan postings.

A code of a posting is `code_bytes` long: u32 row, u32 version, f32 scale, f32 squared norm, then the values (int8,
float16 or float32); a vector is about scale x values. The scan ranks by `scale * <values, query>`. These sums are of 32
bits and in any order, as they only choose; `dense.exact` scores the chosen rows.

Kernels that are called from Python take plain tuples, of which they make named ones: Numba finds the type of a named
tuple in Python, which takes more than a microsecond a call, that of a plain one at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexhound.index.jit import Integer, kernel, prefetch, reordering_kernel
from lexhound.index.spann.int8_dot import product

HEADER_BYTES = 16

INT8, FLOAT16, FLOAT32 = 0, 1, 2

# Places in the counters of a scan: rows in the heap; rows seen; codes read; rows scored; the next place in the order of
# postings; postings read; those of them that hold a row which may be returned.
HEAP_SIZE, SEEN, CODES, SCORED, NEXT, READ, PRODUCTIVE = 0, 1, 2, 3, 4, 5, 6
N_COUNTERS = 7

# What a scan comes back with: it is through; it needs more centroids; it needs a larger set for the next posting.
DONE, EXHAUSTED, CROWDED = 0, 1, 2

_LINE = 64  # bytes of a line of the cache
_AHEAD = 6  # codes ahead of the one that is scored, whose first lines are asked for

_HALF_BIAS = np.float32(2.0**112)  # between the exponents of float16 and float32


@kernel
def rehash(old: NDArray[np.uint32], table: NDArray[np.uint32]) -> None:
    """Put every row of a set into a larger one, of 2**n zeros. A row is kept as row + 1; 0 is free."""
    mask = np.uint64(len(table) - 1)
    for value in old:
        if value:
            slot = (np.uint64(value) * np.uint64(0x9E3779B1) >> np.uint64(7)) & mask
            while table[slot]:
                slot = (slot + np.uint64(1)) & mask
            table[slot] = value


@kernel
def offer(
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
    """Return the product. `bits` and `values` are one piece of memory: what is written as bits is read as floats."""
    for j in range(len(query)):
        half = np.uint32(codes[j])
        bits[j] = (half & np.uint32(0x8000)) << np.uint32(16) | (half & np.uint32(0x7FFF)) << np.uint32(13)
    total = np.float32(0)
    for j in range(len(query)):
        total += values[j] * _HALF_BIAS * query[j]
    return total  # type: ignore[return-value]


class PostingCodes(NamedTuple):
    """The file of postings and where they lie in it.

    kind: the codec. words, floats, halves, bytes: four views of the file; starts: int64[c], the byte in it where each
    posting begins, a multiple of four; counts: int64[c], its codes, of `code_bytes` each; rows are below n_rows.
    """

    kind: int
    words: NDArray[np.uint32]
    floats: NDArray[np.float32]
    halves: NDArray[np.uint16]
    bytes: NDArray[np.int8]
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    code_bytes: int
    n_rows: int


class ScanQuery(NamedTuple):
    """A query as codes are compared with it.

    values: float32[d]. For 8-bit codes: integers, int16[d], the query rotated as codes are, an integer of 1 standing
    for `unit`; only the `first` values are compared where even `margin` times its length more would not bring a code
    into the full heap. allowed: bool[n_rows], read only when `filtered`.
    """

    values: NDArray[np.float32]
    integers: NDArray[np.int16]
    unit: float
    first: int
    margin: float
    allowed: NDArray[np.bool_]
    filtered: bool


class ScanLimits(NamedTuple):
    """Limits of how far postings are read.

    Until `postings` of them held a row that may be returned, or the distance is beyond `ratio` times that of the first
    that did, but not before `least_rows` rows were found.
    """

    least_rows: int
    postings: int
    ratio: float


class ScanScratch(NamedTuple):
    """The arrays that a scan writes, and goes on with from call to call.

    stamps: uint32[c], of the postings that have been read: `stamp`. anchor: float64[1], the distance of the first
    posting that held a row which may be returned, below 0 before there is one. bits, values: one piece of memory,
    uint32[d] and float32[d], for float16 codes. scores, rows: the heap. counters: int64[7], see above.
    """

    stamps: NDArray[np.uint32]
    stamp: int
    anchor: NDArray[np.float64]
    bits: NDArray[np.uint32]
    values: NDArray[np.float32]
    scores: NDArray[np.float32]
    rows: NDArray[np.int64]
    counters: NDArray[np.int64]


@kernel
def _scan_posting(
    posting: Integer, codes: PostingCodes, query: ScanQuery, seen: NDArray[np.uint32], scratch: ScanScratch
) -> bool:
    """Offer the rows of a posting to the heap; returns whether one of them may be returned."""
    # Not in the loop: Numba counts the users of an array whenever it is taken out of a tuple.
    words, floats, halves, values8 = codes.words, codes.floats, codes.halves, codes.bytes
    kind, first_byte, step = codes.kind, codes.starts[posting], codes.code_bytes
    vector, integers, unit, first, margin = query.values, query.integers, query.unit, query.first, query.margin
    allowed, filtered, n_rows = query.allowed, query.filtered, codes.n_rows
    counters, scores, rows, bits, values = (
        scratch.counters, scratch.scores, scratch.rows, scratch.bits, scratch.values,
    )  # fmt: skip
    mask = np.uint64(len(seen) - 1)
    limit = len(rows)
    usable = False
    for i in range(codes.counts[posting]):
        start = first_byte + i * step
        # The processor fetches by itself what is read from end to end, but of most codes only the head is.
        prefetch(values8, start + _AHEAD * step)
        prefetch(values8, start + _AHEAD * step + _LINE)
        prefetch(values8, start + _AHEAD * step + 2 * _LINE)
        word = start // 4
        row = words[word]
        if row >= n_rows or (filtered and not allowed[row]):
            continue
        usable = True
        value = row + np.uint32(1)
        slot = (np.uint64(value) * np.uint64(0x9E3779B1) >> np.uint64(7)) & mask
        while seen[slot] and seen[slot] != value:
            slot = (slot + np.uint64(1)) & mask
        if seen[slot]:
            continue
        seen[slot] = value
        counters[SEEN] += 1
        begin = start + HEADER_BYTES
        if kind == INT8:
            total = product(values8, begin, integers, 0, first)
            if first < len(integers):
                if counters[HEAP_SIZE] == limit:
                    reach = total * unit * floats[word + 2] + margin * np.sqrt(floats[word + 3])
                    if reach <= scores[0]:
                        counters[SCORED] += 1
                        continue
                total += product(values8, begin, integers, first, len(integers))
            dot: float = np.float32(total * unit)  # type: ignore[assignment]
        elif kind == FLOAT16:
            dot = _dot_float16(halves[begin // 2 : begin // 2 + len(vector)], vector, bits, values)
        else:
            dot = _dot_float32(floats[begin // 4 : begin // 4 + len(vector)], vector)
        score = np.float32(dot * floats[word + 2])
        counters[HEAP_SIZE] = offer(score, np.int64(row), scores, rows, counters[HEAP_SIZE], limit)  # type: ignore[arg-type]
        counters[SCORED] += 1
    return usable


@kernel
def scan(
    posting_codes: tuple[Any, ...],
    order: NDArray[np.int64],
    squares: NDArray[np.float32],
    scan_query: tuple[Any, ...],
    scan_limits: tuple[Any, ...],
    seen: NDArray[np.uint32],
    scan_scratch: tuple[Any, ...],
) -> int:
    """Offer every row that is allowed and was not seen before to the heap of the best, posting by posting.

    The fields of `PostingCodes`, `ScanQuery`, `ScanLimits` and `ScanScratch`. order: int64[m], postings from the
    nearest on, -1 for none; squares: float32[m], their squared distances. seen: a set, see `rehash`. Rows from `n_rows`
    on, which only a damaged file has, are passed over. Returns DONE, EXHAUSTED or CROWDED.
    """
    codes, query = PostingCodes(*posting_codes), ScanQuery(*scan_query)
    limits, scratch = ScanLimits(*scan_limits), ScanScratch(*scan_scratch)
    counters, anchor = scratch.counters, scratch.anchor
    narrow = limits.ratio < np.inf  # times a distance of 0 infinity is not a number
    while counters[NEXT] < len(order):
        posting = order[counters[NEXT]]
        if posting < 0 or scratch.stamps[posting] == scratch.stamp:
            counters[NEXT] += 1
            continue
        distance = np.sqrt(np.float64(squares[counters[NEXT]]))
        if counters[HEAP_SIZE] >= limits.least_rows and (
            counters[PRODUCTIVE] >= limits.postings
            or (narrow and anchor[0] >= 0 and distance > limits.ratio * anchor[0])
        ):
            return DONE
        if 2 * (counters[SEEN] + codes.counts[posting]) > len(seen):
            return CROWDED
        scratch.stamps[posting] = scratch.stamp
        counters[NEXT] += 1
        usable = _scan_posting(posting, codes, query, seen, scratch)
        counters[CODES] += codes.counts[posting]
        counters[READ] += 1
        if usable:
            counters[PRODUCTIVE] += 1
            if anchor[0] < 0:
                anchor[0] = distance
    if counters[HEAP_SIZE] >= limits.least_rows and counters[PRODUCTIVE] >= limits.postings:
        return DONE
    return EXHAUSTED
