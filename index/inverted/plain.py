"""Small work in NumPy, with the very results of the kernels, for processes that are about to end.

A command that answers one query, or indexes some hundred documents, spends its time on getting ready: importing Numba
and loading kernels takes longer than the work itself, and compiling them, on a machine that never did, a hundred times
as long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.index.inverted.format import Postings
from lexhound.index.inverted.postings import count_postings_of, entry_ranges
from lexhound.index.inverted.quantization import Query
from lexhound.index.jit import avoids_kernels, is_loaded
from lexhound.index.topk import SearchStats, TopK

_ROW_MASK = (1 << 32) - 1

_FEW_POSTINGS = 1 << 20  # that a process goes through here rather than load a kernel: some tenths of a second


class _Done:
    """How many postings this process has gone through here."""

    postings = 0


def are_few(postings: int, kernel: Callable[..., Any]) -> bool:
    """Return whether so many postings more are to be gone through here, as the kernel for it is not loaded yet."""
    if is_loaded(kernel) or _Done.postings + postings > _FEW_POSTINGS:
        return False
    _Done.postings += postings
    return True


def is_plain(postings: Postings, terms: NDArray[np.int32]) -> bool:
    """Return whether the lists of these terms are to be read here."""
    if not avoids_kernels(1):
        return False
    return avoids_kernels(int(count_postings_of(entry_ranges(postings, terms), postings.entry_ends).sum()))


def search_postings(
    postings: Postings,
    query: Query,
    k: int,
    allowed: NDArray[np.bool_] | None,
    above: int,
    unit: float,
    run: tuple[int, int] | None = None,
) -> tuple[TopK, SearchStats]:
    """Return the best `k` rows for a query whose integer score is more than `above`, and the work.

    Args:
        allowed: bool[n_rows], the rows that may be returned; None for all.
        unit: what an integer score of 1 is worth.
        run: the first row that is searched, and the end of them; rows are counted from there. None for all.
    """
    first, stop = run or (0, postings.n_rows)
    scores = np.zeros(stop - first, np.int64)
    read = 0
    for (rows, impacts), weight in zip(_lists(postings, query.terms, first, stop), query.weights.tolist(), strict=True):
        np.add.at(scores, rows, weight * impacts)  # in a damaged file a row may occur twice
        read += len(rows)
    good = scores > above
    if allowed is not None:
        good &= allowed
    found = np.flatnonzero(good)
    keys = (scores[found] << 32) | (_ROW_MASK - found)
    if len(keys) > k:
        keys = np.partition(keys, len(keys) - k)[len(keys) - k :]
    keys = np.sort(keys)[::-1]
    top = TopK(_ROW_MASK - (keys & _ROW_MASK), (keys >> 32).astype(np.float64) * unit)
    return top, SearchStats(read, len(found))


def count_live_postings(
    postings: Postings, terms: NDArray[np.int32], live: NDArray[np.bool_], first: int = 0
) -> NDArray[np.int64]:
    """Return how many rows that are true in `live`, bool of the rows from `first` on, hold each term: int64[m]."""
    lists = _lists(postings, terms, first, first + len(live))
    return np.array([np.count_nonzero(live[rows]) for rows, _ in lists], np.int64)


def mark_posting_rows(postings: Postings, terms: NDArray[np.int32], marks: NDArray[np.bool_], first: int = 0) -> None:
    """Set the marks, bool of the rows from `first` on, of those that hold one of the terms."""
    for rows, _ in _lists(postings, terms, first, first + len(marks)):
        marks[rows] = True


def _lists(
    postings: Postings, terms: NDArray[np.int32], low: int, high: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the rows from `low` to `high`, counted from there, and impacts of each term, int64 both.

    Rows that only damaged files have are left out.
    """
    for first, last in entry_ranges(postings, terms).tolist():
        start = int(postings.entry_ends[first - 1]) if first else 0
        ends = postings.entry_ends[first:last].astype(np.int64)
        stop = int(ends[-1]) if first < last else start
        windows = postings.entry_windows[first:last].astype(np.int64)
        within = postings.rows[start:stop].astype(np.int64)
        rows = within + np.repeat(windows << postings.window_bits, np.diff(ends, prepend=start))
        inside = (within < 1 << postings.window_bits) & (rows >= low) & (rows < high)
        yield rows[inside] - low, postings.impacts[start:stop][inside].astype(np.int64)


def first_wrong_row(starts: NDArray[np.int64], columns: NDArray[np.int32]) -> int:
    """Return the first row of a CSR matrix whose columns do not ascend, or -1."""
    falls = np.flatnonzero(columns[1:] <= columns[:-1]) + 1
    wrong = falls[~np.isin(falls, starts)]
    return int(np.searchsorted(starts, wrong[0], side="right")) - 1 if len(wrong) else -1


def order_of_postings(
    starts: NDArray[np.int64], columns: NDArray[np.int32], window_bits: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return how the entries of a CSR matrix become postings by term and then row.

    Returns which entry each posting is, int64[nnz]; its row, int64[nnz]; and where the postings of each entry of the
    directory, a term in a window, begin.
    """
    order = np.argsort(columns, kind="stable")
    rows = np.repeat(np.arange(len(starts) - 1), np.diff(starts))[order]
    sorted_columns, windows = columns[order], rows >> window_bits
    new = (sorted_columns[1:] != sorted_columns[:-1]) | (windows[1:] != windows[:-1])
    begins = np.concatenate([[0], np.flatnonzero(new) + 1])[: len(order)]
    return order, rows, begins
