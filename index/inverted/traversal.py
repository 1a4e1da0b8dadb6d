"""The search kernel: top-k by adding up the lists that decide, and looking others up for the few rows they concern.

Rows are cut into windows of `2**window_bits`, so that the scores of a window stay in the processor's second-level cache
while postings are added up (about a nanosecond each). Term-at-a-time evaluation into an array of accumulators is the
oldest there is (Moffat and Zobel, "Self-indexing inverted files for fast text retrieval", TOIS 1996). Which lists are
added up is MaxScore (Turtle and Flood, "Query evaluation: strategies and optimizations", IPM 1995), window by window:

1. Of each list the greatest impact in the window is known. `bound` is the most that the lists which have not been added
   up yet can give to one row. Lists are added up in the order of what each takes off the bound per posting, short lists
   of heavy terms first, until the bound is .47 of the threshold, the k-th score so far. (At the whole of it a row in
   none of the lists would be out, but of those in one of them most would still be in.)
2. Rows whose score cannot exceed the threshold even with the bound of their block (`blocks`) are out. The others, some
   tens a window, get what they lack list by list, the heaviest first, and drop out as the bound falls. A list is looked
   up for them, from a guessed place on, or added up after all, whichever costs less; so a search never does much more
   than read all.

In a window of few postings an exact search reads everything: that costs less than choosing.

While the heap fills, in the first window, the k-th best of the partial scores serves as a threshold instead, unless the
search was given one.

Approximate search scales the bound by a factor below 1, as no row attains all maxima at once (block-max pruning does
the same with its alpha: Mallia, Suel and Tonellotto, "Faster learned sparse retrieval with block-max pruning", SIGIR
2024).
The scores of the rows that it finds are exact; with a bound factor of 1 so is the result. Scores and bounds are
integers below 2**31 (`Query.from_weights`; a bound adds the same weights times at most 255) in 64 bits, and the factor
is at most 2**10, so nothing overflows.

A filter is consulted where rows become candidates. Where it leaves few rows in a window, those are the candidates from
the beginning, and of the lists that are read only their postings are added up, the others passed over eight at a time;
lists for which looking these rows up costs less are left for later.

A run of rows is searched as if there were no others: windows without one are passed over in the directory, and of lists
that reach beyond the run only the part within is read, found by binary search. The accumulator is touched, looked
through and cleared only there.

`maxscore`, `selective` and, where all was added up, `accumulator.offer_scanned` are the three traversals of a window,
one of which `_search_window` takes.

The kernel trusts the directory (term starts, entries, their maxima), which is checksummed when an index is opened, and
nothing else: whatever bytes stand in `rows` and `impacts`, it reads and writes inside its arrays, because the
accumulator has a place for every 16-bit row and rows past the last are skipped.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.index.inverted.accumulator import ACCUMULATOR_SIZE, CHUNK, offer_scanned
from lexhound.index.inverted.arguments import BatchArrays, IndexArrays, Limits, QueryArrays, Scratch, Window, scaled
from lexhound.index.inverted.blocks import bound_blocks
from lexhound.index.inverted.candidates import gather_allowed, scanned_candidates, touched_candidates
from lexhound.index.inverted.format import BLOCK_BITS
from lexhound.index.inverted.heap import drain, least_score, offer
from lexhound.index.inverted.maxscore import add_lists, complete_candidates
from lexhound.index.inverted.query_lists import (
    LIST_FIELDS,
    ORDER,
    enter_window,
    keep_windows,
    look_up,
    next_window,
    order_by,
)
from lexhound.index.inverted.selective import SELECTIVE_SHARE, add_flagged_lists
from lexhound.index.jit import Integer, inlined_kernel, kernel

# A window of whose rows less than one in so many was touched is read back posting by posting instead of being scanned.
_SPARSE_SHARE = 16


class Workspace:
    """The arrays of `Scratch` that depend on no query: zero between searches, which touch one window each."""

    def __init__(self) -> None:
        self._accumulator = np.zeros(ACCUMULATOR_SIZE, np.int32)
        self._flags = np.zeros(ACCUMULATOR_SIZE, np.uint8)
        self._candidates = np.empty((3, ACCUMULATOR_SIZE), np.int32)
        self._bounds = np.empty((ACCUMULATOR_SIZE >> BLOCK_BITS) + 1, np.int32)

    def scratch(self, terms: int, k: int) -> tuple[Any, ...]:
        """Return the fields of `Scratch` for queries of at most so many terms, and k hits."""
        return (
            self._accumulator,
            self._flags,
            self._candidates,
            self._bounds,
            np.empty((LIST_FIELDS, terms), np.int64),
            np.empty(terms, np.float64),
            np.empty(k, np.int64),
            np.empty(k, np.int64),
        )


class ThreadWorkspaces(threading.local):
    """The workspaces of a thread.

    One for each size of windows: damaged rows beyond the end of a window leave something in the accumulator that
    indexes with windows of the same size never look at, but ones with wider windows would.
    """

    def __init__(self) -> None:
        self._workspaces: dict[int, Workspace] = {}

    def workspace(self, window_bits: int) -> Workspace:
        if window_bits not in self._workspaces:
            self._workspaces[window_bits] = Workspace()
        return self._workspaces[window_bits]


@inlined_kernel
def _search_window(
    number: Integer,
    known: int,
    size: Integer,
    above: int,
    index: IndexArrays,
    limits: Limits,
    scratch: Scratch,
    stats: NDArray[np.int64],
) -> Integer:
    """Offer the best rows of window `number` to the heap of `size` hits; return its new size."""
    factor, filtered, candidates = limits.bound_factor, limits.filtered, scratch.candidates
    width = 1 << index.window_bits
    base = number << index.window_bits
    low, limit = max(0, limits.first - base), min(width, limits.stop - base)
    whole = low == 0 and (limit == width or limits.stop == index.n_rows)
    bounds = low, limit, whole
    active, postings, bound = enter_window(number, known, bounds, index, scratch.lists, scratch.priorities)
    # Windows ascend, so a row of this one that ties with the k-th hit comes after it.
    threshold = max(above, least_score(scratch.heap)) if size == len(scratch.heap) else above
    if scaled(bound, factor) <= threshold:
        return size
    origin = base - limits.origin
    permitted = limits.allowed[origin : origin + limit] if filtered else limits.allowed
    span = width if whole else limit - low
    window = Window(base, low, limit, whole, span, active, postings, permitted, filtered)
    count: Integer = np.int64(0)
    selective = False
    if filtered:
        most = (limit - low) // SELECTIVE_SHARE
        count = gather_allowed(permitted, most, candidates)
        if count == 0:
            return size
        selective = bool(count <= most)
    order_by(scratch.priorities[:active], scratch.lists[ORDER, :active])
    stats[2] += 1

    if selective:
        done, postings_read, count = add_flagged_lists(active, count, (threshold, bound, factor), index, scratch)
        stats[0] += postings_read
    else:
        sums = threshold, bound, factor
        done, postings_read, threshold = add_lists(window, size, bool(above == 0), sums, index, scratch)
        stats[0] += postings_read
        if done == active and postings_read * _SPARSE_SHARE >= span:
            # A whole chunk, also of narrower windows: what damaged rows left beyond the end is cleared with it.
            scores = scratch.accumulator[: max(width, CHUNK)]
            return offer_scanned(scores, threshold, window, scratch.heap, size, stats)
        bound_blocks(done, active, index, scratch)
        if postings_read * _SPARSE_SHARE < span:
            count = touched_candidates(done, index.rows, (threshold, factor), window, scratch)
        else:
            count = scanned_candidates(scratch.accumulator[:width], (threshold, factor), window, scratch)

    if done < active and count > 0:
        thresholds = (threshold, factor, selective)
        count, threshold = complete_candidates(done, window, count, thresholds, size, index, scratch, stats)
    for c in range(count):
        score = np.int64(candidates[1, c])
        if score > threshold:
            size = offer(scratch.heap, size, score, base + np.int64(candidates[0, c]))
            stats[1] += 1
    return size


@kernel
def search_windows(
    query: tuple[Any, ...],
    index: tuple[Any, ...],
    limits: tuple[Any, ...],
    scratch: tuple[Any, ...],
    rows: NDArray[np.int64],
    scores: NDArray[np.float64],
    stats: NDArray[np.int64],
) -> Integer:
    """Find the best k rows for a query; return how many there are. O(postings of its terms + rows), mostly less.

    The fields of `QueryArrays`, `IndexArrays`, `Limits` and `Scratch`, whose heap gives k. rows: int64[k], scores:
    float64[k]: written, rows as counted from the first of the run. stats: int64[3], incremented by the postings
    read, by the rows that were good enough to be offered to the heap, and by the windows whose lists were read.
    """
    vector, arrays, named_limits, named_scratch = (
        QueryArrays(*query),
        IndexArrays(*index),
        Limits(*limits),
        Scratch(*scratch),
    )
    known = look_up(arrays, vector.terms, vector.weights, named_scratch.lists)
    if named_limits.first > 0 or named_limits.stop < arrays.n_rows:
        ends = named_limits.first >> arrays.window_bits, (named_limits.stop - 1) >> arrays.window_bits
        keep_windows(known, arrays.entry_windows, named_scratch.lists, ends[0], ends[1])
    size: Integer = np.int64(0)  # of a plain 0 Numba makes a type of its own, and compiles what takes it twice
    while True:
        number = next_window(known, arrays.entry_windows, named_scratch.lists)
        if number < 0:
            break
        size = _search_window(number, known, size, vector.above, arrays, named_limits, named_scratch, stats)
    drain(named_scratch.heap, size, vector.unit, rows, scores)
    # A damaged file might lead to rows that are not of the run, which are nobody's business here.
    hits: Integer = np.int64(0)
    for i in range(size):
        row = rows[i] - named_limits.first
        if 0 <= row < named_limits.stop - named_limits.first:
            rows[hits], scores[hits] = row, scores[i]
            hits += 1
    return hits


@kernel
def search_batch(
    queries: tuple[Any, ...],
    index: tuple[Any, ...],
    limits: tuple[Any, ...],
    scratch: tuple[Any, ...],
    rows: NDArray[np.int64],
    scores: NDArray[np.float64],
    stats: NDArray[np.int64],
    hits: NDArray[np.int64],
) -> None:
    """Run `search_windows` for several queries, one after the other, without coming back to Python in between.

    The fields of `BatchArrays`, and the rest as there. rows: int64[b, k], scores: float64[b, k], hits: int64[b]:
    written.
    """
    batch = BatchArrays(*queries)
    for i in range(len(hits)):
        start, stop = batch.starts[i], batch.starts[i + 1]
        query = (batch.terms[start:stop], batch.weights[start:stop], batch.units[i], batch.above[i])
        hits[i] = search_windows(query, index, limits, scratch, rows[i], scores[i], stats)
