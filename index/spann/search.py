"""Searching one snapshot: postings in the order of their centroids, the best rows again from the exact copy."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexhound.index.dense.exact import exact_distances, exact_products
from lexhound.index.jit import frozen
from lexhound.index.topk import TopK

from .codec import EntryFormat
from .faults import major_faults
from .geometry import Geometry
from .int8_dot import coded
from .kernels import CROWDED, DONE, HEAP_SIZE, NEXT, SEEN, STATE_SIZE, rehash, scan
from .options import Effort
from .state import State
from .storage import DataFile, VectorFile

_NO_MASK: NDArray[np.bool_] = frozen(np.empty(0, np.bool_))
_LEAST_SEEN = 1 << 12

# With so few rows left by a filter their vectors are read outright: postings would be full of others.
_DIRECT_ROWS = 512


# The cosine of what a query and a row have beside their first values is at most so much, it is assumed. Over 200,000
# passages recall@10 was .956 with it and .958 with entries compared to their end.
_CLOSENESS = 0.5


@dataclass(frozen=True, slots=True)
class SpannStats:
    """How much work a search was."""

    postings_read: int
    entries_read: int
    rows_scored: int
    rows_rescored: int


class _Scratch(threading.local):
    """Memory of a thread: the set of rows seen, and which search last read a posting."""

    def __init__(self) -> None:
        self._seen = np.empty(_LEAST_SEEN, np.uint32)
        self._stamps = np.zeros(_LEAST_SEEN, np.uint32)
        self._stamp = 0

    def seen(self, expected: int) -> NDArray[np.uint32]:
        """An empty set with room for about so many rows."""
        size = _LEAST_SEEN
        while size < 2 * expected and size < 1 << 18:
            size *= 2
        if len(self._seen) < size:
            self._seen = np.empty(size, np.uint32)
        seen = self._seen[:size]
        seen.fill(0)
        return seen

    def seen_with_room(self, seen: NDArray[np.uint32], used: int, more: int) -> NDArray[np.uint32]:
        """The same set in more memory, which an exhaustive search does not leave behind."""
        size = len(seen)
        while size < 2 * (used + more):
            size *= 2
        larger = np.zeros(size, np.uint32)
        rehash(frozen(seen), larger)
        return larger

    def stamps(self, postings: int) -> tuple[NDArray[np.uint32], int]:
        """A table of postings, and a number that does not occur in it."""
        self._stamp += 1
        if len(self._stamps) < postings or self._stamp == 1 << 32:
            self._stamps = np.zeros(max(postings, len(self._stamps)), np.uint32)
            self._stamp = 1
        return self._stamps, self._stamp


_scratch = _Scratch()


class Searcher:
    """What a search needs beside a snapshot and a query."""

    __slots__ = ("_cold", "entries", "geometry", "postings", "vectors")

    def __init__(self, geometry: Geometry, entries: EntryFormat, postings: DataFile, vectors: VectorFile) -> None:
        self.geometry = geometry
        self.entries = entries
        self.postings = postings
        self.vectors = vectors
        # Whether the last search had to wait for the disk. Then the next one tells the system what it will read before
        # it begins; in a warm cache that would take a fifth of a search.
        self._cold = True

    def search(
        self, state: State, query: NDArray[np.float32], k: int, effort: Effort, allowed: NDArray[np.bool_] | None
    ) -> tuple[TopK, SpannStats]:
        """The best k of the rows that live and are allowed, for a prepared query, float32[d]."""
        rows, stats = self.candidates(state, query, k, effort, allowed)
        return self.rank(query, rows, k), stats

    def candidates(
        self, state: State, query: NDArray[np.float32], k: int, effort: Effort, allowed: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.int64], SpannStats]:
        """The rows among which the best k of those that live and are allowed should be: int64[m], in no order."""
        if allowed is None:
            matching = state.n_live
        else:
            passing = state.live & allowed
            matching = int(np.count_nonzero(passing))
            if matching <= max(_DIRECT_ROWS, k):
                return np.flatnonzero(passing), SpannStats(0, 0, 0, matching)
        wanted = min(k, matching)
        if wanted == 0:
            return np.empty(0, np.int64), SpannStats(0, 0, 0, 0)
        kept = effort.rescored or max(2 * k, k + 10)
        before = major_faults()
        rows, counters = self._probe(state, query, effort, wanted, min(max(kept, wanted), matching), allowed)
        self._cold = major_faults() > before
        _, _, entries, scored, _, read, _ = counters.tolist()
        return rows, SpannStats(read, entries, scored, len(rows))

    def scores(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The scores of rows by the exact copy, in their order: float64[m]."""
        scores = np.empty(len(rows), np.float64)
        words, stride, places = self.vectors.words(rows, announce=self._cold)
        of = exact_distances if self.geometry.metric == "l2" else exact_products
        of(words, stride, frozen(places), frozen(query.astype(np.float64)), scores)
        return scores

    def rank(self, query: NDArray[np.float32], rows: NDArray[np.int64], k: int) -> TopK:
        """The best k of `rows` by the exact copy: score descending, then row ascending."""
        if len(rows) <= 1 << 14:
            scores = self.scores(query, rows)
            order = np.lexsort((rows, -scores))[:k]
            return TopK(rows[order], scores[order])
        best = TopK.empty()
        for start in range(0, len(rows), 1 << 14):
            part = np.sort(rows[start : start + (1 << 14)])
            scores = np.concatenate([best.scores, self.scores(query, part)])
            part = np.concatenate([best.rows, part])
            order = np.lexsort((part, -scores))[:k]
            best = TopK(part[order], scores[order])
        return best

    def _probe(
        self,
        state: State,
        query: NDArray[np.float32],
        effort: Effort,
        wanted: int,
        kept: int,
        allowed: NDArray[np.bool_] | None,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Read postings, nearest first: `effort.postings` of those that hold a row that may be returned, within
        `effort.ratio` of the nearest such posting; and further ones until `wanted` rows were found. Returns the `kept`
        best rows, and what was counted.
        """
        router = state.router
        routed = self.geometry.routed_queries(query[None, :])
        asked = min(effort.postings, router.n_live)
        counters = np.zeros(STATE_SIZE, np.int64)
        rows, scores = np.empty(kept, np.int64), np.empty(kept, np.float32)
        bits = np.empty(self.geometry.dimension if self.entries.codec == "float16" else 0, np.uint32)
        dimension, rotation = self.geometry.dimension, self.entries.rotation
        short = np.empty(dimension, np.int16)
        first, margin = dimension, 0.0
        if rotation is None:
            unit = coded(frozen(query), short)
        else:
            turned = rotation.turned_query(query, dimension)
            unit = coded(frozen(turned), short)
            first, rest = rotation.first, turned[rotation.first :]
            margin = _CLOSENESS * rotation.rest * float(np.sqrt(rest @ rest))
        anchor = np.full(1, -1.0)
        seen = _scratch.seen(int(asked * state.mean_count))
        stamps, stamp = _scratch.stamps(len(router))
        words, floats, halves, codes = self.postings.views(state.end)
        frozen_query, mask = frozen(query), _NO_MASK if allowed is None else frozen(allowed)
        lift = 0.5 if self.geometry.metric == "l2" else 0.0
        while True:
            numbers, squares = router.nearest(routed, asked)
            order, distances = frozen(numbers[0]), frozen(squares[0])
            if self._cold:
                self._announce(state, order, distances, effort)
            counters[NEXT] = 0
            while True:
                status = scan(
                    self.entries.kind,
                    words,
                    floats,
                    halves,
                    codes,
                    state.starts,
                    state.counts,
                    self.entries.entry_bytes,
                    order,
                    distances,
                    frozen_query,
                    lift,
                    state.versions,
                    mask,
                    allowed is not None,
                    wanted,
                    effort.postings,
                    effort.ratio,
                    anchor,
                    stamps,
                    stamp,
                    seen,
                    frozen(short),
                    unit,
                    first,
                    margin,
                    bits,
                    bits.view(np.float32),
                    scores,
                    rows,
                    counters,
                )
                if status != CROWDED:
                    break
                posting = int(order[counters[NEXT]])
                seen = _scratch.seen_with_room(seen, int(counters[SEEN]), int(state.counts[posting]))
            if status == DONE or asked >= router.n_live:
                return rows[: counters[HEAP_SIZE]], counters
            asked = min(max(2 * asked, 16), router.n_live)

    def _announce(self, state: State, order: NDArray[np.int64], squares: NDArray[np.float32], effort: Effort) -> None:
        """Tell the system which postings will be read, so that the disk works on them together."""
        bound = np.inf if np.isinf(effort.ratio) else effort.ratio**2 * float(squares[:1].sum())
        near = order[(order >= 0) & (squares <= bound)]
        for posting in near[state.counts[near] > 0].tolist():
            length = int(state.counts[posting]) * self.entries.entry_bytes
            self.postings.announce(int(state.starts[posting]), length)
