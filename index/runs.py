"""Runs of an index: rows that stand together, searched as if they were an index of their own.

Useful where rows are sorted by whose they are: of one owner's search no posting of another is read, so it takes as long
as in an index of that owner's rows alone. Ranking, scores, counts and frequencies are those of such an index, with the
shared scale.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.index.dense.flat import FlatIndex, VectorIndex
from lexhound.index.inverted.arguments import EXACT_FACTOR
from lexhound.index.inverted.index import InvertedIndex
from lexhound.index.inverted.plain import count_live_postings, is_plain, mark_posting_rows, search_postings
from lexhound.index.inverted.postings import count_run, entry_ranges, mark_rows
from lexhound.index.inverted.quantization import Query

from .jit import frozen
from .topk import SearchStats, TopK

_NO_MASK: NDArray[np.bool_] = frozen(np.empty(0, np.bool_))


class IndexRun(InvertedIndex):
    """The rows from `first` to `stop` of an index, numbered from 0; it shares the index's arrays."""

    def __init__(self, index: InvertedIndex, first: int, stop: int) -> None:
        """Raises ValueError where these are no rows of the index."""
        if not 0 <= first <= stop <= index.n_rows:
            raise ValueError(f"a run must lie in the rows 0 to {index.n_rows}, not be {first} to {stop}")
        # What `InvertedIndex` sets; one is made within the first search of an owner.
        self.postings, self.scale, self.loss = index.postings, index.scale, index.loss
        self.directory, self._arrays = index.directory, index._arrays
        self.recall_calibration, self.mean_length = index.recall_calibration, index.mean_length
        self._index = index
        self._first = first
        self._stop = stop
        self._origin = first >> self.postings.window_bits << self.postings.window_bits
        self._greatest: float | None = None

    @property
    def n_rows(self) -> int:
        return self._stop - self._first

    @property
    def n_postings(self) -> int:
        return int(self._counts(self._all_terms(), None).sum())

    @property
    def n_terms(self) -> int:
        return int(np.count_nonzero(self._counts(self._all_terms(), None)))

    @property
    def lengths(self) -> NDArray[np.uint32] | None:
        lengths = self.postings.lengths
        return None if lengths is None else lengths[self._first : self._stop]

    @property
    def greatest_weight(self) -> float:
        """The largest weight of a posting of these rows; found by reading all of them, once."""
        if self._greatest is None:
            postings, greatest = self.postings, 0
            low, high = self._first >> postings.window_bits, (self._stop - 1) >> postings.window_bits
            windows = postings.entry_windows.astype(np.int64)
            for entry in np.flatnonzero((windows >= low) & (windows <= high)).tolist() if self.n_rows else ():
                start = int(postings.entry_ends[entry - 1]) if entry else 0
                stop = int(postings.entry_ends[entry])
                rows = (int(windows[entry]) << postings.window_bits) + postings.rows[start:stop].astype(np.int64)
                inside = postings.impacts[start:stop][(rows >= self._first) & (rows < self._stop)]
                greatest = max(greatest, int(inside.max()) if len(inside) else 0)
            self._greatest = greatest * self.scale
        return self._greatest

    def _all_terms(self) -> NDArray[np.int32]:
        return self.postings.terms.astype(np.int32)

    def _mask(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return a mask of the rows from the window of the first on."""
        checked = super()._mask(mask)
        whole = np.zeros(self._stop - self._origin, np.bool_)
        whole[self._first - self._origin :] = checked
        return frozen(whole)

    def _limits(self, mask: NDArray[np.bool_] | None, bound_factor: int) -> tuple[Any, ...]:
        filtered = mask is not None
        return (_NO_MASK if mask is None else mask, filtered, bound_factor, self._first, self._stop, self._origin)

    def _search(
        self, query: Query, k: int, mask: NDArray[np.bool_] | None, bound_factor: int, above: int
    ) -> tuple[TopK, SearchStats]:
        if bound_factor == EXACT_FACTOR and len(query) and k and is_plain(self.postings, query.terms):
            allowed = None if mask is None else mask[self._first - self._origin :]
            unit, run = query.scale * self.scale, (self._first, self._stop)
            return search_postings(self.postings, query, k, allowed, above, unit, run)
        return super()._search(query, k, mask, bound_factor, above)

    def document_frequencies(
        self, terms: NDArray[np.int32], live: NDArray[np.bool_] | None = None
    ) -> NDArray[np.int64]:
        """Return how many rows of the run hold each term: all, or those that are true in `live` (bool[n_rows])."""
        if live is not None:
            super()._mask(live)
        return self._counts(terms, live)

    def _counts(self, terms: NDArray[np.int32], live: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        postings = self.postings
        if is_plain(postings, terms):
            rows = np.ones(self.n_rows, np.bool_) if live is None else live
            return count_live_postings(postings, terms, rows, self._first)
        counts = np.empty(len(terms), np.int64)
        if not self.n_rows:
            return np.zeros(len(terms), np.int64)
        count_run(
            frozen(entry_ranges(postings, terms)),
            postings.entry_windows,
            postings.entry_ends,
            postings.rows,
            postings.window_bits,
            (self._first, self._stop),
            _NO_MASK if live is None else frozen(live),
            counts,
        )
        return counts

    def matching(
        self, terms: NDArray[np.int32], allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.bool_], int]:
        postings, marks = self.postings, np.zeros(self.n_rows, np.bool_)
        if allowed is not None:
            super()._mask(allowed)
        if is_plain(postings, terms):
            mark_posting_rows(postings, terms, marks, self._first)
        elif self.n_rows:
            windows, ends, rows = postings.entry_windows, postings.entry_ends, postings.rows
            entries = frozen(entry_ranges(postings, terms))
            mark_rows(entries, windows, ends, rows, postings.window_bits, self._first, marks)
        read = int(self._counts(terms, None).sum())
        return marks if allowed is None else marks & allowed, read

    def write_to(self, directory: Path) -> InvertedIndex:
        """Write these rows into a new directory as an index that holds nothing else, and open it.

        Raises:
            IndexStorageError, OSError: it cannot be written; nothing is left.
        """
        from lexhound.index.inverted.merge import MergePart, merge_inverted  # no search needs it

        new_rows = np.full(self._index.n_rows, -1, np.int64)
        new_rows[self._first : self._stop] = np.arange(self.n_rows)
        part = MergePart(self._index, new_rows)
        return merge_inverted(directory, [part], self.n_rows, scale=self.scale, mean_length=self.mean_length)

    def score_rows(self, query: Query, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return super().score_rows(query, rows + self._first)

    def contributions(self, row: int, query: Query) -> NDArray[np.float64]:
        if not 0 <= row < self.n_rows:
            raise ValueError(f"there is no row {row}: the run has {self.n_rows}")
        return self._index.contributions(row + self._first, query)


def vector_run(index: VectorIndex, first: int, stop: int) -> FlatIndex:
    """Return the vectors of the rows from `first` to `stop` as an index that compares all of them; no copy.

    Raises ValueError where these are no rows of the index.
    """
    if not 0 <= first <= stop <= index.n_rows:
        raise ValueError(f"a run must lie in the rows 0 to {index.n_rows}, not be {first} to {stop}")
    flat = index.flat
    return FlatIndex(flat.vectors[first:stop], largest_norm=flat.largest_norm)
