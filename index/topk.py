"""Ranked rows, and how much work a search was."""

from __future__ import annotations

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
        """Return no hits."""
        return cls(np.empty(0, np.int64), np.empty(0, np.float64))


@dataclass(frozen=True, slots=True)
class SearchStats:
    """The work of a search.

    Attributes:
        postings_read: how many.
        rows_scored: rows whose score was good enough to be offered to the heap of the best k.
        windows_entered: of an inverted index: windows whose lists were read by kernels. Others cannot hold a hit, or no
            row of them passes the filter.
    """

    postings_read: int
    rows_scored: int
    windows_entered: int = 0

    def __add__(self, other: SearchStats) -> SearchStats:
        """Return the work of both."""
        return SearchStats(
            self.postings_read + other.postings_read,
            self.rows_scored + other.rows_scored,
            self.windows_entered + other.windows_entered,
        )

    @property
    def documents_scored(self) -> int:
        """The rows, by the name that the service has for them."""
        return self.rows_scored
