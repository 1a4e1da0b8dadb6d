"""Three similarities, one geometry: clusters, graph and pruning always see Euclidean distances.

Cosine normalises what comes in. Inner products are turned into distances by one more dimension (Bachrach et al.,
"Speeding up the Xbox recommender system using a Euclidean transformation for inner-product spaces", RecSys 2014, 3.1):
a vector x becomes (x, sqrt(R² - |x|²)) with R the largest norm at build, a query q becomes (R q / |q|, 0); then the
nearest vector is the one of the largest inner product. A vector that comes later and is longer than R gets a 0 there:
it may be found less surely, its score is right all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.index.jit import frozen

from .kernels import prepare
from .options import Metric

_LONGEST = 1e18  # squares of sums and differences of such vectors still fit into float32


def normalised(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length one; a row of zeros stays as it is. float32[n, d]."""
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    norms[norms == 0] = 1
    unit: NDArray[np.float32] = (vectors / norms[:, None]).astype(np.float32)
    return unit


@dataclass(frozen=True, slots=True)
class Geometry:
    """How vectors and queries of `dimension` are compared; `radius` is R of the inner product (0 elsewhere)."""

    metric: Metric
    dimension: int
    radius: float = 0.0

    @classmethod
    def of(cls, metric: Metric, vectors: NDArray[np.float32]) -> Geometry:
        """The geometry of a collection of prepared vectors, float32[n, d]."""
        radius = 0.0
        if metric == "ip" and len(vectors):
            radius = float(np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64).max()))
        return cls(metric, vectors.shape[1], radius)

    @property
    def routed_dimension(self) -> int:
        """Dimensions of what clusters and graph see."""
        return self.dimension + (self.metric == "ip")

    def checked(self, vectors: NDArray[Any], what: str = "vectors") -> NDArray[np.float32]:
        """`vectors` as they are stored and compared: float32[n, d], normalised for cosine.

        Raises ValueError for another shape, another type than floats, and for infinities and NaN.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.dimension or vectors.dtype.kind != "f":
            raise ValueError(f"{what} must be floats [n, {self.dimension}], not {vectors.dtype}{list(vectors.shape)}")
        with np.errstate(over="ignore"):
            found = np.ascontiguousarray(vectors, np.float32)
        squares = np.einsum("ij,ij->i", found, found, dtype=np.float64)
        if len(found) and not squares.max() <= _LONGEST**2:
            raise ValueError(f"{what} hold infinities, NaN, or lengths beyond {_LONGEST:.0e}")
        return normalised(found) if self.metric == "cosine" else found

    def checked_query(self, query: NDArray[Any]) -> NDArray[np.float32]:
        """A query as it is compared, float32[d]: what `checked` does, in a tenth of its time. Raises ValueError."""
        if query.shape != (self.dimension,) or query.dtype.kind != "f":
            raise ValueError(f"a query must be floats [{self.dimension}], not {query.dtype}{list(query.shape)}")
        if query.dtype != np.float32:
            with np.errstate(over="ignore"):
                query = query.astype(np.float32)
        found = frozen(query)
        prepared = np.empty(self.dimension, np.float32)
        if not prepare(found, self.metric == "cosine", prepared) <= _LONGEST**2:
            raise ValueError(f"a query holds infinities, NaN, or has a length beyond {_LONGEST:.0e}")
        return prepared

    def routed(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Where prepared vectors stand among the centroids: float32[n, routed_dimension]."""
        if self.metric != "ip":
            return vectors
        squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
        rest = np.sqrt(np.maximum(self.radius**2 - squares, 0)).astype(np.float32)
        return np.concatenate([vectors, rest[:, None]], axis=1)

    def routed_queries(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Where prepared queries stand among the centroids: float32[m, routed_dimension]."""
        if self.metric != "ip":
            return queries
        scaled = normalised(queries) * np.float32(self.radius or 1.0)  # 0: built without a vector
        return np.concatenate([scaled, np.zeros((len(queries), 1), np.float32)], axis=1)
