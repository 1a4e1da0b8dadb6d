"""The graph over centroids: faiss's HNSW (Malkov & Yashunin, TPAMI 2020), taken apart into arrays and put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.index.spann.clustering import faiss_library, faiss_threads


@dataclass(frozen=True, slots=True)
class GraphLinks:
    """The graph as arrays: faiss's `levels` (int32[n]), `offsets` (uint64[n + 1]), `neighbors` (int32), its entry."""

    levels: NDArray[np.int32]
    offsets: NDArray[np.uint64]
    neighbors: NDArray[np.int32]
    entry_point: int
    max_level: int


class Graph:
    """An HNSW graph over points, which faiss holds: `points` is a view of its memory."""

    def __init__(self, index: Any) -> None:
        self._index = index

    @classmethod
    def build(cls, points: NDArray[np.float32], links: int, effort: int) -> Graph:
        """Build the graph of float32[n, d]. Deterministic: one thread inserts the points in order."""
        index = _empty(points, links, effort)
        with faiss_threads(1):
            index.add(points)
        return cls(index)

    @classmethod
    def load(cls, points: NDArray[np.float32], links: int, effort: int, stored: GraphLinks) -> Graph:
        """Put the graph of the same points together again from its `links`."""
        faiss = faiss_library()
        index = _empty(points, links, effort)
        faiss.downcast_index(index.storage).add(np.ascontiguousarray(points))
        index.ntotal = len(points)
        faiss.copy_array_to_vector(np.ascontiguousarray(stored.levels), index.hnsw.levels)
        faiss.copy_array_to_vector(np.ascontiguousarray(stored.offsets), index.hnsw.offsets)
        faiss.copy_array_to_vector(np.ascontiguousarray(stored.neighbors), index.hnsw.neighbors)
        index.hnsw.entry_point = stored.entry_point
        index.hnsw.max_level = stored.max_level
        return cls(index)

    def links(self) -> GraphLinks:
        """Return the graph as arrays."""
        faiss = faiss_library()
        hnsw = self._index.hnsw
        return GraphLinks(
            faiss.vector_to_array(hnsw.levels),
            faiss.vector_to_array(hnsw.offsets),
            faiss.vector_to_array(hnsw.neighbors),
            int(hnsw.entry_point),
            int(hnsw.max_level),
        )

    @property
    def points(self) -> NDArray[np.float32]:
        """The points, float32[n, d]: a view of the graph's memory."""
        faiss = faiss_library()
        flat = faiss.downcast_index(self._index.storage)
        view = faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d).reshape(flat.ntotal, flat.d)
        points: NDArray[np.float32] = view
        return points

    @property
    def nbytes(self) -> int:
        """Bytes of points and links in memory."""
        hnsw = self._index.hnsw
        links = 4 * hnsw.neighbors.size() + 8 * hnsw.offsets.size() + 4 * hnsw.levels.size()
        return int(links + 4 * self._index.ntotal * self._index.d)

    def search(self, queries: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the `count` nearest points of each query, -1 where the graph finds fewer, and squared distances."""
        faiss = faiss_library()
        parameters = faiss.SearchParametersHNSW(efSearch=max(count + count // 2, 32))
        distances, numbers = self._index.search(np.ascontiguousarray(queries), count, params=parameters)
        return numbers, distances


def _empty(points: NDArray[np.float32], links: int, effort: int) -> Any:
    index = faiss_library().IndexHNSWFlat(points.shape[1], links)
    index.hnsw.efConstruction = effort
    return index
