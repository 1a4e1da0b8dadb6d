"""Search: postings in the order of their centroids, the best rows of their codes."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexhound.index.dense.flat import flat_words
from lexhound.index.jit import frozen
from lexhound.index.spann.block_sums import BLOCK
from lexhound.index.spann.geometry import Geometry
from lexhound.index.spann.kernels import (
    BLOCKS,
    CODES,
    CROWDED,
    DONE,
    HEAP_SIZE,
    N_COUNTERS,
    NEXT,
    OPENED,
    READ,
    Postings,
    ScanLimits,
    ScanScratch,
    distances,
    likely_rows,
    rehash,
    scan,
)
from lexhound.index.spann.options import Effort
from lexhound.index.spann.rotated_query import RotatedQuery
from lexhound.index.spann.sign_codes import SignCodec
from lexhound.index.spann.storage import PostingsFile, VectorsFile, major_faults
from lexhound.index.spann.tables import Tables

_NO_MASK: NDArray[np.bool_] = frozen(np.empty(0, np.bool_))
_LEAST_SEEN = 1 << 12

# With so few rows left by a filter their vectors are read outright: postings would be full of others.
_DIRECT_ROWS = 512

_LIKELY = 2  # times as many estimates as rows are kept say, before the disk is asked, which vectors will be read
_OPENED = 10  # times as many vectors as are kept are read, or fewer
_SPARE = 4  # rows beyond k that are scored again in float64: float32 may have them in another order


class SpannStats(NamedTuple):
    """The work of a search: postings, codes in them, and vectors that it read, and the bytes of codes and vectors."""

    postings_read: int
    codes_read: int
    vectors_read: int
    bytes_read: int


class _Scratch(threading.local):
    """Memory of a thread: the set of rows seen, and which search last read a posting."""

    def __init__(self) -> None:
        self._seen = np.empty(_LEAST_SEEN, np.uint32)
        self._stamps = np.zeros(_LEAST_SEEN, np.uint32)
        self._stamp = 0

    def seen(self, rows: int) -> NDArray[np.uint32]:
        """Return an empty set with room for so many rows, or for as many as are kept between searches."""
        size = _LEAST_SEEN
        while size < 2 * rows and size < 1 << 16:
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
    """The needs of a search beside a query: the tables of an index, its file of postings, and the vectors."""

    __slots__ = (
        "_cold",
        "_longest",
        "_n_rows",
        "_postings",
        "_vector_bytes",
        "_vectors",
        "codec",
        "geometry",
        "postings",
        "tables",
    )

    def __init__(self, geometry: Geometry, tables: Tables, postings: PostingsFile, vectors: VectorsFile) -> None:
        self.geometry = geometry
        self.codec = SignCodec(geometry.dimension)
        self.tables = tables
        self.postings = postings
        self._n_rows = len(vectors.scattered)
        self._vectors = vectors
        self._vector_bytes = 4 * geometry.dimension
        self._longest = -(-int(tables.counts.max(initial=0)) // BLOCK) * BLOCK
        centroids = tables.centroids
        self._postings = tuple(
            Postings(
                postings.bytes,
                postings.words,
                postings.floats,
                tables.starts,
                tables.counts,
                self.codec.block_bytes,
                frozen(centroids.points).reshape(-1),
                centroids.squares,
                centroids.lengths,
                *flat_words(vectors.scattered),
                len(vectors.scattered),
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
        matching = self._n_rows
        if allowed is not None:
            matching = int(np.count_nonzero(allowed))
            if matching <= max(_DIRECT_ROWS, k):
                return np.flatnonzero(allowed), SpannStats(0, 0, matching, matching * self._vector_bytes)
        least_rows = min(k, matching)
        if least_rows == 0:
            return np.empty(0, np.int64), SpannStats(0, 0, 0, 0)
        before = major_faults()
        rows, counters = self._probe(query, effort, least_rows, min(k + _SPARE, matching), allowed)
        self._cold = major_faults() > before
        postings, codes, blocks, vectors = counters[[READ, CODES, BLOCKS, OPENED]].tolist()
        size = blocks * self.codec.block_bytes + vectors * self._vector_bytes
        return rows, SpannStats(postings, codes, vectors, size)

    def _probe(
        self,
        query: NDArray[np.float32],
        effort: Effort,
        least_rows: int,
        kept: int,
        allowed: NDArray[np.bool_] | None,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Read postings, nearest first, as far as `ScanLimits` says; return the `kept` best rows, and counters."""
        tables, centroids = self.tables, self.tables.centroids
        turned = RotatedQuery.of(query, self.geometry, centroids.rotation)
        scanned = self._asked(turned, effort.doubt, allowed)
        count = min(effort.postings, len(centroids))
        stamps, stamp = _scratch.stamps(len(centroids))
        seen = _scratch.seen(_OPENED * kept)
        rows, scores = np.empty(kept, np.int64), np.empty(kept, np.float32)
        counters = np.zeros(N_COUNTERS, np.int64)
        anchor = np.full(1, -1.0)
        waiting, bounds = np.empty(self._longest, np.uint32), np.empty(self._longest, np.float32)
        scratch = tuple(ScanScratch(stamps, stamp, anchor, scores, rows, counters, waiting, bounds))
        limits = tuple(ScanLimits(least_rows, effort.postings, float(effort.ratio)))
        while True:
            order = frozen(centroids.nearest_to(turned, count))
            if self._cold:
                self._announce(order, effort, scanned, kept)
            counters[NEXT] = 0
            while (status := scan(self._postings, order, scanned, limits, seen, scratch)) == CROWDED:
                posting = int(order[counters[NEXT]])
                seen = _scratch.seen_with_room(seen, int(counters[OPENED]), int(tables.counts[posting]))
            if status == DONE or count >= len(centroids):
                return rows[: counters[HEAP_SIZE]], counters
            count = min(max(2 * count, 16), len(centroids))

    def order_of(self, query: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the first `count` postings, int64[c], in the order of a search, and their distances, float64[c]."""
        turned = RotatedQuery.of(query, self.geometry, self.tables.centroids.rotation)
        order = self.tables.centroids.nearest_to(turned, count)
        return order, distances(self._postings, frozen(order), self._asked(turned, 0.0, None))

    def _asked(self, query: RotatedQuery, doubt: float, allowed: NDArray[np.bool_] | None) -> tuple[Any, ...]:
        """Return the fields of `ScanQuery`."""
        return (
            query.values,
            query.norm,
            query.tables,
            query.unit,
            query.offset,
            self.geometry.scale,
            float(doubt),
            _NO_MASK if allowed is None else frozen(allowed),
            allowed is not None,
        )

    def _announce(self, order: NDArray[np.int64], effort: Effort, query: tuple[Any, ...], kept: int) -> None:
        """Tell the system which postings will be read, and then of which rows the vectors, so that the disk works on
        them together."""
        apart = distances(self._postings, order, query)
        order = order[(self.tables.counts[order] > 0) & (apart <= effort.ratio * max(apart[:1].sum(), 1e-30))]
        self.postings.announce(self.tables.starts[order], self.tables.ends[order])
        rows = np.empty(int(self.tables.counts[order].sum()), np.int64)
        best = np.empty(_LIKELY * kept, np.float32)  # some rows are there twice, which the scan knows
        found = np.unique(rows[: likely_rows(self._postings, frozen(order), query, best, rows)])
        self._vectors.announce(found[found < self._n_rows])
