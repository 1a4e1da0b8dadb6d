"""From document vectors to postings: one counting sort by term, on several threads."""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lexhound.index.inverted import format as layout
from lexhound.index.inverted.blocks import with_blocks
from lexhound.index.inverted.format import Postings
from lexhound.index.inverted.plain import are_few, first_wrong_row, order_of_postings
from lexhound.index.inverted.quantization import QuantisationLoss, exact_scale, quantise_with_loss
from lexhound.index.jit import frozen, kernel

_WIDE = 1 << 32  # offsets from here on need 64 bits
_NOTHING: NDArray[np.uint8] = frozen(np.empty(0, np.uint8))
_COUNTERS = 1 << 23  # terms of the vocabulary times threads, at most: 36 bytes each while building


class SparseRows(Protocol):
    """Document vectors as they are read: a scipy `csr_array` has it, and so may anything else.

    shape: (rows, vocabulary size); indptr: int[rows + 1]; indices: int[nnz], ascending within a row; data:
    float32[nnz].
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def indptr(self) -> NDArray[Any]: ...

    @property
    def indices(self) -> NDArray[Any]: ...

    @property
    def data(self) -> NDArray[Any]: ...


class CompressedRows(NamedTuple):
    """Rows of a CSR matrix with impacts: starts int64[n + 1], columns int32[nnz], impacts uint8[nnz].

    frequencies: uint8[nnz], or of length 0. The first row begins a window.
    """

    starts: NDArray[np.int64]
    columns: NDArray[np.int32]
    impacts: NDArray[np.uint8]
    frequencies: NDArray[np.uint8]


class SortedPostings(NamedTuple):
    """The arrays of an index that the counting sort fills; see `format`."""

    entry_windows: NDArray[np.uint16]
    entry_ends: NDArray[Any]
    rows: NDArray[np.uint16]
    impacts: NDArray[np.uint8]
    frequencies: NDArray[np.uint8]


def invert(
    weights: SparseRows,
    *,
    scale: float,
    frequencies: NDArray[np.uint8] | None,
    lengths: NDArray[np.uint32] | None,
    window_bits: int | None,
    threads: int | None = None,
) -> tuple[Postings, QuantisationLoss, float]:
    """Return postings of the rows of `weights`, the loss of their quantisation, and the scale as it was rounded.

    Reads only `shape`, `indptr`, `indices` and `data` of `weights`. Raises ValueError as `builder.build_inverted`.
    """
    starts, columns, vocabulary_size = _checked_matrix(weights)
    n_rows, n_postings = len(starts) - 1, len(columns)
    window_bits = layout.usual_window_bits(n_rows) if window_bits is None else window_bits
    check_size(n_rows, window_bits)
    _check_optional(frequencies, lengths, n_rows, n_postings)
    exact = exact_scale(scale)
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, not {threads}")
    if threads is None and are_few(n_postings, place_postings):
        return (*_sorted(weights, starts, columns, exact, frequencies, lengths, window_bits), exact)
    workers = max(1, min(threads or os.cpu_count() or 1, _COUNTERS // max(1, vocabulary_size)))
    parts = _parts(starts, window_bits, workers)
    with ThreadPoolExecutor(workers) as pool:
        # Terms of a part before those of the next: so each knows where its own postings begin, and none waits.
        counted = [pool.submit(_count, starts, columns, window_bits, vocabulary_size, *part) for part in parts]
        impacts, loss = quantise_with_loss(weights.data, exact, pool)
        counts = [each.result() for each in counted]
        _check_rows([row for _, _, row in counts], vocabulary_size)
        first_postings, ends = _starts_of([postings for postings, _, _ in counts], vocabulary_size)
        next_entries, entry_counts = _starts_of([entries for _, entries, _ in counts], vocabulary_size)
        terms = np.flatnonzero(ends)
        entry_starts = np.concatenate([[0], np.cumsum(entry_counts[terms])])
        filled = _empty_postings(n_postings, int(entry_starts[-1]), frequencies is not None)
        source = (columns, frozen(impacts), _NOTHING if frequencies is None else frozen(frequencies))
        placed = [
            pool.submit(
                place_postings,
                (frozen(starts[first : last + 1]), *source),
                first,
                window_bits,
                part_postings,
                part_entries,
                np.full(vocabulary_size, -1, np.int32),
                tuple(filled),
            )
            for (first, last), part_postings, part_entries in zip(parts, first_postings, next_entries, strict=True)
        ]
        for each in placed:
            each.result()
    optional = None if frequencies is None else filled.frequencies, lengths
    return _postings(terms, entry_starts, filled, *optional, n_rows, window_bits), loss, exact


def _postings(
    terms: NDArray[Any],
    entry_starts: NDArray[np.int64],
    filled: SortedPostings,
    frequencies: NDArray[np.uint8] | None,
    lengths: NDArray[np.uint32] | None,
    n_rows: int,
    window_bits: int,
) -> Postings:
    postings = Postings(
        terms=frozen(terms.astype(np.uint32)),
        entry_starts=frozen(entry_starts.astype(filled.entry_ends.dtype)),
        entry_windows=frozen(filled.entry_windows),
        entry_ends=frozen(filled.entry_ends),
        entry_maxima=frozen(entry_maxima(filled.entry_ends, filled.impacts)),
        rows=frozen(filled.rows),
        impacts=frozen(filled.impacts),
        frequencies=None if frequencies is None else frozen(frequencies),
        lengths=None if lengths is None else frozen(lengths.copy()),
        n_rows=n_rows,
        window_bits=window_bits,
    )
    return with_blocks(postings)


def _sorted(
    weights: SparseRows,
    starts: NDArray[np.int64],
    columns: NDArray[np.int32],
    exact: float,
    frequencies: NDArray[np.uint8] | None,
    lengths: NDArray[np.uint32] | None,
    window_bits: int,
) -> tuple[Postings, QuantisationLoss]:
    """Return the same postings by sorting, without a kernel."""
    impacts, loss = quantise_with_loss(weights.data, exact)
    _check_rows([first_wrong_row(starts, columns)], int(weights.shape[1]))
    order, rows, begins = order_of_postings(starts, columns, window_bits)
    terms, entry_starts = np.unique(columns[order][begins], return_index=True)
    filled = _empty_postings(len(order), len(begins), frequencies is not None)
    filled.entry_windows[:] = rows[begins] >> window_bits
    filled.entry_ends[:] = np.append(begins[1:], len(order))[: len(begins)]
    filled.rows[:] = rows & ((1 << window_bits) - 1)
    filled.impacts[:] = impacts[order]
    if frequencies is not None:
        filled.frequencies[:] = frequencies[order]
    all_starts = np.append(entry_starts, len(begins))
    optional = None if frequencies is None else filled.frequencies, lengths
    return _postings(terms, all_starts, filled, *optional, len(starts) - 1, window_bits), loss


def _checked_matrix(weights: SparseRows) -> tuple[NDArray[np.int64], NDArray[np.int32], int]:
    """Return row pointers, columns and the size of the vocabulary. Raises ValueError for a matrix that is none."""
    n_rows, vocabulary_size = (int(n) for n in weights.shape)
    if vocabulary_size >= 1 << 31:
        raise ValueError(f"a vocabulary has at most 2**31 - 1 terms, not {vocabulary_size}")
    if len(weights.indices) and not 0 <= weights.indices.min() <= weights.indices.max() < vocabulary_size:
        raise ValueError(f"the matrix has column indices outside of 0..{vocabulary_size - 1}")
    starts = frozen(np.asarray(weights.indptr, np.int64))
    columns = frozen(np.asarray(weights.indices, np.int32))
    if len(starts) != n_rows + 1 or starts[0] != 0 or starts[-1] != len(columns) or (np.diff(starts) < 0).any():
        raise ValueError("the row pointers of the matrix do not fit its shape and its entries")
    return starts, columns, vocabulary_size


def _check_optional(
    frequencies: NDArray[np.uint8] | None, lengths: NDArray[np.uint32] | None, n_rows: int, n_postings: int
) -> None:
    """Raise ValueError for frequencies or lengths of another type or size."""
    if frequencies is not None and (frequencies.dtype != np.uint8 or frequencies.shape != (n_postings,)):
        raise ValueError(f"frequencies must be uint8[{n_postings}], one per weight, not {_describe(frequencies)}")
    if lengths is not None and (lengths.dtype != np.uint32 or lengths.shape != (n_rows,)):
        raise ValueError(f"lengths must be uint32[{n_rows}], one per row, not {_describe(lengths)}")


def _check_rows(bad_rows: list[int], vocabulary_size: int) -> None:
    """Raise ValueError for the first row that breaks the rules; -1 stands for none."""
    bad_row = next((row for row in bad_rows if row >= 0), -1)
    if bad_row >= 0:
        raise ValueError(
            f"the indices of row {bad_row} must be ascending, without repetition and below {vocabulary_size}; "
            "call sum_duplicates() and sort_indices() first"
        )


def _empty_postings(n_postings: int, n_entries: int, with_frequencies: bool) -> SortedPostings:
    return SortedPostings(
        np.empty(n_entries, np.uint16),
        np.empty(n_entries, offset_dtype(n_postings)),
        np.empty(n_postings, np.uint16),
        np.empty(n_postings, np.uint8),
        np.empty(n_postings if with_frequencies else 0, np.uint8),
    )


def _parts(starts: NDArray[np.int64], window_bits: int, workers: int) -> list[tuple[int, int]]:
    """Return the rows in one to `workers` parts of whole windows, with about equally many postings."""
    n_rows = len(starts) - 1
    width = 1 << window_bits
    shares = np.arange(1, workers) * (int(starts[-1]) / workers)
    cuts = np.rint(np.searchsorted(starts, shares) / width).astype(np.int64) * width
    bounds = np.unique(np.concatenate([[0], cuts[(cuts > 0) & (cuts < n_rows)], [n_rows]])).tolist()
    return list(itertools.pairwise(bounds)) or [(0, 0)]


def _count(
    starts: NDArray[np.int64], columns: NDArray[np.int32], window_bits: int, vocabulary_size: int, first: int, last: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Count each term's postings and entries in rows `first` to `last`; return also the first wrong row, or -1."""
    postings, entries = np.zeros(vocabulary_size, np.int64), np.zeros(vocabulary_size, np.int64)
    seen = np.full(vocabulary_size, -1, np.int32)
    bad = count_postings(frozen(starts[first : last + 1]), columns, window_bits, seen, postings, entries)
    return postings, entries, bad + first if bad >= 0 else -1


def _starts_of(
    counts: list[NDArray[np.int64]], vocabulary_size: int
) -> tuple[list[NDArray[np.int64]], NDArray[np.int64]]:
    """Return where each part's postings (or entries) of each term begin, by term and then part; and the sums."""
    sums = np.sum(counts, axis=0)
    begin = np.concatenate([[0], np.cumsum(sums)[:-1]]) if vocabulary_size else sums
    starts = []
    for count in counts:
        starts.append(begin)
        begin = begin + count
    return starts, sums


def check_size(n_rows: int, window_bits: int) -> None:
    """Raise ValueError when so many rows cannot be cut into such windows."""
    if not 0 <= window_bits <= layout.MAX_WINDOW_BITS:
        raise ValueError(f"window_bits must be 0 to {layout.MAX_WINDOW_BITS}, not {window_bits}")
    most = layout.MAX_WINDOWS << window_bits
    if not 0 <= n_rows <= most:
        raise ValueError(f"an index with windows of 2**{window_bits} rows holds at most {most} rows, not {n_rows}")


def offset_dtype(n_postings: int) -> type[np.unsignedinteger[Any]]:
    """Return the type of offsets into that many postings (there are never more entries than postings)."""
    return np.uint32 if n_postings < _WIDE else np.uint64


def entry_maxima(ends: NDArray[Any], impacts: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the greatest impact of each entry: uint8[E]; `ends` as in `layout`, no entry empty."""
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1].astype(np.int64)])[: len(ends)]
    return np.maximum.reduceat(impacts, starts) if len(starts) else np.empty(0, np.uint8)


def _describe(array: NDArray[Any]) -> str:
    return f"{array.dtype}{list(array.shape)}"


@kernel
def count_postings(
    starts: NDArray[np.int64],
    columns: NDArray[np.int32],
    window_bits: int,
    last_window: NDArray[np.int32],
    postings: NDArray[np.int64],
    entries: NDArray[np.int64],
) -> int:
    """Count the postings and the entries of each term; returns the first row whose indices break the rules, or -1.

    starts int64[rows + 1], columns int32[nnz]: rows of a CSR matrix, of which the first begins a window. last_window
    int32[V], all -1; postings, entries int64[V], zero: written. O(nnz).
    """
    for row in range(len(starts) - 1):
        window = np.int32(row >> window_bits)
        before = np.int64(-1)
        for at in range(starts[row], starts[row + 1]):
            term = np.int64(columns[at])
            if term <= before or term >= len(postings):
                return row
            before = term
            postings[term] += 1
            if last_window[term] != window:
                last_window[term] = window
                entries[term] += 1
    return -1


@kernel
def place_postings(
    compressed_rows: tuple[Any, ...],
    first: int,
    window_bits: int,
    next_postings: NDArray[np.int64],
    next_entries: NDArray[np.int64],
    last_window: NDArray[np.int32],
    sorted_postings: tuple[Any, ...],
) -> None:
    """Put every posting in its place: a counting sort by term, stable, so that rows ascend within a term. O(nnz).

    The fields of `CompressedRows`, of the rows from `first` on, and of `SortedPostings`, which are written where these
    rows belong. next_postings, next_entries int64[V]: first posting and first entry of each term in these rows; used
    up. last_window int32[V], all -1.
    """
    starts, columns, impacts, frequencies = compressed_rows
    entry_windows, entry_ends, out_rows, out_impacts, out_frequencies = sorted_postings
    mask = (1 << window_bits) - 1
    for i in range(len(starts) - 1):
        row = first + i
        window = np.int32(row >> window_bits)
        for at in range(starts[i], starts[i + 1]):
            term = columns[at]
            posting = next_postings[term]
            next_postings[term] = posting + 1
            out_rows[posting] = row & mask
            out_impacts[posting] = impacts[at]
            if len(frequencies) > 0:
                out_frequencies[posting] = frequencies[at]
            if last_window[term] != window:
                last_window[term] = window
                entry = next_entries[term]
                next_entries[term] = entry + 1
                entry_windows[entry] = window
                entry_ends[entry] = posting + 1
            else:
                entry_ends[next_entries[term] - 1] = posting + 1
