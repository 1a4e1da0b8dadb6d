"""Reading an inverted index back by rows and by terms, for what needs whole vectors: exports, other engines.

A search never does this. Rows are read a window at a time (some 32,000 rows), so memory does not grow with the index.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .format import Postings
from .index import InvertedIndex


@dataclass(frozen=True, slots=True, eq=False)
class ForwardRows:
    """The vectors of rows `first` to `first + len(indptr) - 1`, in row-compressed form.

    indptr: int64[n + 1]; terms: uint32[entries], ascending within a row; impacts: uint8[entries], 1 to 255;
    frequencies: uint8[entries] where the index keeps them, else None.
    """

    first: int
    indptr: NDArray[np.int64]
    terms: NDArray[np.uint32]
    impacts: NDArray[np.uint8]
    frequencies: NDArray[np.uint8] | None

    def __len__(self) -> int:
        return len(self.indptr) - 1


def forward_windows(index: InvertedIndex) -> Iterator[ForwardRows]:
    """Return every row of an index, in order, a window at a time; rows without terms are there, empty."""
    postings = index.postings
    for first in range(0, postings.n_rows, 1 << postings.window_bits):
        yield _window(postings, first >> postings.window_bits)


def _window(postings: Postings, window: int) -> ForwardRows:
    first = window << postings.window_bits
    n_rows = min(1 << postings.window_bits, postings.n_rows - first)
    entries = np.flatnonzero(postings.entry_windows == window)
    starts = _starts(postings, entries)
    lengths = postings.entry_ends[entries].astype(np.int64) - starts
    positions = _ranges(starts, lengths)
    slots = np.searchsorted(postings.entry_starts, entries, side="right") - 1
    rows = postings.rows[positions]
    # Postings come in order of their terms, so a stable sort by row leaves each row's terms ascending.
    order = np.argsort(rows, kind="stable")
    indptr = np.zeros(n_rows + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=n_rows)[:n_rows], out=indptr[1:])
    positions = positions[order]
    return ForwardRows(
        first,
        indptr,
        np.repeat(postings.terms[slots], lengths)[order],
        postings.impacts[positions],
        None if postings.frequencies is None else postings.frequencies[positions],
    )


def postings_of(
    index: InvertedIndex, slot: int
) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Return the list of the term `index.postings.terms[slot]`: ascending rows int64[m], impacts, any frequencies."""
    postings = index.postings
    begin, end = int(postings.entry_starts[slot]), int(postings.entry_starts[slot + 1])
    entries = np.arange(begin, end)
    starts = _starts(postings, entries)
    lengths = postings.entry_ends[begin:end].astype(np.int64) - starts
    low, high = (int(starts[0]), int(starts[0] + lengths.sum())) if len(starts) else (0, 0)
    rows = np.repeat(postings.entry_windows[begin:end].astype(np.int64) << postings.window_bits, lengths)
    rows += postings.rows[low:high]
    frequencies = None if postings.frequencies is None else postings.frequencies[low:high]
    return rows, postings.impacts[low:high], frequencies


def _starts(postings: Postings, entries: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where the postings of each entry begin: where those of the entry before it end."""
    starts = np.zeros(len(entries), np.int64)
    later = entries > 0
    starts[later] = postings.entry_ends[entries[later] - 1]
    return starts


def _ranges(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return `starts[i], starts[i] + 1, ...` of each length, one behind the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(total)
