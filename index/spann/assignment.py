"""Rows of each posting: closure assignment of a whole collection, within the limit of a posting."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lexhound.core.progress import Pace, no_pace
from lexhound.index.jit import frozen
from lexhound.index.spann.centroid_kernels import choose
from lexhound.index.spann.clustering import faiss_library, faiss_threads, halves
from lexhound.index.spann.options import SpannOptions

_CHUNK = 1 << 14


class Nearest(Protocol):
    """Something that finds the nearest centroids: `CentroidIndex` or `Graph`."""

    def nearest(self, queries: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]: ...


class Graph:
    """A graph over many centroids: HNSW (Malkov & Yashunin, TPAMI 2020), which faiss holds. Searches need none."""

    def __init__(self, points: NDArray[np.float32], links: int, effort: int) -> None:
        """Build the graph of float32[n, d]. Deterministic: one thread inserts the points in order."""
        self._index: Any = faiss_library().IndexHNSWFlat(points.shape[1], links)
        self._index.hnsw.efConstruction = effort
        with faiss_threads(1):
            self._index.add(points)

    def nearest(self, queries: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the `count` nearest points of each query, -1 where the graph finds fewer, and squared distances."""
        faiss = faiss_library()
        parameters = faiss.SearchParametersHNSW(efSearch=max(count + count // 2, 32))
        distances, numbers = self._index.search(np.ascontiguousarray(queries), count, params=parameters)
        return numbers, distances


def assign(
    index: Nearest,
    centroids: NDArray[np.float32],
    points: NDArray[np.float32],
    options: SpannOptions,
    pace: Pace = no_pace,
) -> NDArray[np.int64]:
    """Return the postings of each point, nearest first, -1 behind them: int64[n, replicas].

    index: finds the nearest of the centroids, float32[c, d]. `pace` is told of points.
    """
    assigned = np.full((len(points), options.replicas), -1, np.int64)
    for start in range(0, len(points), _CHUNK):
        numbers, distances = index.nearest(points[start : start + _CHUNK], options.candidates)
        choose(
            frozen(numbers),
            frozen(distances),
            frozen(centroids),
            options.rng_factor**2,
            options.closure_ratio**2,
            assigned[start : start + _CHUNK],
        )
        pace(len(numbers))
    return assigned


def limit_postings(
    centroids: NDArray[np.float32], vectors: NDArray[np.float32], assigned: NDArray[np.int64], limit: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return centroids and assignment after no posting holds more than `limit` rows.

    A posting that is too long drops the farthest of those rows that have a nearer posting elsewhere; where even the
    rows that it is the nearest to are too many, it is halved.
    """
    members = np.bincount(assigned[assigned >= 0], minlength=len(centroids))
    if members.max(initial=0) <= limit:
        return centroids, assigned
    assigned = assigned.copy()
    groups = [centroids]
    total = len(centroids)
    order = np.argsort(assigned, axis=None, kind="stable")
    ends = np.searchsorted(assigned.reshape(-1)[order], np.arange(-1, len(centroids)), side="right")
    for number in np.flatnonzero(members > limit).tolist():
        rows, ranks = np.divmod(order[ends[number] : ends[number + 1]], assigned.shape[1])
        first = rows[ranks == 0]
        others, other_places = rows[ranks > 0], ranks[ranks > 0]
        room = max(0, limit - len(first))
        far = ((vectors[others] - centroids[number]) ** 2).sum(axis=1)
        dropped = np.lexsort((others, far))[room:]
        assigned[others[dropped], other_places[dropped]] = -1
        parts = [first]
        while any(len(part) > limit for part in parts):
            longest = max(range(len(parts)), key=lambda i: len(parts[i]))
            part = parts.pop(longest)
            second = halves(vectors[part])
            parts += [part[~second], part[second]]
        if len(parts) > 1:
            new = np.array([vectors[part].mean(axis=0) for part in parts], np.float32)
            groups[0] = groups[0].copy() if groups[0] is centroids else groups[0]
            groups[0][number] = new[0]
            for i, part in enumerate(parts[1:]):
                assigned[part, 0] = total + i
            groups.append(new[1:])
            total += len(new) - 1
    # Dropped ones leave gaps; the others move to the front, in their order.
    gaps = np.argsort(assigned < 0, axis=1, kind="stable")
    return np.concatenate(groups), np.take_along_axis(assigned, gaps, axis=1)
