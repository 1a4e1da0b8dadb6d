"""Slow twins of the kernels: NumPy alone, dense matrices, nothing of ours. What the fast code must equal, exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def exact_scale(scale: float) -> float:
    """`scale` to 22 significant bits."""
    unit = 2.0 ** (math.floor(math.log2(scale)) - 21)
    return round(scale / unit) * unit


def impacts(weights: NDArray[np.float32], scale: float) -> NDArray[np.int64]:
    """8-bit impacts of a dense matrix rows x terms; 0 where the weight is 0."""
    rounded = np.rint(weights.astype(np.float64) / exact_scale(scale))
    return np.where(weights > 0, np.clip(rounded, 1, 255), 0).astype(np.int64)


def query_integers(weights: NDArray[np.float32]) -> tuple[NDArray[np.int64], float]:
    """Integer weights of a query, and what 1 is worth."""
    if len(weights) == 0:
        return np.empty(0, np.int64), 1.0
    total = sum(float(weight) for weight in weights)
    factor = 1.0
    while factor * total > 2**23 - len(weights):
        factor /= 2
    while 2 * factor * total <= 2**23 - len(weights):
        factor *= 2
    integers = [max(1, round(float(weight) * factor)) for weight in weights]
    return np.array(integers, np.int64), 1 / factor


def scores(
    weights: NDArray[np.float32], scale: float, terms: Sequence[int], query: NDArray[np.float32]
) -> NDArray[np.float64]:
    """The score of every row; `weights` is dense, rows x terms. Terms beyond its width weigh nothing."""
    matrix = impacts(weights, scale)
    integers, unit = query_integers(query)
    totals = np.zeros(len(weights), np.int64)
    for term, integer in zip(terms, integers, strict=True):
        if term < matrix.shape[1]:
            totals += integer * matrix[:, term]
    return totals.astype(np.float64) * (unit * exact_scale(scale))


def top_k(
    scores: NDArray[np.float64], k: int, allowed: NDArray[np.bool_] | None = None
) -> tuple[list[int], list[float]]:
    """Rows with a score above zero: score descending, then row ascending, at most k."""
    rows = [row for row in range(len(scores)) if scores[row] > 0 and (allowed is None or allowed[row])]
    rows.sort(key=lambda row: (-scores[row], row))
    return rows[:k], [float(scores[row]) for row in rows[:k]]


def postings(matrix: NDArray[np.int64], window_bits: int) -> dict[str, NDArray[np.int64]]:
    """The arrays of an inverted index over a dense matrix of impacts, rows x terms."""
    out: dict[str, list[int]] = {
        name: [] for name in ("terms", "entry_starts", "entry_windows", "entry_ends", "entry_maxima", "rows", "impacts")
    }
    for term in range(matrix.shape[1]):
        rows = np.flatnonzero(matrix[:, term])
        if len(rows) == 0:
            continue
        out["terms"].append(term)
        out["entry_starts"].append(len(out["entry_windows"]))
        for window in sorted({int(row) >> window_bits for row in rows}):
            for row in rows:
                if int(row) >> window_bits == window:
                    out["rows"].append(int(row) - (window << window_bits))
                    out["impacts"].append(int(matrix[row, term]))
            out["entry_windows"].append(window)
            out["entry_maxima"].append(max(int(matrix[row, term]) for row in rows if int(row) >> window_bits == window))
            out["entry_ends"].append(len(out["rows"]))
    out["entry_starts"].append(len(out["entry_windows"]))
    return {name: np.array(values, np.int64) for name, values in out.items()}


def rearranged(
    matrices: Sequence[NDArray[np.float32]], maps: Sequence[NDArray[np.int64]], n_rows: int
) -> NDArray[np.float32]:
    """Rows of several dense matrices under their new numbers; -1 drops a row."""
    merged = np.zeros((n_rows, matrices[0].shape[1] if matrices else 0), np.float32)
    for matrix, new_rows in zip(matrices, maps, strict=True):
        for row, new_row in enumerate(new_rows):
            if new_row >= 0:
                merged[new_row] = matrix[row]
    return merged
