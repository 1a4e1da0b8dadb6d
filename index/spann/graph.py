"""A graph over centroids, for finding the nearest of many for every vector of a collection while an index is built.

faiss's HNSW (Malkov & Yashunin, TPAMI 2020). Searches compare sign codes of the centroids and need none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.index.spann.clustering import faiss_library, faiss_threads


class Graph:
    """An HNSW graph over points, which faiss holds."""

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
