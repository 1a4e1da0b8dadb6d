"""The scores of dense vectors that are shown: in float64, and in one order of summation, wherever a row is scored.

Eight running sums, each of every eighth place, are added up in pairs at the end, and then the places that are left
over: a processor can work on several at once, and the result is the same on all of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexhound.index.jit import avoids_kernels, kernel

_TOGETHER = 1024  # rows whose products are in memory at a time


def exact_scores(
    words: NDArray[np.float32], stride: int, rows: NDArray[np.int64], query: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the inner products of a query, float64[d], with rows of a matrix: float64[len(rows)].

    words: float32, flat; row r is the d values from `r * stride` on, and all of `rows` must lie inside.
    """
    if avoids_kernels(len(rows) * len(query)):
        parts = [rows[start : start + _TOGETHER] for start in range(0, len(rows), _TOGETHER)]
        return np.concatenate([np.empty(0), *(_products_in_numpy(words, stride, part, query) for part in parts)])
    scores = np.empty(len(rows), np.float64)
    exact_products(words, stride, rows, query, scores)
    return scores


def _products_in_numpy(
    words: NDArray[np.float32], stride: int, rows: NDArray[np.int64], query: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return what `exact_products` writes, added up in the same order."""
    d = len(query)
    products = words[rows[:, np.newaxis] * stride + np.arange(d)].astype(np.float64) * query
    sums = np.zeros((len(rows), 8))
    for j in range(0, d // 8 * 8, 8):
        sums += products[:, j : j + 8]
    pairs = sums[:, 0::2] + sums[:, 1::2]
    total: NDArray[np.float64] = (pairs[:, 0] + pairs[:, 1]) + (pairs[:, 2] + pairs[:, 3])
    for j in range(d // 8 * 8, d):
        total += products[:, j]
    return total


@kernel
def exact_products(
    words: NDArray[np.float32],
    stride: int,
    rows: NDArray[np.int64],
    query: NDArray[np.float64],
    scores: NDArray[np.float64],
) -> None:
    """Write the inner products of a query, float64[d], with rows of a matrix: that of `rows[i]` goes to `scores[i]`.

    words: float32, flat; row r is the d values from `r * stride` on, and all of `rows` must lie inside.
    """
    d = len(query)
    unrolled = d // 8 * 8
    for i in range(len(rows)):
        begin = rows[i] * stride
        row = words[begin : begin + d]
        a = b = c = e = f = g = h = o = 0.0
        for j in range(0, unrolled, 8):
            a += np.float64(row[j]) * query[j]
            b += np.float64(row[j + 1]) * query[j + 1]
            c += np.float64(row[j + 2]) * query[j + 2]
            e += np.float64(row[j + 3]) * query[j + 3]
            f += np.float64(row[j + 4]) * query[j + 4]
            g += np.float64(row[j + 5]) * query[j + 5]
            h += np.float64(row[j + 6]) * query[j + 6]
            o += np.float64(row[j + 7]) * query[j + 7]
        total = ((a + b) + (c + e)) + ((f + g) + (h + o))
        for j in range(unrolled, d):
            total += np.float64(row[j]) * query[j]
        scores[i] = total
