"""Search: postings in the order of their centroids, the best rows of their codes."""

from __future__ import annotations

import threading
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexhound.index.jit import frozen
from lexhound.index.spann.codec import PostingCodec
from lexhound.index.spann.geometry import Geometry
from lexhound.index.spann.int8_dot import coded
from lexhound.index.spann.kernels import (
    CODES,
    CROWDED,
    DONE,
    HEAP_SIZE,
    N_COUNTERS,
    NEXT,
    READ,
    SCORED,
    SEEN,
    PostingCodes,
    ScanLimits,
    ScanQuery,
    ScanScratch,
    rehash,
    scan,
)
from lexhound.index.spann.options import Effort
from lexhound.index.spann.storage import PostingsFile, major_faults
from lexhound.index.spann.tables import Tables

_NO_MASK: NDArray[np.bool_] = frozen(np.empty(0, np.bool_))
_LEAST_SEEN = 1 << 12

# With so few rows left by a filter their vectors are read outright: postings would be full of others.
_DIRECT_ROWS = 512


# The cosine of what a query and a row have beside their first values is at most so much, it is assumed. Over 200,000
# passages recall@10 was .956 with it and .958 with codes compared to their end.
_CLOSENESS = 0.5


class SpannStats(NamedTuple):
    """The work of a search."""

    postings_read: int
    codes_read: int
    rows_scored: int
    rows_rescored: int


class _Scratch(threading.local):
    """Memory of a thread: the set of rows seen, and which search last read a posting."""

    def __init__(self) -> None:
        self._seen = np.empty(_LEAST_SEEN, np.uint32)
        self._stamps = np.zeros(_LEAST_SEEN, np.uint32)
        self._stamp = 0

    def seen(self, expected: int) -> NDArray[np.uint32]:
        """Return an empty set with room for about so many rows."""
        size = _LEAST_SEEN
        while size < 2 * expected and size < 1 << 18:
            size *= 2
        if len(self._seen) < size:
            self._seen = np.empty(size, np.uint32)
        seen = self._seen[:size]
        seen.fill(0)
        return seen

    def seen_with_room(self, seen: NDArray[np.uint32], used: int, more: int) -> NDArray[np.uint32]:
        """Return the same set in more memory, which an exhaustive search does not leave behind."""
        size = len(seen)
        while size < 2 * (used + more):
            size *= 2
        larger = np.zeros(size, np.uint32)
        rehash(frozen(seen), larger)
        return larger

    def stamps(self, postings: int) -> tuple[NDArray[np.uint32], int]:
        """Return a table of postings, and a number that does not occur in it."""
        self._stamp += 1
        if len(self._stamps) < postings or self._stamp == 1 << 32:
            self._stamps = np.zeros(max(postings, len(self._stamps)), np.uint32)
            self._stamp = 1
        return self._stamps, self._stamp


_scratch = _Scratch()


class Searcher:
    """The needs of a search beside a query: the tables of an index, and its file of postings."""

    __slots__ = ("_cold", "_postings", "codec", "geometry", "postings", "tables")

    def __init__(self, geometry: Geometry, codec: PostingCodec, tables: Tables, postings: PostingsFile) -> None:
        self.geometry = geometry
        self.codec = codec
        self.tables = tables
        self.postings = postings
        self._postings = tuple(
            PostingCodes(
                codec.kind,
                postings.words,
                postings.floats,
                postings.halves,
                postings.bytes,
                tables.starts,
                tables.counts,
                codec.code_bytes,
                tables.n_rows,
            )
        )
        # Whether the last search had to wait for the disk. Then the next one tells the system what it will read before
        # it begins; in a warm cache that would take a fifth of a search.
        self._cold = True

    def candidates(
        self, query: NDArray[np.float32], k: int, effort: Effort, allowed: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.int64], SpannStats]:
        """Return the rows among which the best k of those that are allowed should be, int64[m], in no order.

        query: float32[d]; allowed: bool[n_rows].
        """
        matching = self.tables.n_rows
        if allowed is not None:
            matching = int(np.count_nonzero(allowed))
            if matching <= max(_DIRECT_ROWS, k):
                return np.flatnonzero(allowed), SpannStats(0, 0, 0, matching)
        least_rows = min(k, matching)
        if least_rows == 0:
            return np.empty(0, np.int64), SpannStats(0, 0, 0, 0)
        rescored = min(max(effort.rescored or max(2 * k, k + 10), least_rows), matching)
        before = major_faults()
        rows, counters = self._probe(query, effort, least_rows, rescored, allowed)
        self._cold = major_faults() > before
        return rows, SpannStats(int(counters[READ]), int(counters[CODES]), int(counters[SCORED]), len(rows))

    def _probe(
        self,
        query: NDArray[np.float32],
        effort: Effort,
        least_rows: int,
        rescored: int,
        allowed: NDArray[np.bool_] | None,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Read postings, nearest first, as far as `ScanLimits` says; return the `rescored` best rows, and counters."""
        tables, centroids = self.tables, self.tables.centroids
        point = self.geometry.query_points(query[None, :])
        count = min(effort.postings, len(centroids))
        stamps, stamp = _scratch.stamps(len(centroids))
        seen = _scratch.seen(int(count * tables.mean_count))
        bits = np.empty(self.geometry.dimension if self.codec.codec == "float16" else 0, np.uint32)
        rows, scores = np.empty(rescored, np.int64), np.empty(rescored, np.float32)
        counters = np.zeros(N_COUNTERS, np.int64)
        anchor = np.full(1, -1.0)
        scratch = tuple(ScanScratch(stamps, stamp, anchor, bits, bits.view(np.float32), scores, rows, counters))
        coded_query = tuple(self._coded(query, allowed))
        limits = tuple(ScanLimits(least_rows, effort.postings, float(effort.ratio)))
        while True:
            numbers, distances = centroids.nearest(point, count)
            order, squares = frozen(numbers[0]), frozen(distances[0])
            if self._cold:
                self._announce(order, squares, effort)
            counters[NEXT] = 0
            while (status := scan(self._postings, order, squares, coded_query, limits, seen, scratch)) == CROWDED:
                posting = int(order[counters[NEXT]])
                seen = _scratch.seen_with_room(seen, int(counters[SEEN]), int(tables.counts[posting]))
            if status == DONE or count >= len(centroids):
                return rows[: counters[HEAP_SIZE]], counters
            count = min(max(2 * count, 16), len(centroids))

    def _coded(self, query: NDArray[np.float32], allowed: NDArray[np.bool_] | None) -> ScanQuery:
        """Return the query as codes are compared with it."""
        dimension, rotation = self.geometry.dimension, self.codec.rotation
        integers = np.empty(dimension, np.int16)
        first, margin = dimension, 0.0
        if rotation is None:
            unit = coded(frozen(query), integers)
        else:
            rotated = rotation.rotated_query(query, dimension)
            unit = coded(frozen(rotated), integers)
            first, rest = rotation.first, rotated[rotation.first :]
            margin = _CLOSENESS * rotation.rest * float(np.sqrt(rest @ rest))
        mask = _NO_MASK if allowed is None else frozen(allowed)
        return ScanQuery(frozen(query), frozen(integers), unit, first, margin, mask, allowed is not None)

    def _announce(self, order: NDArray[np.int64], squares: NDArray[np.float32], effort: Effort) -> None:
        """Tell the system which postings will be read, so that the disk works on them together."""
        bound = np.inf if np.isinf(effort.ratio) else effort.ratio**2 * float(squares[:1].sum())
        near = order[(order >= 0) & (squares <= bound)]
        for posting in near[self.tables.counts[near] > 0].tolist():
            length = int(self.tables.counts[posting]) * self.codec.code_bytes
            self.postings.announce(int(self.tables.starts[posting]), length)
