"""Kernels of the clustered index that scan postings.

A posting is a list of blocks of sign codes (`sign_codes`). The scan estimates the score of every code, and an upper
bound of it; where that beats the worst of the best so far, the vector of the row is read and scored. These scores are
float32 sums in any order, as they only choose; `dense.exact` scores the chosen rows.

Kernels that are called from Python take plain tuples, of which they make named ones: Numba finds the type of a named
tuple in Python, which takes more than a microsecond a call, that of a plain one at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexhound.index.jit import Integer, kernel, prefetch, reordering_kernel
from lexhound.index.spann.block_sums import BLOCK, block_sums
from lexhound.index.spann.sign_codes import ERRORS, FACTORS, HEAD_BYTES, ROWS, SHIFTS

# Places in the counters of a scan: rows in the heap; rows whose vector was read; codes read; the next place in the
# order of postings; postings read; those of them that hold a row which may be returned; blocks of codes read.
HEAP_SIZE, OPENED, CODES, NEXT, READ, PRODUCTIVE, BLOCKS = 0, 1, 2, 3, 4, 5, 6
N_COUNTERS = 7

# What a scan comes back with: it is through; it needs more centroids; it needs a larger set for the next posting.
DONE, EXHAUSTED, CROWDED = 0, 1, 2

_LINE = 16  # floats of a line of the cache
_LINES_OF_NEXT = 40  # lines of the next posting that are asked for before this one is scanned
_LINES_AHEAD = 4  # lines of a vector that are asked for before it is scored; the processor fetches the others by itself


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
def dot(words: NDArray[np.float32], begin: Integer, query: NDArray[np.float32]) -> float:
    """Return the inner product of a query, float32[d], with the d values from `words[begin]` on, in any order."""
    # Of a place that may be negative for all that it knows, Numba makes no vector instructions.
    vector = words[begin : begin + len(query)]
    total = np.float32(0)
    for j in range(len(query)):
        total += vector[j] * query[j]
    return total  # type: ignore[return-value]


class Postings(NamedTuple):
    """The file of postings, where they lie in it, and the vectors of their rows.

    bytes, words, floats: three views of the file; starts: int64[c], the byte in it where each posting begins, a
    multiple of 32; counts: int64[c], its codes, in blocks of `block_bytes`. points: float32, flat; the centroid of
    posting p begins at `p * (d + 1)`; raised, lengths: float32[c], the squared lengths of the centroids with and
    without their last value (`geometry`). vectors: float32, flat; the vector of row r begins at `r * stride`; rows are
    below n_rows.
    """

    bytes: NDArray[np.uint8]
    words: NDArray[np.uint32]
    floats: NDArray[np.float32]
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    block_bytes: int
    points: NDArray[np.float32]
    raised: NDArray[np.float32]
    lengths: NDArray[np.float32]
    vectors: NDArray[np.float32]
    stride: int
    n_rows: int


class ScanQuery(NamedTuple):
    """A query as postings are compared with it.

    values: float32[d]; norm: its length; tables, unit, offset: see `block_sums.fill_tables`, of the rotated query.
    radius: that of the geometry. doubt: how many times its usual error an estimate may be too low; infinity: every
    vector is read. allowed: bool[n_rows], read only when `filtered`.
    """

    values: NDArray[np.float32]
    norm: float
    tables: NDArray[np.uint8]
    unit: float
    offset: float
    radius: float
    doubt: float
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
    posting that held a row which may be returned, below 0 before there is one. scores, rows: the heap. counters:
    int64[7], see above. waiting, bounds: uint32 and float32, as many as the longest posting has codes: the rows of a
    posting whose vectors are to be read, and the bounds of their scores.
    """

    stamps: NDArray[np.uint32]
    stamp: int
    anchor: NDArray[np.float64]
    scores: NDArray[np.float32]
    rows: NDArray[np.int64]
    counters: NDArray[np.int64]
    waiting: NDArray[np.uint32]
    bounds: NDArray[np.float32]


@kernel
def estimate(
    codes: NDArray[np.uint8],
    floats: NDArray[np.float32],
    block: Integer,
    tables: NDArray[np.uint8],
    terms: tuple[float, float, float, float],
    sums: NDArray[np.uint16],
    bounds: NDArray[np.float32],
) -> None:
    """Write the upper bounds of the scores of a block of codes, float32[32], that begins at byte `block`.

    terms: (unit, offset, <q, c>, doubt |q - c|). sums: uint16[32], written.
    """
    block_sums(codes, block + HEAD_BYTES, tables, sums)
    head = floats[block // 4 : block // 4 + HEAD_BYTES // 4]
    unit, offset = np.float32(terms[0]), np.float32(terms[1])
    base, reach = np.float32(terms[2]), np.float32(terms[3])
    for j in range(BLOCK):
        signs = unit * np.float32(sums[j]) + offset
        bounds[j] = base + head[FACTORS + j] * signs + head[SHIFTS + j] + reach * head[ERRORS + j]


@kernel
def _near(posting: Integer, postings: Postings, query: ScanQuery) -> tuple[float, float, float]:
    """Return the inner product of the query and the centroid of a posting, their distance, and that in the geometry."""
    base = np.float64(dot(postings.points, posting * (len(query.values) + 1), query.values))
    apart = query.norm**2 + np.float64(postings.lengths[posting]) - 2 * base
    scale = query.radius / query.norm if query.norm > 0 else 0.0  # in the geometry the query has the length `radius`
    square = (query.radius**2 if query.norm > 0 else 0.0) + np.float64(postings.raised[posting]) - 2 * scale * base
    return base, np.sqrt(max(0.0, apart)), np.sqrt(max(0.0, square))


@kernel
def _scan_posting(
    posting: Integer,
    near: tuple[float, float, float],
    postings: Postings,
    query: ScanQuery,
    seen: NDArray[np.uint32],
    scratch: ScanScratch,
    sums: NDArray[np.uint16],
) -> bool:
    """Offer the rows of a posting to the heap; returns whether one of them may be returned."""
    # Not in the loop: Numba counts the users of an array whenever it is taken out of a tuple.
    codes, words, floats, vectors = postings.bytes, postings.words, postings.floats, postings.vectors
    first, count, step = postings.starts[posting], postings.counts[posting], postings.block_bytes
    stride, n_rows, allowed, filtered = postings.stride, postings.n_rows, query.allowed, query.filtered
    counters, scores, rows = scratch.counters, scratch.scores, scratch.rows
    waiting, bounds, values = scratch.waiting, scratch.bounds, query.values
    mask, limit, exhaustive = np.uint64(len(seen) - 1), len(rows), query.doubt == np.inf
    terms = (query.unit, query.offset, near[0], 0.0 if exhaustive else query.doubt * near[1])
    usable = not filtered and count > 0
    found = 0
    for at in range(0, count, BLOCK):
        block = first + at // BLOCK * step
        full = counters[HEAP_SIZE] == limit
        least = scores[0]
        # The place for the bounds of this block is where the rows that wait end: at most as many as were looked at.
        estimate(codes, floats, block, query.tables, terms, sums, bounds[at : at + BLOCK])
        word = block // 4
        for j in range(min(BLOCK, count - at)):
            bound = bounds[at + j]
            if full and bound <= least and not exhaustive:
                continue
            row = words[word + ROWS + j]
            if row >= n_rows or (filtered and not allowed[row]):
                continue
            usable = True
            waiting[found], bounds[found] = row, bound
            found += 1
            for line in range(_LINES_AHEAD):
                prefetch(vectors, np.int64(row) * stride + line * _LINE)
        if not usable:  # a row below the bound may be returned, too
            for j in range(min(BLOCK, count - at)):
                row = words[word + ROWS + j]
                usable = usable or (row < n_rows and allowed[row])
    for i in range(found):
        row = waiting[i]
        if counters[HEAP_SIZE] == limit and bounds[i] <= scores[0] and not exhaustive:
            continue
        value = row + np.uint32(1)
        slot = (np.uint64(value) * np.uint64(0x9E3779B1) >> np.uint64(7)) & mask
        while seen[slot] and seen[slot] != value:
            slot = (slot + np.uint64(1)) & mask
        if seen[slot]:
            continue
        seen[slot] = value
        counters[OPENED] += 1
        score = dot(vectors, np.int64(row) * stride, values)
        counters[HEAP_SIZE] = offer(score, np.int64(row), scores, rows, counters[HEAP_SIZE], limit)
    return bool(usable)


@kernel
def scan(
    all_postings: tuple[Any, ...],
    order: NDArray[np.int64],
    scan_query: tuple[Any, ...],
    scan_limits: tuple[Any, ...],
    seen: NDArray[np.uint32],
    scan_scratch: tuple[Any, ...],
) -> int:
    """Offer every row that is allowed and was not seen before to the heap of the best, posting by posting.

    The fields of `Postings`, `ScanQuery`, `ScanLimits` and `ScanScratch`. order: int64[m], postings from the
    nearest on, or nearly so. seen: a set, see `rehash`. Rows from `n_rows` on, which only a damaged file has, are
    passed over. Returns DONE, EXHAUSTED or CROWDED.
    """
    postings, query = Postings(*all_postings), ScanQuery(*scan_query)
    limits, scratch = ScanLimits(*scan_limits), ScanScratch(*scan_scratch)
    # Into fields themselves nothing must be stored: where Numba inlines, such stores get lost
    # (findings/numba-inlined-overload-store.sh).
    counters, anchor = scratch.counters, scratch.anchor
    sums = np.empty(BLOCK, np.uint16)
    all_bytes, stamps, stamp = postings.bytes, scratch.stamps, scratch.stamp
    narrow = limits.ratio < np.inf  # times a distance of 0 infinity is not a number
    passed_over = False
    while counters[NEXT] < len(order):
        posting = order[counters[NEXT]]
        if stamps[posting] == stamp:
            counters[NEXT] += 1
            continue
        enough = counters[HEAP_SIZE] >= limits.least_rows
        if enough and counters[PRODUCTIVE] >= limits.postings:
            return DONE
        near = _near(posting, postings, query)
        if enough and narrow and anchor[0] >= 0 and near[2] > limits.ratio * anchor[0]:
            passed_over = True
            counters[NEXT] += 1
            continue
        if 2 * (counters[OPENED] + postings.counts[posting]) > len(seen):
            return CROWDED
        stamps[posting] = stamp
        counters[NEXT] += 1
        if counters[NEXT] < len(order):
            after = postings.starts[order[counters[NEXT]]]
            for line in range(_LINES_OF_NEXT):
                prefetch(all_bytes, after + 64 * line)
        usable = _scan_posting(posting, near, postings, query, seen, scratch, sums)
        counters[CODES] += postings.counts[posting]
        counters[BLOCKS] += -(-postings.counts[posting] // BLOCK)
        counters[READ] += 1
        if usable:
            counters[PRODUCTIVE] += 1
            if anchor[0] < 0:
                anchor[0] = near[2]
    if counters[HEAP_SIZE] >= limits.least_rows and (passed_over or counters[PRODUCTIVE] >= limits.postings):
        return DONE
    return EXHAUSTED


@kernel
def likely_rows(
    all_postings: tuple[Any, ...],
    order: NDArray[np.int64],
    scan_query: tuple[Any, ...],
    scores: NDArray[np.float32],
    rows: NDArray[np.int64],
) -> int:
    """Write the rows, int64[codes], whose vectors a scan will probably read, and return how many there are.

    It takes estimates for scores, and keeps the best of them in a heap: scores, float32[m]. order: int64[p], as for
    `scan`. No vector is read; a row may be there twice.
    """
    postings, query = Postings(*all_postings), ScanQuery(*scan_query)
    codes, words, floats, step = postings.bytes, postings.words, postings.floats, postings.block_bytes
    sums, bounds, plain = np.empty(BLOCK, np.uint16), np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    heap_rows = np.empty(len(scores), np.int64)
    size: Integer = np.int64(0)
    found = 0
    for posting in order:
        base, apart, _ = _near(posting, postings, query)
        reach = 0.0 if query.doubt == np.inf else query.doubt * apart
        for at in range(0, postings.counts[posting], BLOCK):
            block = postings.starts[posting] + at // BLOCK * step
            estimate(codes, floats, block, query.tables, (query.unit, query.offset, base, reach), sums, bounds)
            estimate(codes, floats, block, query.tables, (query.unit, query.offset, base, 0.0), sums, plain)
            for j in range(min(BLOCK, postings.counts[posting] - at)):
                row = np.int64(words[block // 4 + ROWS + j])
                if size < len(scores) or bounds[j] > scores[0]:
                    rows[found] = row
                    found += 1
                    size = offer(plain[j], row, scores, heap_rows, size, len(scores))
    return found


@kernel
def distances(
    all_postings: tuple[Any, ...], order: NDArray[np.int64], scan_query: tuple[Any, ...]
) -> NDArray[np.float64]:
    """Return the distances of postings' centroids in the geometry, as a scan has them: float64[m]."""
    postings, query = Postings(*all_postings), ScanQuery(*scan_query)
    apart = np.empty(len(order), np.float64)
    for i in range(len(order)):
        apart[i] = _near(order[i], postings, query)[2]
    return apart
