"""The centroid index: which centroids are nearest, by a comparison with all of them. Immutable."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.index.jit import frozen
from lexhound.index.spann.centroid_kernels import CodedPoints, order_by_codes
from lexhound.index.spann.rotated_query import RotatedQuery
from lexhound.index.spann.rotation import Rotation
from lexhound.index.spann.sign_codes import SignCodec

_CHUNK = 2048


@dataclass(frozen=True, slots=True, eq=False)
class CentroidIndex:
    """Centroids by number, and the way to the nearest of them."""

    points: NDArray[np.float32]
    """float32[c, d + 1]."""
    rotation: Rotation
    squares: NDArray[np.float32]
    """float32[c]: the squared lengths of the points."""
    lengths: NDArray[np.float32]
    """float32[c]: the squared lengths of their first d values."""
    _coded: tuple[Any, ...] = field(repr=False)
    """The fields of `CodedPoints`."""

    @classmethod
    def of(cls, points: NDArray[np.float32], rotation: Rotation) -> CentroidIndex:
        """Return the index of float32[c, d + 1]."""
        points = frozen(points)
        values = points[:, :-1]
        squares = frozen(np.einsum("ij,ij->i", points, points))
        codec = SignCodec(rotation.dimension)
        centre = np.zeros(rotation.dimension, np.float32)
        if len(points):
            centre = values.mean(axis=0, dtype=np.float64).astype(np.float32)
        rows, lists = np.arange(len(points)), np.zeros(len(points), np.int64)
        codes = codec.encode(rows, lists, rotation.rotated(values), rotation.rotated(centre[np.newaxis]))
        flat = codes.reshape(-1)
        views = frozen(flat), frozen(flat.view(np.float32))
        coded = CodedPoints(*views, codec.block_bytes, frozen(centre), squares)
        lengths = frozen(np.einsum("ij,ij->i", values, values))
        return cls(points, rotation, squares, lengths, tuple(coded))

    def __len__(self) -> int:
        return len(self.points)

    @property
    def nbytes(self) -> int:
        """Bytes of centroids and codes in memory."""
        tables = (self.points, self.squares, self.lengths, CodedPoints(*self._coded).codes)
        return sum(table.nbytes for table in tables) + self.rotation.nbytes

    def nearest(self, queries: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the `count` nearest centroids of each query: numbers, int64[m, c], and squared distances.

        queries: float32[m, d + 1]. c is `count` or the number of centroids; nearest first, then by number.
        """
        count = min(count, len(self))
        if count == 0:
            return np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
        parts = [self._compare(queries[s : s + _CHUNK], count) for s in range(0, len(queries), _CHUNK)]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def nearest_to(self, query: RotatedQuery, count: int) -> NDArray[np.int64]:
        """Return the numbers of the `count` nearest of one query, in the order that their codes tell: int64[c]."""
        count = min(count, len(self))
        numbers = np.empty(count, np.int64)
        compared = (query.point, query.tables, query.unit * query.scale, query.offset * query.scale)
        order_by_codes(self._coded, compared, numbers)
        return numbers

    def _compare(self, queries: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        norms = np.einsum("ij,ij->i", queries, queries)
        distances = self.squares - 2 * (queries @ self.points.T) + norms[:, None]
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
