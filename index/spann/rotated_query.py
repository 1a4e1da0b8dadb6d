"""A query as sign codes are compared with it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexhound.index.jit import frozen, kernel
from lexhound.index.spann.block_sums import PATTERNS, fill_tables
from lexhound.index.spann.geometry import Geometry
from lexhound.index.spann.rotation import Rotation, rotate

_SHORTEST, _LONGEST = 1e-18, 1e18  # lengths of queries whose products with vectors fit into float32


class RotatedQuery(NamedTuple):
    """A query, float32[d], its length, and its tables: see `block_sums.fill_tables`.

    A query that is longer than 1e18 or shorter than 1e-18 is one of about length 1 here, times a power of two: in
    float32 its products with vectors would be infinite, or zeros. Which rows are the best for it is the same.
    """

    values: NDArray[np.float32]
    norm: float
    scale: float
    """How many times as long it is among the centroids."""
    point: NDArray[np.float32]
    """float32[d + 1]: where it stands among the centroids."""
    tables: NDArray[np.uint8]
    unit: float
    offset: float

    @classmethod
    def of(cls, query: NDArray[np.float32], geometry: Geometry, rotation: Rotation) -> RotatedQuery:
        """Prepare float32[d]."""
        tables = np.empty((2 * -(-len(query) // 8), 2 * PATTERNS), np.uint8)
        point = np.zeros(geometry.centroid_dimension, np.float32)
        norm, scale, unit, offset = _prepare(rotation.flips, frozen(query), geometry.scale, point, tables)
        if norm and not _SHORTEST <= norm <= _LONGEST:
            return cls.of(np.ldexp(query, -int(np.frexp(norm)[1])), geometry, rotation)
        return cls(frozen(query), norm, scale, frozen(point), frozen(tables), unit, offset)


@kernel
def _prepare(
    flips: NDArray[np.float32],
    query: NDArray[np.float32],
    radius: float,
    point: NDArray[np.float32],
    tables: NDArray[np.uint8],
) -> tuple[float, float, float, float]:
    """Write point and tables; return norm, scale, unit and offset."""
    rotated = np.empty((1, len(query)), np.float32)
    rotated[0] = query
    rotate(flips, rotated)
    square = 0.0
    for value in query:
        square += np.float64(value) ** 2
    norm = np.sqrt(square)
    scale = radius / norm if norm > 0 else 0.0
    for j in range(len(query)):
        point[j] = np.float32(np.float64(query[j]) * scale)
    unit, offset = fill_tables(rotated[0], tables)
    return norm, scale, unit, offset
