"""The centroid index: which centroids are nearest, by a graph over many or a comparison with all of few. Immutable."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lexhound.index.jit import frozen
from lexhound.index.spann.centroid_kernels import CodedPoints, nearest, nearest_by_codes
from lexhound.index.spann.graph import Graph
from lexhound.index.spann.options import SpannOptions
from lexhound.index.spann.rotation import Rotation

_CHUNK = 2048
_CODES_FROM = 1024  # centroids from which on a query is compared with their codes first


@dataclass(frozen=True, slots=True, eq=False)
class CentroidIndex:
    """Centroids by number, and the way to the nearest of them."""

    points: NDArray[np.float32]
    """float32[c, d]; with a graph a view of its memory."""
    graph: Graph | None
    rotation: Rotation | None
    _squares: NDArray[np.float32] = field(repr=False)
    _coded: CodedPoints = field(repr=False)
    """The points as 8-bit codes where there is no graph and there are many, otherwise empty. With a rotation only the
    first values along its axes."""

    @classmethod
    def of(cls, points: NDArray[np.float32], graph: Graph | None, rotation: Rotation | None) -> CentroidIndex:
        """Return the index of float32[c, d]; with a `graph`, of its points."""
        if graph is not None:
            points = graph.points
        points = frozen(points)
        squares = np.einsum("ij,ij->i", points, points)
        compared = points if graph is None and len(points) >= _CODES_FROM else points[:0]
        if rotation is not None:
            compared = rotation.leading(compared)
        scales = np.maximum(np.abs(compared).max(axis=1, initial=0) / np.float32(127), np.float32(1e-38))
        codes = np.rint(compared / scales[:, None]).astype(np.int8)
        return cls(
            points, graph, rotation, squares, CodedPoints(frozen(codes), frozen(scales), frozen(squares), points)
        )

    @classmethod
    def build(
        cls, points: NDArray[np.float32], options: SpannOptions, rotation: Rotation | None = None
    ) -> CentroidIndex:
        """Build the index of float32[c, d], with a graph from `options.graph_from` centroids on."""
        graph = None
        if len(points) >= options.graph_from:
            graph = Graph.build(points, options.graph_links, options.graph_effort)
        return cls.of(points, graph, rotation)

    def __len__(self) -> int:
        return len(self.points)

    @property
    def nbytes(self) -> int:
        """Bytes of centroids, graph, axes and codes in memory."""
        tables = (self._squares, self._coded.codes, self._coded.scales)
        points = self.points if self.graph is None else self.graph
        return points.nbytes + sum(table.nbytes for table in tables) + (self.rotation.nbytes if self.rotation else 0)

    def nearest(self, queries: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the `count` nearest centroids of each query: numbers, int64[m, c], and squared distances.

        c is `count` or the number of centroids; nearest first, then by number. -1 where a graph finds fewer. From half
        of the centroids on all are compared, so that none is missed.
        """
        count = min(count, len(self))
        if count == 0:
            return np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
        if self.graph is None and len(queries) == 1:
            return self._nearest_to_one(queries[0], count)
        if self.graph is not None and 2 * count < len(self):
            return self.graph.search(queries, count)
        parts = [self._compare(queries[s : s + _CHUNK], count) for s in range(0, len(queries), _CHUNK)]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def _nearest_to_one(self, query: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        numbers, squares = np.empty((1, count), np.int64), np.empty((1, count), np.float32)
        # As a part of the values says less than all of them, more candidates: among twice as many lie .999 of the
        # 128 nearest of 6,263 centroids.
        candidates = count + count // 2 + 16 if self.rotation is None else 2 * count + 16
        if 2 * candidates < len(self._coded.codes):
            compared = query if self.rotation is None else self.rotation.rotated_query(query, self.rotation.first)
            nearest_by_codes(tuple(self._coded), frozen(query), frozen(compared), candidates, squares[0], numbers[0])
        else:
            nearest(self.points, frozen(query), squares[0], numbers[0])
        return numbers, squares

    def _compare(self, queries: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        norms = np.einsum("ij,ij->i", queries, queries)
        distances = self._squares - 2 * (queries @ self.points.T) + norms[:, None]
        np.maximum(distances, 0, out=distances)
        numbers = np.broadcast_to(np.arange(len(self)), distances.shape)
        if count * 4 < len(self):  # a cut first; ties at it are all kept
            cut = np.partition(distances, count - 1, axis=1)[:, count - 1].max()
            most = int((distances <= cut).sum(axis=1).max())
            if most * 2 < len(self):
                order = np.sort(np.argpartition(distances, most - 1, axis=1)[:, :most], axis=1)
                return _first(order, np.take_along_axis(distances, order, axis=1), count)
        return _first(numbers, distances, count)


def _first(
    numbers: NDArray[np.int64], distances: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the first `count` of each row by distance, then number (columns of equal distance come by number)."""
    order = np.argsort(distances, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(numbers, order, axis=1), np.take_along_axis(distances, order, axis=1)
