"""Several indexes into one: rows renumbered or dropped, postings copied or weighed again, in bounded memory.

Terms are taken in ascending order, in chunks of a bounded number of postings (a term's list is never cut), so that
memory depends on the size of a chunk and on the number of rows and terms, not on the number of postings.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.core.progress import Pace, no_pace
from lexhound.index.array_files import ArrayDirectoryWriter
from lexhound.index.jit import frozen, kernel

from . import format as layout
from .blocks import blocked_terms, maxima_of_terms
from .builder import attributes_of, term_dtype
from .format import Postings
from .index import InvertedIndex
from .inversion import check_size, entry_maxima, offset_dtype
from .quantization import (
    MAX_IMPACT,
    QuantisationLoss,
    exact_scale,
    quantise_with_loss,
    requantisation_loss,
    requantised,
)

Reweigh = Callable[[NDArray[np.uint8], NDArray[np.uint32]], NDArray[np.float32]]
"""New weights of postings, from their term frequencies and the lengths of their rows."""

CHUNK_POSTINGS = 1 << 22  # some 100 MB of temporary memory at 25 bytes a posting


@dataclass(frozen=True, slots=True, eq=False)
class MergePart:
    """An index and what becomes of its rows: `new_rows` int64[n_rows], -1 for those that are dropped."""

    index: InvertedIndex
    new_rows: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Chunks:
    """How the work is cut: `postings` a chunk, at most; `pace` is told how many postings of the parts each has read."""

    postings: int = CHUNK_POSTINGS
    pace: Pace = no_pace


def merge_inverted(
    directory: str | os.PathLike[str],
    parts: Sequence[MergePart],
    n_rows: int,
    *,
    scale: float,
    reweigh: Reweigh | None = None,
    mean_length: float | None = None,
    window_bits: int | None = None,
    chunks: Chunks = Chunks(),
) -> InvertedIndex:
    """Write the union of `parts` into a new directory as an index of `n_rows` rows, and open it.

    The result is the index that `build_inverted` would have made of the surviving rows under their new numbers, in any
    interleaving; rows that no part maps to are empty. With `reweigh` (which needs parts built with frequencies and
    lengths) the weights are made anew, quantised with `scale`, and the loss is measured; `mean_length` is kept as what
    they were made with. Without it impacts are copied where a part has this `scale`, and otherwise rounded from its own
    scale to this one (`quantise.requantised`), which may clip; the losses are added up, and where rows are dropped that
    is an estimate (`QuantisationLoss.of_survivors`). Frequencies and lengths are kept when every part has them.

    Raises ValueError when the maps do not fit (a row out of range or mapped to twice) or frequencies are lacking;
    IndexStorageError and OSError as `build_inverted`, and like it leaves nothing behind when it fails.
    """
    window_bits = layout.usual_window_bits(n_rows) if window_bits is None else window_bits
    check_size(n_rows, window_bits)
    exact = exact_scale(scale)
    new_rows = _check_maps(parts, n_rows)
    weighable = all(part.index.postings.weighable for part in parts)
    if reweigh is not None and not weighable:
        raise ValueError("an index without term frequencies and row lengths cannot be weighed again")
    keep = weighable and (len(parts) > 0 or reweigh is not None)
    lengths = _merged_lengths(parts, new_rows, n_rows) if keep else None
    merger = _Merger(parts, new_rows, keep, exact)
    with ArrayDirectoryWriter(directory, kind=layout.KIND, format=layout.FORMAT) as writer:
        merged = _MergedArrays(writer, merger, n_rows, window_bits)
        for first, last in merger.chunks(chunks.postings):
            chunk = merger.gather(first, last)
            if reweigh is not None and lengths is not None:
                chunk = merged.reweighed(chunk, reweigh, lengths, exact)
            merged.append(merger.terms[first:last], chunk)
            chunks.pace(merger.size(first, last))
        postings = merged.finish(lengths)
        loss = merged.loss if reweigh is not None else merger.loss(parts, exact)
        attributes = dict(attributes_of(postings, exact, loss, mean_length))
        del postings
        writer.finish(attributes)
    return InvertedIndex.open(directory)


def _check_maps(parts: Sequence[MergePart], n_rows: int) -> list[NDArray[np.int64]]:
    taken = np.zeros(n_rows, np.bool_)
    maps = []
    for i, part in enumerate(parts):
        new_rows = np.asarray(part.new_rows)
        if new_rows.shape != (part.index.n_rows,) or new_rows.dtype.kind != "i":
            raise ValueError(
                f"part {i} needs int64[{part.index.n_rows}] new rows, not {new_rows.dtype}{list(new_rows.shape)}"
            )
        surviving = new_rows[new_rows != -1]
        if len(surviving) and (surviving.min() < 0 or surviving.max() >= n_rows):
            raise ValueError(f"part {i} has new rows outside of -1..{n_rows - 1}")
        before = int(np.count_nonzero(taken))
        taken[surviving] = True
        if int(np.count_nonzero(taken)) != before + len(surviving):
            raise ValueError(f"part {i} maps a row to a new row that is taken already")
        maps.append(frozen(new_rows.astype(np.int64, copy=False)))
    return maps


def _merged_lengths(
    parts: Sequence[MergePart], new_rows: Sequence[NDArray[np.int64]], n_rows: int
) -> NDArray[np.uint32]:
    lengths = np.zeros(n_rows, np.uint32)
    for part, renumbered in zip(parts, new_rows, strict=True):
        surviving = renumbered >= 0
        if part.index.lengths is not None:
            lengths[renumbered[surviving]] = part.index.lengths[surviving]
    return lengths


@dataclass(frozen=True, slots=True, eq=False)
class _Chunk:
    """The merged postings of some consecutive terms: by term, then by new row."""

    starts: NDArray[np.int64]  # [t + 1], of each term's postings in the arrays below
    rows: NDArray[np.uint32]
    impacts: NDArray[np.uint8]
    frequencies: NDArray[np.uint8]  # of length 0 when they are not kept


class _Merger:
    """A merger of the postings of consecutive terms from all parts, with impacts in steps of `scale`.

    `impact_counts` counts which impacts were taken of each part, before they were rounded: int64[256] a part.
    """

    def __init__(
        self, parts: Sequence[MergePart], new_rows: Sequence[NDArray[np.int64]], keep: bool, scale: float
    ) -> None:
        self._levels = [frozen(requantised(part.index.scale, scale)) for part in parts]
        self.impact_counts = [np.zeros(MAX_IMPACT + 1, np.int64) for _ in parts]
        self._survivors = np.zeros(len(parts), np.int64)
        self.postings = [part.index.postings for part in parts]
        self.new_rows = new_rows
        self.keep = keep
        dictionaries = [postings.terms for postings in self.postings]
        self.terms: NDArray[np.uint32] = np.unique(np.concatenate([np.empty(0, np.uint32), *dictionaries]))
        self._sizes = np.zeros(len(self.terms), np.int64)
        for postings in self.postings:
            bounds = np.concatenate([np.zeros(1, np.int64), postings.entry_ends.astype(np.int64)])
            self._sizes[np.searchsorted(self.terms, postings.terms)] += np.diff(bounds[postings.entry_starts])

    def chunks(self, most: int) -> Iterator[tuple[int, int]]:
        """Return ranges of `terms` with at most `most` postings each, or of a single term with more."""
        after = np.cumsum(self._sizes)
        first = 0
        while first < len(after):
            done = int(after[first - 1]) if first else 0
            last = max(first + 1, int(np.searchsorted(after, done + most, side="right")))
            yield first, last
            first = last

    def size(self, first: int, last: int) -> int:
        """Return how many postings `terms[first:last]` have in all parts, those of dropped rows included."""
        return int(self._sizes[first:last].sum())

    def loss(self, parts: Sequence[MergePart], scale: float) -> QuantisationLoss:
        """Return the loss of impacts that were copied or rounded to `scale`."""
        loss = QuantisationLoss()
        for part, count, impact_counts in zip(parts, self._survivors.tolist(), self.impact_counts, strict=True):
            loss = loss.merge(part.index.loss.of_survivors(count))
            loss = loss.merge(requantisation_loss(impact_counts, part.index.scale, scale))
        return loss

    def gather(self, first: int, last: int) -> _Chunk:
        """Return the merged postings of `terms[first:last]`; counts what each part contributed."""
        chunk_terms = self.terms[first:last]
        counts = np.zeros(last - first, np.int64)
        ranges: list[tuple[int, int, NDArray[np.int64]]] = []
        for i, postings in enumerate(self.postings):
            begin, end = (int(at) for at in np.searchsorted(postings.terms, [chunk_terms[0], chunk_terms[-1] + 1]))
            slots = frozen(np.searchsorted(chunk_terms, postings.terms[begin:end]).astype(np.int64))
            ranges.append((begin, end, slots))
            self._survivors[i] += count_surviving(postings.lists(), begin, slots, self.new_rows[i], counts)
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        size = int(starts[-1])
        rows = np.empty(size, np.uint32)
        impacts = np.empty(size, np.uint8)
        frequencies = np.empty(size if self.keep else 0, np.uint8)
        next_postings = starts[:-1].copy()
        for i, (begin, _, slots) in enumerate(ranges):
            lists = self.postings[i].lists(with_frequencies=self.keep)
            changes = (self.new_rows[i], self._levels[i], self.impact_counts[i])
            place_surviving(lists, begin, slots, changes, next_postings, (rows, impacts, frequencies))
        sort_lists(starts, rows, impacts, frequencies)
        return _Chunk(starts, rows, impacts, frequencies)


class _MergedArrays:
    """The arrays of a merged index on their way to disk, chunk by chunk."""

    def __init__(self, writer: ArrayDirectoryWriter, merger: _Merger, n_rows: int, window_bits: int) -> None:
        self._writer, self._n_rows, self._window_bits, self._keep = writer, n_rows, window_bits, merger.keep
        self._offset_type = offset_dtype(sum(len(postings.rows) for postings in merger.postings))
        self._terms: list[NDArray[np.uint32]] = [np.empty(0, np.uint32)]
        self._entry_counts: list[NDArray[np.int64]] = [np.zeros(1, np.int64)]
        self._placed = 0
        self.loss = QuantisationLoss()
        writer.declare("entry_windows", np.uint16, structure=True)
        writer.declare("entry_ends", self._offset_type, structure=True)
        writer.declare("entry_maxima", np.uint8, structure=True)
        writer.declare("rows", np.uint16)
        writer.declare("impacts", np.uint8)
        if self._keep:
            writer.declare("frequencies", np.uint8)

    def reweighed(self, chunk: _Chunk, reweigh: Reweigh, lengths: NDArray[np.uint32], scale: float) -> _Chunk:
        """Return a chunk with new impacts; adds up what their rounding loses."""
        weights = reweigh(chunk.frequencies, lengths[chunk.rows])
        if weights.shape != chunk.frequencies.shape:
            raise ValueError(f"reweigh made {weights.shape} weights of {chunk.frequencies.shape} frequencies")
        impacts, loss = quantise_with_loss(weights, scale)
        self.loss = self.loss.merge(loss)
        return replace(chunk, impacts=impacts)

    def append(self, terms: NDArray[np.uint32], chunk: _Chunk) -> None:
        """Write the postings of some consecutive terms."""
        windows, ends, counts = _entries(chunk, self._window_bits)
        present = np.flatnonzero(np.diff(chunk.starts))
        self._terms.append(terms[present])
        self._entry_counts.append(counts[present])
        writer, mask = self._writer, np.uint32((1 << self._window_bits) - 1)
        writer.append("entry_windows", windows)
        writer.append("entry_ends", (ends + self._placed).astype(self._offset_type))
        writer.append("entry_maxima", entry_maxima(ends, chunk.impacts))
        writer.append("rows", (chunk.rows & mask).astype(np.uint16))
        writer.append("impacts", chunk.impacts)
        if self._keep:
            writer.append("frequencies", chunk.frequencies)
        self._placed += len(chunk.rows)

    def finish(self, lengths: NDArray[np.uint32] | None) -> Postings:
        """Write the other arrays; return what stands on disk, mapped, to be let go before `writer` is discarded."""
        writer = self._writer
        terms, counts = np.concatenate(self._terms), np.concatenate(self._entry_counts)
        writer.write("terms", terms.astype(term_dtype(terms)), structure=True)
        writer.write("entry_starts", np.cumsum(counts).astype(self._offset_type), structure=True)
        if lengths is not None:
            writer.write("lengths", lengths)
        postings = Postings(
            terms=frozen(terms),
            entry_starts=writer.written("entry_starts"),
            entry_windows=writer.written("entry_windows"),
            entry_ends=writer.written("entry_ends"),
            entry_maxima=writer.written("entry_maxima"),
            rows=writer.written("rows"),
            impacts=writer.written("impacts"),
            frequencies=None,
            lengths=None,
            n_rows=self._n_rows,
            window_bits=self._window_bits,
        )
        frequent, starts = blocked_terms(postings.entry_starts, postings.entry_ends, self._window_bits)
        if not len(frequent):
            writer.format = layout.FORMAT_WITHOUT_BLOCKS
            return postings
        writer.write("blocked_terms", frequent, structure=True)
        writer.write("blocked_starts", starts, structure=True)
        writer.declare("block_maxima", np.uint8)
        for maxima in maxima_of_terms(postings, frequent):
            writer.append("block_maxima", maxima)
        return replace(
            postings,
            blocked_terms=frozen(frequent),
            blocked_starts=frozen(starts),
            block_maxima=writer.written("block_maxima"),
        )


def _entries(chunk: _Chunk, window_bits: int) -> tuple[NDArray[np.uint16], NDArray[np.int64], NDArray[np.int64]]:
    """Return the window and end of each entry of a chunk, and the number of entries of each of its terms."""
    windows = chunk.rows >> np.uint32(window_bits)
    begins = np.ones(len(windows), np.bool_)
    begins[1:] = windows[1:] != windows[:-1]
    begins[chunk.starts[:-1][np.diff(chunk.starts) > 0]] = True
    firsts = np.flatnonzero(begins)
    ends = np.append(firsts[1:], len(windows)) if len(firsts) else firsts
    counts = np.diff(np.searchsorted(firsts, chunk.starts))
    return windows[firsts].astype(np.uint16), ends.astype(np.int64), counts.astype(np.int64)


@kernel
def count_surviving(
    lists: tuple[Any, ...],
    first_term: int,
    slots: NDArray[np.int64],
    new_rows: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> int:
    """Add to `counts[slots[i]]` the surviving postings of the term `first_term + i`; return how many there are in all.

    lists: the fields of `PostingLists`. slots int64[t], new_rows int64[n_rows] with -1 for dropped rows, counts
    int64[chunk]: added to. Rows past the last, which only a damaged file has, count as dropped. O(postings of these
    terms).
    """
    entry_starts, entry_windows, entry_ends, rows, _, _, window_bits = lists
    total = 0
    for i in range(len(slots)):
        surviving = 0
        for entry in range(np.int64(entry_starts[first_term + i]), np.int64(entry_starts[first_term + i + 1])):
            base = np.int64(entry_windows[entry]) << window_bits
            start = np.int64(entry_ends[entry - 1]) if entry > 0 else 0
            for at in range(start, np.int64(entry_ends[entry])):
                row = base + np.int64(rows[at])
                if row < len(new_rows) and new_rows[row] >= 0:
                    surviving += 1
        counts[slots[i]] += surviving
        total += surviving
    return total


@kernel
def place_surviving(
    lists: tuple[Any, ...],
    first_term: int,
    slots: NDArray[np.int64],
    changes: tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64]],
    next_postings: NDArray[np.int64],
    merged: tuple[NDArray[np.uint32], NDArray[np.uint8], NDArray[np.uint8]],
) -> None:
    """Copy what `count_surviving` counted to `next_postings[slots[i]]` onwards, under the new row numbers; move it on.

    lists: the fields of `PostingLists`. changes: the new rows; levels uint8[256], what impacts become; and counts
    int64[256], to which is added how often each impact occurred. merged: rows, impacts and frequencies, written.
    """
    entry_starts, entry_windows, entry_ends, rows, impacts, frequencies, window_bits = lists
    new_rows, levels, impact_counts = changes
    out_rows, out_impacts, out_frequencies = merged
    for i in range(len(slots)):
        posting = next_postings[slots[i]]
        for entry in range(np.int64(entry_starts[first_term + i]), np.int64(entry_starts[first_term + i + 1])):
            base = np.int64(entry_windows[entry]) << window_bits
            start = np.int64(entry_ends[entry - 1]) if entry > 0 else 0
            for at in range(start, np.int64(entry_ends[entry])):
                row = base + np.int64(rows[at])
                if row < len(new_rows) and new_rows[row] >= 0:
                    out_rows[posting] = new_rows[row]
                    impact = impacts[at]
                    out_impacts[posting] = levels[impact]
                    impact_counts[impact] += 1
                    if len(frequencies) > 0:
                        out_frequencies[posting] = frequencies[at]
                    posting += 1
        next_postings[slots[i]] = posting


def sort_lists(
    starts: NDArray[np.int64],
    rows: NDArray[np.uint32],
    impacts: NDArray[np.uint8],
    frequencies: NDArray[np.uint8],
) -> None:
    """Sort each list `starts[i]:starts[i + 1]` by row, in place; frequencies may be of length 0.

    Lists that ascend already, as all do when the parts follow each other, are only looked at.
    """
    falls = np.flatnonzero(rows[1:] <= rows[:-1]) + 1
    unsorted = np.unique(np.searchsorted(starts, falls[~np.isin(falls, starts)], side="right") - 1)
    if not len(unsorted):
        return
    lengths = starts[unsorted + 1] - starts[unsorted]
    before = np.cumsum(lengths) - lengths
    places = np.repeat(starts[unsorted] - before, lengths) + np.arange(int(lengths.sum()))
    order = places[np.lexsort((rows[places], np.repeat(unsorted, lengths)))]
    for array in (rows, impacts, frequencies):
        if len(array):
            array[places] = array[order]
