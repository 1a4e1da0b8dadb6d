"""Documents without a dense vector: those whose text has no token.

They are kept as zeros, as every row of an index has a vector, and no search finds them: zeros would have the score 0,
which is more than that of what is unlike a query. Their score is 0 exactly, so they are looked for only where a search
has found such a score; then the rows of that part are told apart once.
"""

from __future__ import annotations

from threading import Lock
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from lexhound.index.dense.flat import VectorIndex
from lexhound.index.topk import SearchStats, TopK

_ROWS_AT_ONCE = 1 << 14


class PresentRows:
    """Which rows of each index have a vector, found when first asked for. Safe to call from several threads."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[VectorIndex, NDArray[np.bool_]] = WeakKeyDictionary()
        self._lock = Lock()

    def of(self, index: VectorIndex) -> NDArray[np.bool_]:
        """Return bool[n_rows], true where a row has a vector; reads all vectors the first time."""
        with self._lock:
            mask = self._known.get(index)
        if mask is None:
            mask = np.empty(index.n_rows, np.bool_)
            for start in range(0, index.n_rows, _ROWS_AT_ONCE):
                rows = np.arange(start, min(start + _ROWS_AT_ONCE, index.n_rows))
                mask[rows] = index.vectors_of(rows).any(axis=1)
            with self._lock:
                self._known[index] = mask
        return mask


present = PresentRows()


def has_vector(index: VectorIndex, rows: NDArray[np.int64], scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which of some scored rows have a vector: bool[len(rows)]."""
    present = np.ones(len(rows), np.bool_)
    doubtful = np.flatnonzero(scores == 0)
    if len(doubtful):
        present[doubtful] = index.vectors_of(rows[doubtful]).any(axis=1)
    return present


def search_present(
    index: VectorIndex,
    query: NDArray[np.float32],
    depth: int,
    allowed: NDArray[np.bool_] | None,
    recall: float | None,
) -> tuple[TopK, SearchStats]:
    """Search among the rows that have a vector (`VectorIndex.search_with_stats`); nothing for a query without one."""
    if not query.any():
        return TopK.empty(), SearchStats(0, 0)
    top, stats = index.search_with_stats(query, depth, allowed=allowed, recall=recall)
    if has_vector(index, top.rows, top.scores).all():
        return top, stats
    return index.search_with_stats(query, depth, allowed=_present(index, allowed), recall=recall)


def search_many_present(
    index: VectorIndex,
    queries: NDArray[np.float32],
    depth: int,
    allowed: NDArray[np.bool_] | None,
    recall: float | None,
    threads: int | None,
) -> list[TopK]:
    """Return the same of many queries, float32[m, width]."""
    rankings = [TopK.empty()] * len(queries)
    queries_left = np.flatnonzero(queries.any(axis=1))
    mask = allowed
    for _ in range(2):
        if not len(queries_left):
            break
        tops = index.search_many(queries[queries_left], depth, allowed=mask, recall=recall, threads=threads)
        again = []
        for query, top in zip(queries_left.tolist(), tops, strict=True):
            rankings[query] = top
            if mask is allowed and not has_vector(index, top.rows, top.scores).all():
                again.append(query)
        queries_left = np.array(again, np.int64)
        if len(queries_left):
            mask = _present(index, allowed)
    return rankings


def _present(index: VectorIndex, allowed: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    rows = present.of(index)
    return rows if allowed is None else rows & allowed
