"""Ranked rows, and how rankings of several indexes become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class TopK:
    """The best rows of a search: score descending, then row ascending, no row twice.

    rows: int64[n]; scores: float64[n].
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def empty(cls) -> TopK:
        """No hits."""
        return cls(np.empty(0, np.int64), np.empty(0, np.float64))


@dataclass(frozen=True, slots=True)
class SearchStats:
    """How much work a search was.

    Attributes:
        postings_read: how many.
        rows_scored: rows whose score was good enough to be offered to the heap of the best k.
    """

    postings_read: int
    rows_scored: int

    @property
    def documents_scored(self) -> int:
        """The rows, by the name that the service has for them."""
        return self.rows_scored


def merge_topk(parts: Sequence[TopK], bases: Sequence[int | NDArray[np.int64]], k: int) -> TopK:
    """The best `k` of several rankings whose rows are numbered apart.

    `bases` says, for each part, what its rows are called in the result: an int is added to each row, an int64 array
    is looked up by row. The result keeps the order of `TopK`, so it is the ranking that one index over all of the rows
    would have given, provided that each part holds its own best `k` (or all it has) and no two parts share a row.
    Raises ValueError when `parts` and `bases` differ in number or `k` is below one.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    if len(parts) != len(bases):
        raise ValueError(f"{len(parts)} rankings but {len(bases)} bases: each ranking needs one")
    if not parts:
        return TopK.empty()
    rows = np.concatenate(
        [
            base[part.rows] if isinstance(base, np.ndarray) else part.rows + base
            for part, base in zip(parts, bases, strict=True)
        ]
    ).astype(np.int64, copy=False)
    scores = np.concatenate([part.scores for part in parts])
    order = np.lexsort((rows, -scores))[:k]
    return TopK(rows[order], scores[order])
