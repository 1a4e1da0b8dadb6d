"""Scores of blocks of queries and documents by their vectors, and how a query's scores are spread over the pool.

Vectors are rows of a float array (a dense teacher) or of a sparse matrix (BM25, a sparse encoder); a score is their dot
product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.errors import SettingsError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

NORMALISATIONS = ("min-max", "z-score", "none")

Vectors: TypeAlias = "NDArray[np.float32] | csr_array"


@dataclass(frozen=True, slots=True, eq=False)
class PoolScores:
    """The spread of each query's scores over the whole pool, the documents that share nothing with it included.

    Normalising by the candidates alone would blow noise up: where the best document is not among them, the least bad
    one would count as perfect.

    Attributes:
        low, high, mean, deviation: float32[queries], the smallest and largest score, the mean, the standard deviation.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]

    def normalise(
        self, scores: NDArray[np.float32], kind: str, queries: NDArray[np.integer] | None = None
    ) -> NDArray[np.float32]:
        """Return scores that are comparable between teachers: float32, of the shape of `scores`.

        Args:
            scores: float32[n, m], a query's scores a row.
            kind: "min-max", (s - low) / (high - low); "z-score", (s - mean) / deviation; "none". A query that scores
                every document alike gets zeros.
            queries: int[n], which query each row belongs to; by default they are those of the pool, in order.

        Raises:
            SettingsError: another kind.
        """
        if kind not in NORMALISATIONS:
            raise SettingsError(f"the normalisation is {kind!r}", f"It must be one of {', '.join(NORMALISATIONS)}")
        if kind == "none":
            return scores
        from_, width = (self.low, self.high - self.low) if kind == "min-max" else (self.mean, self.deviation)
        if queries is not None:
            from_, width = from_[queries], width[queries]
        flat = width <= 0
        result = (scores - from_[:, None]) / np.where(flat, 1, width)[:, None]
        result[flat] = 0.0
        return result.astype(np.float32, copy=False)


class VectorTeacher:
    """A teacher by vectors: scores any queries against any documents, normalised per query over the pool.

    Args:
        queries, documents: vectors of all of them, both dense or both sparse.
        pool: the spread of each query's scores; None only where `normalise` is "none".
        normalise: see `PoolScores.normalise`.
    """

    def __init__(
        self, queries: Vectors, documents: Vectors, pool: PoolScores | None = None, normalise: str = "min-max"
    ) -> None:
        if pool is None and normalise != "none":
            raise SettingsError(
                f"{normalise} needs the spread of the scores over the pool", 'Give `pool`, or the normalisation "none"'
            )
        self._queries = queries
        self._documents = documents
        self._pool = pool
        self._normalise = normalise

    def block(self, queries: NDArray[np.int64], documents: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return float32[queries, documents]: the scores of these rows, every query with every document."""
        product = self._queries[queries] @ self._documents[documents].T
        dense = product if isinstance(product, np.ndarray) else product.toarray()
        scores: NDArray[np.float32] = np.asarray(dense, dtype=np.float32)
        return scores if self._pool is None else self._pool.normalise(scores, self._normalise, queries)
