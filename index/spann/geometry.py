"""Inner products as distances: clusters, graph and pruning see Euclidean distances.

One more dimension turns inner products into distances (Bachrach et al., "Speeding up the Xbox recommender system using
a Euclidean transformation for inner-product spaces", RecSys 2014, 3.1): a vector x becomes (x, sqrt(R² - |x|²)) with R
the largest norm, a query q becomes (R q / |q|, 0); then the nearest vector is the one of the largest inner product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_LONGEST = 1e18  # squares of sums and differences of such vectors still fit into float32


def _squared_norms(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    squares: NDArray[np.float64] = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    return squares


def check_vectors(vectors: NDArray[np.float32], name: str = "vectors") -> NDArray[np.float32]:
    """Return float32[n, width], contiguous.

    Raises ValueError for another shape or type, and for infinities, NaN and lengths beyond 1e18.
    """
    if vectors.ndim != 2 or vectors.dtype != np.float32 or not vectors.shape[1]:
        raise ValueError(f"{name} must be float32[n, width], not {vectors.dtype}{list(vectors.shape)}")
    checked = np.ascontiguousarray(vectors)
    if len(checked) and not _squared_norms(checked).max() <= _LONGEST**2:
        raise ValueError(f"{name} hold infinities, NaN, or lengths beyond {_LONGEST:.0e}")
    return checked


@dataclass(frozen=True, slots=True)
class Geometry:
    """The space of the centroids: that of the vectors, of `dimension` values, and one dimension more."""

    dimension: int
    radius: float
    """R: the largest norm of the vectors; 0 without a vector."""

    @classmethod
    def of(cls, vectors: NDArray[np.float32]) -> Geometry:
        """Return the geometry of float32[n, d]."""
        radius = float(np.sqrt(_squared_norms(vectors).max())) if len(vectors) else 0.0
        return cls(vectors.shape[1], radius)

    @property
    def centroid_dimension(self) -> int:
        """Dimensions of the centroids."""
        return self.dimension + 1

    @property
    def scale(self) -> float:
        """The length of queries among the centroids: R, or 1 where that is 0."""
        return self.radius or 1.0

    def points(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return where vectors stand among the centroids: float32[n, centroid_dimension]."""
        rest = np.sqrt(np.maximum(self.radius**2 - _squared_norms(vectors), 0)).astype(np.float32)
        return np.concatenate([vectors, rest[:, None]], axis=1)

    def query_points(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return where queries, float32[m, d], stand among the centroids: float32[m, centroid_dimension]."""
        norms = np.sqrt(_squared_norms(queries))
        norms[norms == 0] = 1
        scaled = (queries / norms[:, None]).astype(np.float32) * np.float32(self.scale)
        return np.concatenate([scaled, np.zeros((len(queries), 1), np.float32)], axis=1)
