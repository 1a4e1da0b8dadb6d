"""The scales of rows' impacts: fine enough for their weights, coarse enough to hold them.

Eight bits over the weights of all rows serve them badly where a few rows weigh far more than the others: these become
1s and 2s, or those are cut off. So rows are put into few groups by their greatest weight, each with an index and a
scale of its own; as a rule there is one. Nothing is clipped, and no row is flattened by another's weights.

Scales are powers of two, whatever the collection. So groups of the same weights have the same scale wherever they were
made, a merge of equal scales copies impacts, and a coarser scale is a whole multiple of a finer one.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexhound.index.jit import kernel

from .format import Postings
from .plain import are_few
from .quantization import MAX_IMPACT

if TYPE_CHECKING:
    from .index import InvertedIndex

# A scale serves a row whose mean weight is at least so many steps: rounding then moves at most some 1.6 % of it.
_STEPS = 16
# A group may hold so large a share of rows that its scale does not serve: short texts with faint terms, mostly.
_UNSERVED = 0.1
# Groups at most: each is an index to search.
MOST_GROUPS = 6
# Of rows without terms, which any scale serves.
_ANY = np.int16(-(1 << 14))
# Scales are in the normal range of float32 (`exact_scale`).
_LEAST_EXPONENT = -126


@dataclass(frozen=True, slots=True, eq=False)
class RowRanges:
    """The scales that suit each row, as exponents of two.

    finest: int16[n], the least that holds its greatest weight; coarsest: int16[n], the greatest that serves the row, at
    least `finest`. Both are lower than any scale for rows without terms.
    """

    finest: NDArray[np.int16]
    coarsest: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.finest)

    def of(self, rows: NDArray[Any]) -> RowRanges:
        """Return those of some rows: their numbers, or bool[n]."""
        return RowRanges(self.finest[rows], self.coarsest[rows])

    @property
    def empty(self) -> NDArray[np.bool_]:
        """Which rows have no terms; bool[n]."""
        return np.equal(self.finest, _ANY)

    @classmethod
    def joined(cls, parts: Sequence[RowRanges]) -> RowRanges:
        """Return the ranges of several parts, one behind the other."""
        nothing = np.empty(0, np.int16)
        return cls(
            np.concatenate([nothing, *(part.finest for part in parts)]),
            np.concatenate([nothing, *(part.coarsest for part in parts)]),
        )


def row_ranges(indptr: NDArray[Any], weights: NDArray[np.float32]) -> RowRanges:
    """Return the ranges of row-compressed rows: indptr int[n + 1], weights float32[entries], positive and finite."""
    starts = np.asarray(indptr, np.int64)
    filled = np.flatnonzero(np.diff(starts))
    greatest = np.zeros(len(starts) - 1, np.float64)
    totals = np.zeros(len(starts) - 1, np.float64)
    if len(filled):
        exact = np.asarray(weights).astype(np.float64)
        greatest[filled] = np.maximum.reduceat(exact, starts[filled])
        totals[filled] = np.add.reduceat(exact, starts[filled])
    return ranges_from(greatest, totals, np.diff(starts))


def stored_ranges(index: InvertedIndex) -> RowRanges:
    """Return the ranges of the rows of an index, by what its impacts stand for. Reads every posting."""
    postings = index.postings
    unit = np.float64(index.scale)
    if are_few(len(postings.rows), measure_rows):
        return ranges_from(*_measured(postings, unit))
    greatest = np.zeros(postings.n_rows, np.uint8)
    totals = np.zeros(postings.n_rows, np.int64)
    counts = np.zeros(postings.n_rows, np.int64)
    measure_rows(
        postings.entry_windows,
        postings.entry_ends,
        postings.rows,
        postings.impacts,
        postings.window_bits,
        greatest,
        totals,
        counts,
    )
    return ranges_from(greatest.astype(np.float64) * unit, totals.astype(np.float64) * unit, counts)


def _measured(
    postings: Postings, unit: np.float64
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return what `ranges_from` takes, by what `measure_rows` does, in NumPy."""
    entry_ends = postings.entry_ends.astype(np.int64)
    bases = postings.entry_windows.astype(np.int64) << postings.window_bits
    rows = np.repeat(bases, np.diff(entry_ends, prepend=0)) + postings.rows
    inside = rows < postings.n_rows
    rows, impacts = rows[inside], postings.impacts[inside]
    greatest = np.zeros(postings.n_rows, np.uint8)
    np.maximum.at(greatest, rows, impacts)
    totals = np.bincount(rows, impacts, postings.n_rows)  # whole numbers, exact in float64
    return greatest.astype(np.float64) * unit, totals * unit, np.bincount(rows, minlength=postings.n_rows)


def ranges_from(greatest: NDArray[np.float64], totals: NDArray[np.float64], counts: NDArray[np.int64]) -> RowRanges:
    """Return the ranges of rows by their greatest weight, the sum of their weights and the number of them; all [n]."""
    empty = counts == 0
    # weight / scale rounds to at most 255 where it lies below 255.5, that is where 2**exponent exceeds this.
    _, finest = np.frexp(np.where(empty, 1.0, greatest) / (MAX_IMPACT + 0.5))
    _, coarsest = np.frexp(np.where(empty, 1.0, totals / np.maximum(counts, 1)) / _STEPS)
    finest = np.maximum(finest, _LEAST_EXPONENT)
    coarsest = np.maximum(coarsest - 1, finest)
    return RowRanges(np.where(empty, _ANY, finest).astype(np.int16), np.where(empty, _ANY, coarsest).astype(np.int16))


def choose_groups(ranges: RowRanges) -> tuple[int, ...]:
    """Return the scales of the groups that rows are put into, as exponents of two, ascending; one at least.

    A row belongs to the first group whose scale holds it (`group_of`). A group's scale holds all of its rows and serves
    nine tenths of them; where that would make more than `MOST_GROUPS`, those are joined that harm the fewest rows.
    Depends on the rows, not on their order.
    """
    filled = ranges.of(~ranges.empty)
    if not len(filled):
        return (0,)
    return _Table(filled).groups()


def group_of(ranges: RowRanges, groups: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the number of each row's group: int64[n]. Rows that no group holds are in the last, which clips them."""
    numbers: NDArray[np.int64] = np.searchsorted(np.array(groups, np.int64), ranges.finest.astype(np.int64))
    return np.minimum(numbers, len(groups) - 1)


def choose_scale(ranges: RowRanges) -> int:
    """Return the one scale for all rows, where there can be no groups, as an exponent of two.

    That by which the fewest rows suffer, be it that they are clipped or that it is too coarse for them; of those the
    one that clips fewest, then the finest.
    """
    filled = ranges.of(~ranges.empty)
    if not len(filled):
        return 0
    exponents = np.arange(int(filled.finest.min()), int(filled.finest.max()) + 1)
    clipped = np.array([int((filled.finest > exponent).sum()) for exponent in exponents])
    flattened = np.array([int((filled.coarsest < exponent).sum()) for exponent in exponents])
    best = np.lexsort((exponents, clipped, clipped + flattened))[0]
    return int(exponents[best])


class _Table:
    """Numbers of rows that each scale holds and does not serve; exponents are counted from the least."""

    def __init__(self, ranges: RowRanges) -> None:
        self._low = int(ranges.finest.min())
        finest = ranges.finest.astype(np.int64) - self._low
        counts = np.bincount(finest)
        width = len(counts)
        by_worst = np.zeros((width, width), np.int64)
        np.add.at(by_worst, (finest, np.minimum(ranges.coarsest - self._low, width - 1)), 1)
        self._occupied = np.flatnonzero(counts).tolist()
        self._rows = np.concatenate([[0], np.cumsum(counts)])
        # [i, j]: of the rows whose finest scale is below i, those that scale j does not serve.
        hurt = np.cumsum(np.cumsum(by_worst, axis=1) - by_worst, axis=0)
        self._hurt = np.concatenate([np.zeros((1, width), np.int64), hurt])

    def groups(self) -> tuple[int, ...]:
        """Return the groups from the finest to the coarsest, each with as many rows as may be."""
        ranges: list[tuple[int, int]] = []
        above = self._occupied
        while above:
            first = above[0]
            # The least scale holds its rows only, and serves them: so there is always one.
            top = next(each for each in reversed(above) if self._suits(first, each))
            ranges.append((first, top))
            above = [each for each in above if each > top]
        while len(ranges) > MOST_GROUPS:
            joined = [(low[0], high[1]) for low, high in itertools.pairwise(ranges)]
            harm = [
                self._unserved(*each) - self._unserved(*scale_range)
                for each, scale_range in zip(joined, ranges, strict=False)
            ]
            at = harm.index(min(harm))
            ranges[at : at + 2] = [joined[at]]
        return tuple(top + self._low for _, top in ranges)

    def _suits(self, first: int, top: int) -> bool:
        """Return whether scale `top` serves enough of the rows whose finest scale is from `first` to `top`."""
        return self._unserved(first, top) <= _UNSERVED * int(self._rows[top + 1] - self._rows[first])

    def _unserved(self, first: int, top: int) -> int:
        """Return how many of these rows scale `top` does not serve."""
        return int(self._hurt[top + 1, top] - self._hurt[first, top])


@kernel
def measure_rows(
    entry_windows: NDArray[np.uint16],
    entry_ends: NDArray[Any],
    rows: NDArray[np.uint16],
    impacts: NDArray[np.uint8],
    window_bits: int,
    greatest: NDArray[np.uint8],
    totals: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    """Return the greatest impact, the sum of the impacts and the number of postings of each row.

    greatest uint8[n_rows], totals, counts int64[n_rows], zero: written. Rows past the last, which only a damaged file
    has, count for nothing. O(postings).
    """
    start = np.int64(0)
    for entry in range(len(entry_windows)):
        base = np.int64(entry_windows[entry]) << window_bits
        end = np.int64(entry_ends[entry])
        for at in range(start, end):
            row = base + np.int64(rows[at])
            if row < len(greatest):
                greatest[row] = max(greatest[row], impacts[at])
                totals[row] += np.int64(impacts[at])
                counts[row] += 1
        start = end
