"""A rotation of vectors whose first values then hold most of their length: a comparison can stop after a part of them.

A rotation keeps inner products and distances. After one to the principal axes the first third of the values of sentence
embeddings holds some four fifths of their squared length, so a code that is far behind after the first values need not
be read to its end (as in Gao and Long, "High-dimensional approximate nearest neighbor search: with reliable and
efficient distance comparison operations", SIGMOD 2023, who rotate at random).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lexhound.index.jit import frozen, reordering_kernel

_SAMPLE = 20_000
_LEAST = 1024  # vectors; of fewer the axes say little, and there is little to save
_SHARE = 0.8  # of the squared length that the first values hold
_PIECE = 16


@dataclass(frozen=True, slots=True, eq=False)
class Rotation:
    """Axes, float32[d, d], orthonormal columns; how many of the first values are compared first; what the others hold.

    rest: the root of the share of the squared length that the other values hold, on average.
    """

    axes: NDArray[np.float32]
    first: int
    rest: float
    _rows: NDArray[np.float32] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_rows", frozen(self.axes.T))

    @classmethod
    def of(cls, vectors: NDArray[np.float32], seed: int) -> Rotation | None:
        """Return the principal axes of float32[n, d]; None where no part holds enough. Deterministic."""
        n, d = vectors.shape
        if n < _LEAST:
            return None
        rows = np.arange(n)
        if n > _SAMPLE:
            rows = np.sort(np.random.default_rng([seed, n]).choice(n, _SAMPLE, replace=False))
        sample = vectors[rows].astype(np.float64)
        values, axes = np.linalg.eigh(sample.T @ sample)
        values, axes = np.maximum(values[::-1], 0), axes[:, ::-1]
        if not values.sum() > 0:
            return None
        shares = np.cumsum(values) / values.sum()
        first = -(-(int(np.searchsorted(shares, _SHARE)) + 1) // _PIECE) * _PIECE
        if 2 * first > d:
            return None
        largest = np.abs(axes).argmax(axis=0)  # an axis points either way: towards its largest value
        axes = axes * np.sign(axes[largest, np.arange(d)])
        return cls(np.ascontiguousarray(axes, np.float32), first, float(np.sqrt(1 - shares[first - 1])))

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.axes.nbytes + self._rows.nbytes

    def rotated(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return vectors, float32[..., d], along the axes."""
        return vectors @ self.axes

    def leading(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the first values alone of `rotated`: float32[n, first]. Values of `vectors` past d are left out."""
        return vectors[:, : len(self.axes)] @ self.axes[:, : self.first]

    def rotated_query(self, query: NDArray[np.float32], values: int) -> NDArray[np.float32]:
        """Return the first so many values along the axes of one vector, float32[values]; values past d are left out.

        Runs in the calling thread and always in one order, which a library of matrices does not promise.
        """
        rotated = np.empty(values, np.float32)
        _rotate(self._rows, frozen(query), rotated)
        return rotated


@reordering_kernel
def _rotate(rows: NDArray[np.float32], query: NDArray[np.float32], rotated: NDArray[np.float32]) -> None:
    for i in range(len(rotated)):
        row = rows[i]
        total = np.float32(0)
        for j in range(len(row)):
            total += row[j] * query[j]
        rotated[i] = total
