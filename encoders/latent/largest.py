"""The largest values of each row of a wide matrix, most of whose values are never looked at twice."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_BLOCK = 64  # columns whose largest value stands for them


class Largest(NamedTuple):
    """The largest values above 0 of the rows, row by row, from the largest.

    Attributes:
        rows, columns: int64[n]; values: float32[n].
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: NDArray[np.float32]


def largest_of_rows(matrix: NDArray[np.float32], k: int) -> Largest:
    """Return each row's `k` largest values above 0; of equal ones, those of the lower columns.

    The k-th largest of the blocks' maxima is a lower bound of the k-th largest value, as k blocks reach it.

    Args:
        matrix: float32[rows, columns].
    """
    rows, columns = matrix.shape
    blocks = columns // _BLOCK
    bound = np.zeros((rows, 1), np.float32)
    if blocks > k:
        maxima = matrix[:, : blocks * _BLOCK].reshape(rows, blocks, _BLOCK).max(axis=2)
        bound = np.maximum(bound, np.partition(maxima, blocks - k, axis=1)[:, blocks - k, None])
    places = np.flatnonzero((matrix >= bound) & (matrix > 0))
    values = matrix.ravel()[places]
    own, column = np.divmod(places, columns)
    order = np.lexsort((column, -values, own))
    own, column, values = own[order], column[order], values[order]
    starts = np.searchsorted(own, np.arange(rows))
    kept = np.arange(len(own)) - starts[own] < k
    return Largest(own[kept], column[kept], values[kept])
