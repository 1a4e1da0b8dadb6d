"""Collections of made-up dense vectors, and the plain exact search that a clustered index is held against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def clustered(n: int, d: int, *, seed: int = 0, groups: int = 40, spread: float = 0.6) -> NDArray[np.float32]:
    """Vectors around some centres, of unequal lengths: float32[n, d]."""
    draw = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((groups, d))
    return (centres[draw.integers(0, groups, n)] + spread * draw.standard_normal((n, d))).astype(np.float32)


def similarities(vectors: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float64]:
    """The inner product of every vector with a query, in float64, the slow way."""
    products: NDArray[np.float64] = (vectors.astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    return products


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length one, or zero."""
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return (vectors / np.where(norms == 0, 1, norms)).astype(np.float32)


def best(scores: NDArray[np.float64], k: int, allowed: NDArray[np.bool_] | None = None) -> list[int]:
    """Score descending, then row ascending."""
    rows = np.arange(len(scores)) if allowed is None else np.flatnonzero(allowed)
    order: NDArray[np.int64] = np.argsort(-scores[rows], kind="stable")
    found: list[int] = rows[order][:k].tolist()
    return found
