"""The best documents of a dense teacher for each query, exactly, and the spread of a query's scores over the pool.

Order is a contract: score descending, then row ascending. Products of dense vectors depend on the machine in their last
bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.errors import TrainingError
from lexhound.training.scoring import PoolScores

_BLOCK = 1 << 24  # scores held at a time: 64 MB
_GROUP = 64


def dense_top(
    queries: NDArray[np.float32], documents: NDArray[np.float32], depth: int
) -> tuple[NDArray[np.int32], PoolScores]:
    """Return each query's best rows by the dot product, and the spread of its scores over the pool.

    The product of all queries with all documents is computed block by block.

    Args:
        queries: float32[n, width]; documents: float32[m, width], at least one.
        depth: rows of each query.

    Returns:
        int32[n, min(depth, m)], score descending, then row ascending; and the spread of n queries.

    Raises:
        TrainingError: a vector holds NaN or an infinity.
    """
    for name, vectors in (("queries", queries), ("documents", documents)):
        if not np.isfinite(vectors).all():
            raise TrainingError(
                f"the dense teacher's vectors of the {name} hold values that are not finite", "Choose another teacher"
            )
    depth = min(depth, len(documents))
    rows = np.empty((len(queries), depth), np.int32)
    spread = np.zeros((4, len(queries)), np.float32)
    transposed = documents.T
    size = max(64, _BLOCK // max(1, len(documents)))
    for start in range(0, len(queries), size):
        block = slice(start, start + size)
        product = queries[block] @ transposed
        rows[block] = _best(product, depth)
        spread[:, block] = product.min(1), product.max(1), product.mean(1), product.std(1)
    return rows, PoolScores(*spread)


def _best(scores: NDArray[np.float32], depth: int) -> NDArray[np.int32]:
    """Return the best columns of each row, score descending, then column ascending: int32[rows, depth].

    depth <= columns. Sorting needs few of the scores: among the largest of each of many groups of columns, the
    `depth`-th is no better than the `depth`-th of all.
    """
    n_rows, n_columns = scores.shape
    if depth == 0 or n_rows == 0:
        return np.empty((n_rows, depth), np.int32)
    groups = n_columns // _GROUP
    if groups >= depth:
        maxima = scores[:, : groups * _GROUP].reshape(n_rows, groups, _GROUP).max(axis=2)
        bound = np.partition(maxima, groups - depth, axis=1)[:, groups - depth]
    else:
        bound = np.partition(scores, n_columns - depth, axis=1)[:, n_columns - depth]
    rows, columns = np.nonzero(scores >= bound[:, None])
    order = np.lexsort((columns, -scores[rows, columns], rows))
    starts = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=n_rows))))[:-1]
    best: NDArray[np.int32] = columns[order][starts[:, None] + np.arange(depth)].astype(np.int32)
    return best
