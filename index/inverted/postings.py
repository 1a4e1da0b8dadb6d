"""Single posting lists: where they stand, what a row holds of a query, which rows hold a term, and how many."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexhound.index.inverted.format import Postings
from lexhound.index.inverted.quantization import Query
from lexhound.index.inverted.query_lists import place_of
from lexhound.index.jit import Integer, as_python, frozen, kernel


def entry_ranges(postings: Postings, terms: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the first entry of each term and the end of its entries: int64[m, 2], equal for terms it lacks."""
    known = postings.terms
    term_ids = np.asarray(terms, np.int64)
    entries = np.zeros((len(term_ids), 2), np.int64)
    # Negative or huge ids are in no index; they would wrap around as uint32.
    possible = np.flatnonzero((term_ids >= 0) & (term_ids < 1 << 32))
    ids = term_ids[possible].astype(np.uint32)
    at = np.searchsorted(known, ids)
    inside = at < len(known)
    at, possible, ids = at[inside], possible[inside], ids[inside]
    equal = known[at] == ids
    at, possible = at[equal], possible[equal]
    entries[possible, 0] = postings.entry_starts[at]
    entries[possible, 1] = postings.entry_starts[at + 1]
    return entries


def count_postings_of(entries: NDArray[np.int64], entry_ends: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Return the number of postings between the first entry and the end of the entries, for each pair of `entries`."""
    bounds = np.zeros(entries.shape, np.int64)
    after_first = entries > 0
    bounds[after_first] = entry_ends[entries[after_first] - 1]
    counts: NDArray[np.int64] = bounds[:, 1] - bounds[:, 0]
    return counts


@kernel
def count_live(
    entries: NDArray[np.int64],
    entry_windows: NDArray[np.uint16],
    entry_ends: NDArray[np.uint32],
    rows: NDArray[np.uint16],
    window_bits: int,
    live: NDArray[np.bool_],
    counts: NDArray[np.int64],
) -> None:
    """Count the postings of each term whose row is live.

    entries int64[m, 2]: first entry of each term and the end of its entries (equal when there are none); live:
    bool[n_rows]; counts int64[m]: written. O(postings of the terms). Rows past the last, which only a damaged file
    has, are not counted.
    """
    for i in range(len(entries)):
        count = 0
        for entry in range(entries[i, 0], entries[i, 1]):
            base = np.int64(entry_windows[entry]) << window_bits
            start = np.int64(entry_ends[entry - 1]) if entry > 0 else 0
            for at in range(start, np.int64(entry_ends[entry])):
                row = base + np.int64(rows[at])
                if row < len(live) and live[row]:
                    count += 1
        counts[i] = count


@kernel
def mark_rows(
    entries: NDArray[np.int64],
    entry_windows: NDArray[np.uint16],
    entry_ends: NDArray[np.uint32],
    rows: NDArray[np.uint16],
    window_bits: int,
    first: int,
    marks: NDArray[np.bool_],
) -> None:
    """Set the marks of the rows that hold one of some terms.

    entries int64[m, 2]: as for `count_live`; marks: bool of the rows from `first` on, written. O(postings of the
    terms in the windows of these rows). Rows past the last, which only a damaged file has, are passed over.
    """
    for i in range(len(entries)):
        for entry in range(entries[i, 0], entries[i, 1]):
            base = np.int64(entry_windows[entry]) << window_bits
            if base >= first + len(marks):
                break
            if base + (1 << window_bits) <= first:
                continue
            start = np.int64(entry_ends[entry - 1]) if entry > 0 else 0
            for at in range(start, np.int64(entry_ends[entry])):
                row = base + np.int64(rows[at]) - first
                if 0 <= row < len(marks):
                    marks[row] = True


@kernel
def count_run(
    entries: NDArray[np.int64],
    entry_windows: NDArray[np.uint16],
    entry_ends: NDArray[np.uint32],
    rows: NDArray[np.uint16],
    window_bits: int,
    run: tuple[int, int],
    live: NDArray[np.bool_],
    counts: NDArray[np.int64],
) -> None:
    """Count the postings of each term whose row is in a run, and live unless `live` is empty.

    run: the first row and the end of them; live: bool of the rows of the run, or of none; all else as for `count_live`.
    Three binary searches a term and window of the run; with `live`, its postings in the run are read.
    """
    first, stop = run
    for i in range(len(entries)):
        low, high = entries[i, 0], entries[i, 1]
        while low < high:
            middle = (low + high) >> 1
            if entry_windows[middle] < first >> window_bits:
                low = middle + 1
            else:
                high = middle
        count: Integer = 0
        for entry in range(low, entries[i, 1]):
            base = np.int64(entry_windows[entry]) << window_bits
            if base >= stop:
                break
            start = np.int64(entry_ends[entry - 1]) if entry > 0 else 0
            begin = place_of(rows, start, np.int64(entry_ends[entry]), first - base)
            end = place_of(rows, begin, np.int64(entry_ends[entry]), stop - base)
            if len(live) == 0:
                count += end - begin
                continue
            for at in range(begin, end):
                row = base + np.int64(rows[at]) - first
                if 0 <= row < len(live) and live[row]:
                    count += 1
        counts[i] = count


@kernel
def impacts_of_row(
    row: int,
    entries: NDArray[np.int64],
    entry_windows: NDArray[np.uint16],
    entry_ends: NDArray[np.uint32],
    rows: NDArray[np.uint16],
    impacts: NDArray[np.uint8],
    window_bits: int,
    impacts_of_terms: NDArray[np.int64],
) -> None:
    """Write the impact of each term in a row, 0 where the row lacks it.

    entries int64[m, 2]: as for `count_live`; impacts_of_terms int64[m]: written. Two binary searches a term.
    """
    window = row >> window_bits
    within = row & ((1 << window_bits) - 1)
    for i in range(len(entries)):
        impacts_of_terms[i] = 0
        low, high = entries[i, 0], entries[i, 1]
        while low < high:
            middle = (low + high) >> 1
            if entry_windows[middle] < window:
                low = middle + 1
            else:
                high = middle
        if low >= entries[i, 1] or entry_windows[low] != window:
            continue
        low_posting = np.int64(entry_ends[low - 1]) if low > 0 else 0
        high_posting = stop = np.int64(entry_ends[low])
        while low_posting < high_posting:
            middle = (low_posting + high_posting) >> 1
            if rows[middle] < within:
                low_posting = middle + 1
            else:
                high_posting = middle
        if low_posting < stop and rows[low_posting] == within:
            impacts_of_terms[i] = impacts[low_posting]


def score_rows(postings: Postings, query: Query, rows: NDArray[np.int64], *, plain: bool) -> NDArray[np.float64]:
    """Return the scores of some rows in steps of an impact of 1: float64[n]; with `plain` without a kernel.

    Two binary searches a term and row.
    """
    sums = np.empty(len(rows), np.int64)
    compute = as_python(sums_of_rows) if plain else sums_of_rows
    compute(
        frozen(rows),
        frozen(entry_ranges(postings, query.terms)),
        query.weights,
        (postings.entry_windows, postings.entry_ends, postings.window_bits),
        postings.rows,
        postings.impacts,
        sums,
    )
    return sums.astype(np.float64) * query.scale


@kernel
def sums_of_rows(
    wanted: NDArray[np.int64],
    entries: NDArray[np.int64],
    weights: NDArray[np.int32],
    directory: tuple[NDArray[np.uint16], NDArray[np.uint32], int],
    rows: NDArray[np.uint16],
    impacts: NDArray[np.uint8],
    sums: NDArray[np.int64],
) -> None:
    """Write the integer scores of some rows.

    wanted, sums: int64[n]; entries int64[m, 2]: as for `count_live`; weights: int32[m], of their terms; directory:
    the windows and ends of the entries, and the bits of a window. Two binary searches a term and row.
    """
    entry_windows, entry_ends, window_bits = directory
    for i in range(len(wanted)):
        window, within = wanted[i] >> window_bits, wanted[i] & ((1 << window_bits) - 1)
        total = np.int64(0)
        for j in range(len(entries)):
            low, high = entries[j, 0], entries[j, 1]
            while low < high:
                middle = (low + high) >> 1
                if entry_windows[middle] < window:
                    low = middle + 1
                else:
                    high = middle
            if low < entries[j, 1] and entry_windows[low] == window:
                start = np.int64(entry_ends[low - 1]) if low > 0 else 0
                stop = np.int64(entry_ends[low])
                at = place_of(rows, start, stop, within)
                if at < stop and rows[at] == within:
                    total += np.int64(weights[j]) * np.int64(impacts[at])
        sums[i] = total
