"""Searching one snapshot: postings in the order of their centroids, the best rows again from the exact copy."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._jit import frozen
from ..topk import TopK
from .entries import EntryFormat
from .geometry import Geometry
from .kernels import ENTRIES, HEAP_SIZE, SCORED, SEEN, exact_scores, rehash, scan
from .options import Effort
from .state import State
from .storage import DataFile, VectorFile, plan

_NO_MASK: NDArray[np.bool_] = frozen(np.empty(0, np.bool_))
_LEAST_SEEN = 1 << 12

# With so few rows left by a filter their vectors are read outright: postings would be full of others.
_DIRECT_ROWS = 512


@dataclass(frozen=True, slots=True)
class SpannStats:
    """How much work a search was."""

    postings_read: int
    entries_read: int
    rows_scored: int
    rows_rescored: int


class _Scratch(threading.local):
    """Buffers of a thread: postings on their way through, and the set of rows seen."""

    def __init__(self) -> None:
        self._buffer = np.empty(0, np.uint8)
        self._seen = np.empty(_LEAST_SEEN, np.uint32)

    def buffer(self, size: int) -> NDArray[np.uint8]:
        if len(self._buffer) < size:
            self._buffer = np.empty(-(-size // (1 << 18)) << 18, np.uint8)
        return self._buffer

    def seen(self) -> NDArray[np.uint32]:
        self._seen.fill(0)
        return self._seen

    def seen_with_room(self, seen: NDArray[np.uint32], used: int, more: int) -> NDArray[np.uint32]:
        size = len(seen)
        while size < 2 * (used + more):
            size *= 2
        if size == len(seen):
            return seen
        larger = np.zeros(size, np.uint32)
        rehash(frozen(seen), larger)
        if size <= 1 << 20:  # an exhaustive search does not leave its table behind
            self._seen = larger
        return larger


_scratch = _Scratch()


@dataclass(frozen=True, slots=True, eq=False)
class Searcher:
    """What a search needs beside a snapshot and a query."""

    geometry: Geometry
    entries: EntryFormat
    postings: DataFile
    vectors: VectorFile
    batch_bytes: int
    """Bytes of postings that are read before they are scored, at most (one posting always fits)."""

    def search(
        self, state: State, query: NDArray[np.float32], k: int, effort: Effort, allowed: NDArray[np.bool_] | None
    ) -> tuple[TopK, SpannStats]:
        """The best k of the rows that live and are allowed, for a prepared query, float32[d]."""
        if allowed is None:
            matching = state.n_live
        else:
            matching = int(np.count_nonzero(state.live & allowed))
            if matching <= max(_DIRECT_ROWS, k):
                rows = np.flatnonzero(state.live & allowed)
                return self.rank(query, rows, k), SpannStats(0, 0, 0, matching)
        wanted = min(k, matching)
        if wanted == 0:
            return TopK.empty(), SpannStats(0, 0, 0, 0)
        kept = effort.rescored or max(2 * k, k + 10)
        probe = _Probe(self, state, query, min(max(kept, wanted), matching), allowed)
        probe.run(effort, wanted)
        candidates = probe.rows[: probe.state[HEAP_SIZE]]
        stats = SpannStats(len(probe.read), int(probe.state[ENTRIES]), int(probe.state[SCORED]), len(candidates))
        return self.rank(query, candidates, k), stats

    def scores(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The scores of rows by the exact copy, in their order: float64[m]."""
        scores = np.empty(len(rows), np.float64)
        exact_scores(frozen(self.vectors.read(rows)), frozen(query), self.geometry.metric == "l2", scores)
        return scores

    def rank(self, query: NDArray[np.float32], rows: NDArray[np.int64], k: int) -> TopK:
        """The best k of `rows` by the exact copy: score descending, then row ascending."""
        best = TopK.empty()
        for start in range(0, len(rows), 1 << 14):
            part = np.sort(rows[start : start + (1 << 14)])
            scores = np.concatenate([best.scores, self.scores(query, part)])
            part = np.concatenate([best.rows, part])
            order = np.lexsort((part, -scores))[:k]
            best = TopK(part[order], scores[order])
        return best


class _Probe:
    """One search on its way through the postings."""

    def __init__(
        self, searcher: Searcher, state: State, query: NDArray[np.float32], kept: int, allowed: NDArray[np.bool_] | None
    ) -> None:
        self._searcher, self._snapshot = searcher, state
        self._query = frozen(query)
        self._routed = searcher.geometry.routed_queries(query[None, :])
        self._allowed = allowed
        self._integers, unit = searcher.entries.query(query)
        squared = searcher.geometry.metric == "l2"
        self._unit, self._lift = (2 * unit, 1.0) if squared else (unit, 0.0)
        self._seen = _scratch.seen()
        self._bits = np.empty(searcher.geometry.dimension, np.uint32)
        self._kept = kept
        self.rows = np.empty(kept, np.int64)
        self._scores = np.empty(kept, np.float32)
        self.state = np.zeros(4, np.int64)
        self.read: set[int] = set()

    def run(self, effort: Effort, wanted: int) -> None:
        """Read postings, nearest first: `effort.postings` of those that hold a row that may be returned, within
        `effort.ratio` of the nearest such posting; and further ones until `wanted` rows were found.
        """
        router = self._snapshot.router
        asked = min(effort.postings, router.n_live)
        productive = 0
        anchor: float | None = None
        while True:
            numbers, squares = router.nearest(self._routed, asked)
            complete = asked >= router.n_live
            near, distances = numbers[0], np.sqrt(squares[0].astype(np.float64))
            new = near >= 0
            if self.read:
                new &= np.array([number not in self.read for number in near.tolist()], np.bool_)
            if anchor is None and len(distances) and self._allowed is None:
                anchor = float(distances[0])
            open_ = self.state[HEAP_SIZE] < min(wanted, self._kept)
            bound = np.inf if anchor is None or np.isinf(effort.ratio) else effort.ratio * anchor
            inside = new & (distances <= bound)
            if not inside.any() and open_:
                inside = new  # too little was found within the ratio: go on beyond it
            found = self._scan(near[inside])
            useful = distances[inside][found > 0]
            productive += len(useful)
            if anchor is None and len(useful):
                anchor = float(useful[0])
            enough = productive >= effort.postings or (len(distances) > 0 and bool(distances[-1] > bound))
            if complete and not (new & ~inside).any():
                return
            if self.state[HEAP_SIZE] >= min(wanted, self._kept) and (enough or complete):
                return
            asked = min(max(2 * asked, 16), router.n_live)

    def _scan(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Score the postings of these numbers; how many rows of each may be returned, int64[m]."""
        searcher, snapshot = self._searcher, self._snapshot
        self.read.update(numbers.tolist())
        counts = snapshot.counts[numbers]
        lengths = counts * searcher.entries.entry_bytes
        found = np.zeros(len(numbers), np.int64)
        batches = (np.cumsum(lengths) - lengths) // max(1, searcher.batch_bytes)
        full = counts > 0
        for batch in range(int(batches[-1]) + 1 if len(batches) else 0):
            members = np.flatnonzero(full & (batches == batch)) if batches[-1] else np.flatnonzero(full)
            if not len(members):
                continue
            runs, places, size = plan(snapshot.pages[numbers[members]], lengths[members])
            buffer = _scratch.buffer(size)
            searcher.postings.read_runs(memoryview(buffer), runs)  # type: ignore[arg-type]
            found[members] = self._score(buffer[: len(buffer) // 4 * 4], places, counts[members])
        return found

    def _score(
        self, buffer: NDArray[np.uint8], places: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        self._seen = _scratch.seen_with_room(self._seen, int(self.state[SEEN]), int(counts.sum()))
        found = np.empty(len(places), np.int64)
        raw = frozen(buffer)
        scan(
            self._searcher.entries.kind,
            raw.view(np.uint32),
            raw.view(np.float32),
            raw.view(np.uint16),
            raw.view(np.int8),
            frozen(places),
            frozen(counts),
            self._searcher.entries.entry_bytes,
            frozen(self._integers),
            self._query,
            self._unit,
            self._lift,
            frozen(self._snapshot.versions),
            _NO_MASK if self._allowed is None else frozen(self._allowed),
            self._allowed is not None,
            self._seen,
            self._bits,
            self._bits.view(np.float32),
            self._kept,
            self._scores,
            self.rows,
            found,
            self.state,
        )
        return found
