"""Which centroids are nearest: a graph over many of them, a comparison with all of few. Immutable.

The graph is faiss's HNSW (Malkov & Yashunin, TPAMI 2020). Centroids that came after it was built are compared one by
one until there are enough of them to join a copy of the graph; ones that are gone are passed over.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.index.jit import frozen

from .clustering import faiss_library, faiss_threads
from .kernels import nearest, nearest_by_codes
from .rotation import Rotation

_CHUNK = 2048
_CODES_FROM = 1024  # centroids from which on a query is compared with their codes first
_GRAPH_JOINS = 512  # centroids beside the graph before they join it


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
        """Deterministic: one thread inserts the points in order."""
        faiss = faiss_library()
        index = faiss.IndexHNSWFlat(points.shape[1], links)
        index.hnsw.efConstruction = effort
        with faiss_threads(1):
            index.add(points)
        return cls(index)

    @classmethod
    def load(cls, points: NDArray[np.float32], links: int, effort: int, stored: GraphLinks) -> Graph:
        """The graph of the same points that `links_of` took apart."""
        faiss = faiss_library()
        index = faiss.IndexHNSWFlat(points.shape[1], links)
        index.hnsw.efConstruction = effort
        faiss.downcast_index(index.storage).add(np.ascontiguousarray(points))
        index.ntotal = len(points)
        faiss.copy_array_to_vector(np.ascontiguousarray(stored.levels), index.hnsw.levels)
        faiss.copy_array_to_vector(np.ascontiguousarray(stored.offsets), index.hnsw.offsets)
        faiss.copy_array_to_vector(np.ascontiguousarray(stored.neighbors), index.hnsw.neighbors)
        index.hnsw.entry_point = stored.entry_point
        index.hnsw.max_level = stored.max_level
        return cls(index)

    def links_of(self) -> GraphLinks:
        faiss = faiss_library()
        hnsw = self._index.hnsw
        return GraphLinks(
            faiss.vector_to_array(hnsw.levels),
            faiss.vector_to_array(hnsw.offsets),
            faiss.vector_to_array(hnsw.neighbors),
            int(hnsw.entry_point),
            int(hnsw.max_level),
        )

    def with_points(self, points: NDArray[np.float32]) -> Graph:
        """A copy with more points."""
        faiss = faiss_library()
        index = faiss.clone_index(self._index)
        with faiss_threads(1):
            index.add(np.ascontiguousarray(points))
        return Graph(index)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def points(self) -> NDArray[np.float32]:
        faiss = faiss_library()
        flat = faiss.downcast_index(self._index.storage)
        view = faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d).reshape(flat.ntotal, flat.d)
        points: NDArray[np.float32] = view
        return points

    @property
    def nbytes(self) -> int:
        hnsw = self._index.hnsw
        links = 4 * hnsw.neighbors.size() + 8 * hnsw.offsets.size() + 4 * hnsw.levels.size()
        return int(links + 4 * self._index.ntotal * self._index.d)

    def search(self, queries: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        faiss = faiss_library()
        parameters = faiss.SearchParametersHNSW(efSearch=max(count + count // 2, 32))
        distances, found = self._index.search(np.ascontiguousarray(queries), count, params=parameters)
        return found, distances


@dataclass(frozen=True, slots=True)
class Router:
    """Centroids by number, and the way to the nearest of them."""

    dimension: int
    graph: Graph | None
    beside: NDArray[np.float32]
    """float32[e, d]: the centroids that are not in the graph, numbered after those in it."""
    dead: NDArray[np.bool_]
    """bool[c]: centroids that are gone."""
    _squares: NDArray[np.float32] = field(repr=False)
    _codes: NDArray[np.int8] = field(repr=False)
    """int8[e, d] where there is no graph and there are many: `beside` is about `_scales` x codes; otherwise empty. With
    a rotation only the first values along its axes."""
    _scales: NDArray[np.float32] = field(repr=False)
    rotation: Rotation | None
    n_live: int

    @classmethod
    def of(
        cls,
        dimension: int,
        graph: Graph | None,
        beside: NDArray[np.float32],
        dead: NDArray[np.bool_],
        rotation: Rotation | None = None,
    ) -> Router:
        squares = np.einsum("ij,ij->i", beside, beside)
        coded = beside if graph is None and len(beside) >= _CODES_FROM else beside[:0]
        if rotation is not None:
            coded = rotation.leading(coded)
        scales = np.maximum(np.abs(coded).max(axis=1, initial=0) / np.float32(127), np.float32(1e-38))
        codes = np.rint(coded / scales[:, None]).astype(np.int8)
        return cls(
            dimension,
            graph,
            frozen(beside),
            frozen(dead),
            squares,
            frozen(codes),
            frozen(scales),
            rotation,
            len(dead) - int(np.count_nonzero(dead)),
        )

    @classmethod
    def build(
        cls,
        centroids: NDArray[np.float32],
        *,
        graph_from: int,
        links: int,
        effort: int,
        rotation: Rotation | None = None,
    ) -> Router:
        """A router over float32[c, d]."""
        dimension = centroids.shape[1]
        dead = np.zeros(len(centroids), np.bool_)
        if len(centroids) < graph_from:
            return cls.of(dimension, None, centroids, dead, rotation)
        graph = Graph.build(centroids, links, effort)
        return cls.of(dimension, graph, np.empty((0, dimension), np.float32), dead, rotation)

    def __len__(self) -> int:
        return len(self.dead)

    @property
    def nbytes(self) -> int:
        """Bytes of centroids, graph, axes and marks in memory."""
        tables = (self.beside, self._squares, self._codes, self._scales, self.dead)
        apart = sum(part.nbytes for part in (self.graph, self.rotation) if part is not None)
        return apart + sum(table.nbytes for table in tables)

    @property
    def n_graph(self) -> int:
        return len(self.graph) if self.graph else 0

    def centroids(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """The centroids of these numbers, float32[m, d]."""
        inside = self.n_graph
        if self.graph is None:
            return self.beside[numbers]
        found = np.empty((len(numbers), self.dimension), np.float32)
        old = numbers < inside
        found[old] = self.graph.points[numbers[old]]
        found[~old] = self.beside[numbers[~old] - inside]
        return found

    def all_centroids(self) -> NDArray[np.float32]:
        """float32[c, d], the dead ones too; a copy where there are some in and some beside the graph."""
        if self.graph is None:
            return self.beside
        return np.concatenate([self.graph.points, self.beside]) if len(self.beside) else self.graph.points

    def with_centroids(self, centroids: NDArray[np.float32], gone: NDArray[np.int64]) -> Router:
        """A router with more centroids at the end, and some that are gone."""
        dead = np.concatenate([self.dead, np.zeros(len(centroids), np.bool_)])
        dead[gone] = True
        beside = np.concatenate([self.beside, centroids])
        if self.graph is not None and len(beside) >= _GRAPH_JOINS:
            empty = np.empty((0, self.dimension), np.float32)
            return Router.of(self.dimension, self.graph.with_points(beside), empty, dead, self.rotation)
        return Router.of(self.dimension, self.graph, beside, dead, self.rotation)

    def nearest(self, queries: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The `count` nearest living centroids of each query: numbers, int64[m, c], and squared distances.

        c is `count` or the number of living centroids; nearest first, then by number. -1 (and infinity) where a graph
        did not find so many. From half of the centroids on all are compared, so that none is missed.
        """
        count = min(count, self.n_live)
        if count == 0:
            return np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
        if self.graph is None and len(queries) == 1:
            numbers, squares = np.empty((1, count), np.int64), np.empty((1, count), np.float32)
            # As a part of the values says less than all of them, more candidates: among twice as many lie .999 of the
            # 128 nearest of 6,263 centroids.
            room = count + count // 2 + 16 if self.rotation is None else 2 * count + 16
            if 2 * room < len(self._codes):
                compared = queries[0]
                if self.rotation is not None:
                    compared = self.rotation.turned_query(compared, self.rotation.first)
                nearest_by_codes(
                    self._codes,
                    self._scales,
                    frozen(self._squares),
                    self.beside,
                    self.dead,
                    frozen(queries[0]),
                    frozen(compared),
                    np.empty(len(compared), np.int16),
                    room,
                    np.empty(len(self._codes), np.float32),
                    squares[0],
                    numbers[0],
                )
            else:
                nearest(self.beside, self.dead, frozen(queries[0]), squares[0], numbers[0])
            return numbers, squares
        if self.graph is None or 2 * count >= len(self):
            parts = [self._compare(queries[s : s + _CHUNK], count) for s in range(0, len(queries), _CHUNK)]
            if len(parts) == 1:
                return parts[0]
            return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
        gone = len(self) - self.n_live
        asked = min(count + min(gone, count // 2 + 8) if gone else count, self.n_graph)
        numbers, distances = self.graph.search(queries, asked)
        if gone == 0 and not len(self.beside):
            return numbers, distances
        distances[(numbers < 0) | self.dead[numbers]] = np.inf
        if len(self.beside):
            near = self._distances(queries, self.beside, self._squares)
            near[:, self.dead[self.n_graph :]] = np.inf
            inside = np.broadcast_to(np.arange(self.n_graph, len(self)), near.shape)
            numbers, distances = np.concatenate([numbers, inside], axis=1), np.concatenate([distances, near], axis=1)
        return _first(numbers, distances, count)

    def _compare(self, queries: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        distances = self._distances(queries, self.beside, self._squares)
        if self.graph is not None:
            points = self.graph.points
            squares = np.einsum("ij,ij->i", points, points)
            distances = np.concatenate([self._distances(queries, points, squares), distances], axis=1)
        distances[:, self.dead] = np.inf
        numbers = np.broadcast_to(np.arange(len(self)), distances.shape)
        if count * 4 < len(self):  # a cut first; ties at it are all kept
            cut = np.partition(distances, count - 1, axis=1)[:, count - 1].max()
            most = int((distances <= cut).sum(axis=1).max())
            if most * 2 < len(self):
                order = np.sort(np.argpartition(distances, most - 1, axis=1)[:, :most], axis=1)
                return _first(order, np.take_along_axis(distances, order, axis=1), count)
        return _first(numbers, distances, count)

    @staticmethod
    def _distances(
        queries: NDArray[np.float32], points: NDArray[np.float32], squares: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        own = np.einsum("ij,ij->i", queries, queries)
        distances: NDArray[np.float32] = squares - 2 * (queries @ points.T) + own[:, None]
        np.maximum(distances, 0, out=distances)
        return distances


def _first(
    numbers: NDArray[np.int64], distances: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The first `count` of each row by distance, then number (columns of equal distance come by number)."""
    order = np.argsort(distances, axis=1, kind="stable")[:, :count]
    distances = np.take_along_axis(distances, order, axis=1)
    numbers = np.where(np.isinf(distances), -1, np.take_along_axis(numbers, order, axis=1))
    return numbers, distances
