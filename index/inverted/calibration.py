"""Recall calibration: which bound factor gives which recall, measured on a sample of the index itself.

A bound factor means something to few; recall is the share of the exact top ten that a search finds.
When an index of some size is built or merged, the calibration searches queries made of its own rows exactly and with
falling factors, and keeps the least factor that reached each recall, with what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexhound.index.jit import frozen, kernel

from .quantization import Query

if TYPE_CHECKING:
    from .format import Postings
    from .index import InvertedIndex

RECALLS = (0.9, 0.95, 0.97, 0.99)
DEPTH = 10
DEEP = 100

# Below so many rows everything is fast, and a sample says little.
SMALLEST = 20_000
# Rows that queries are made of; twice as many sizes of queries as below, so 240 queries: some tenths of a second.
_SAMPLE = 40
# Terms of the queries: of a question, of a question with its expansions.
_SIZES = (6, 12, 30)
_STEPS = tuple(round(0.05 * step, 2) for step in range(18, 0, -1))


@dataclass(frozen=True, slots=True)
class Setting:
    """A target recall@10, the bound factor that gives it, and the recall that was measured with that factor."""

    recall: float
    bound_factor: float
    measured: float
    measured_deep: float | None = None
    """recall@100 of 100 hits with that factor; None in indexes that were built before it was measured."""


@dataclass(frozen=True, slots=True)
class RecallCalibration:
    """The settings of an index, by rising recall; none where it was too small to calibrate."""

    settings: tuple[Setting, ...] = ()

    def factor_for(self, recall: float | None) -> float:
        """Return the bound factor for a recall of at least this; 1 (exact) for None and for more than was calibrated.

        Raises ValueError unless 0 < recall <= 1.
        """
        if recall is None:
            return 1.0
        if not 0 < recall <= 1:
            raise ValueError(f"recall must be above 0 and at most 1, not {recall}")
        return next((setting.bound_factor for setting in self.settings if setting.recall >= recall), 1.0)

    def to_json(self) -> list[list[float]]:
        """Return the calibration as an attribute of the index's directory."""
        return [
            [setting.recall, setting.bound_factor, setting.measured]
            + ([] if setting.measured_deep is None else [setting.measured_deep])
            for setting in self.settings
        ]

    @classmethod
    def from_json(cls, values: Any) -> RecallCalibration:
        """Read what `to_json` gave. Raises TypeError or ValueError for anything else."""
        settings = tuple(Setting(*(float(number) for number in value)) for value in values)
        if not all(0 < setting.recall <= 1 and 0 <= setting.bound_factor <= 1 for setting in settings):
            raise ValueError("its recall calibration has a recall or a bound factor that is out of range")
        return cls(settings)


def calibrate(index: InvertedIndex, *, smallest: int = SMALLEST) -> RecallCalibration:
    """Calibrate the recall of an index; empty for one of fewer than `smallest` rows. Deterministic.

    Half of the queries are like those of inference-free encoders: some terms of a row, drawn at random and weighted by
    idf. The others are like a document encoder's: the heaviest terms of a row with its own weights. A factor counts as
    reaching a recall when it does so, in the mean, for the queries of each kind and length. A row finds itself among
    the ten of its own query, which flatters the figures a little.
    """
    if index.n_rows < smallest or index.n_postings == 0:
        return RecallCalibration()
    kinds = _queries(index)
    exact = _exact(index, kinds, DEPTH)
    entries: list[tuple[float, float, float]] = []
    pending = sorted(RECALLS, reverse=True)
    bound_factor, measured = 1.0, 1.0
    for step in _STEPS:
        recall = _least_recall(index, kinds, exact, DEPTH, step)
        while pending and recall < pending[0]:
            entries.append((pending.pop(0), bound_factor, measured))
        if not pending:
            break
        bound_factor, measured = step, recall
    entries += [(recall, bound_factor, measured) for recall in pending]
    exact = _exact(index, kinds, DEEP)
    deep = {
        bound_factor: _least_recall(index, kinds, exact, DEEP, bound_factor)
        for bound_factor in {bound_factor for _, bound_factor, _ in entries}
    }
    return RecallCalibration(
        tuple(
            Setting(recall, bound_factor, measured, deep[bound_factor])
            for recall, bound_factor, measured in sorted(entries)
        )
    )


def _exact(index: InvertedIndex, kinds: list[list[Query]], depth: int) -> list[list[NDArray[np.float64]]]:
    """Return the scores of the exact ranking of each query."""
    return [[top.scores for top in index.search_many(queries, depth)] for queries in kinds]


def _least_recall(
    index: InvertedIndex,
    kinds: list[list[Query]],
    exact: list[list[NDArray[np.float64]]],
    depth: int,
    bound_factor: float,
) -> float:
    """Return the mean recall of the kind of queries for which it is the least, rounded down to four places."""
    least = min(
        float(
            np.mean(
                [
                    _recall(top.scores, best)
                    for top, best in zip(
                        index.search_many(queries, depth, bound_factor=bound_factor), scores, strict=True
                    )
                ]
            )
        )
        for queries, scores in zip(kinds, exact, strict=True)
        if queries
    )
    return math.floor(least * 1e4) / 1e4


def _recall(scores: NDArray[np.float64], exact: NDArray[np.float64]) -> float:
    """Return the share of the exact ranking's scores that were reached: of equal ones any row will do."""
    if len(exact) == 0:
        return 1.0
    return float((scores >= exact[-1]).sum()) / len(exact)


def _queries(index: InvertedIndex) -> list[list[Query]]:
    """Return queries made of rows that lie evenly over the index: a list for each kind and length."""
    rng = np.random.default_rng(1)
    picked = np.unique(np.linspace(0, index.n_rows - 1, _SAMPLE).astype(np.int64))
    vectors = [vector for vector in rows_of(index.postings, picked) if len(vector[0])]
    kinds: list[list[Query]] = []
    for size in _SIZES:
        idf_weighted, own_weights = [], []
        for terms, impacts in vectors:
            some = np.sort(rng.choice(len(terms), min(size, len(terms)), replace=False))
            frequencies = index.document_frequencies(terms[some])
            idf = np.log1p((index.n_rows - frequencies + 0.5) / (frequencies + 0.5))
            idf_weighted.append(Query.from_weights(terms[some], np.maximum(idf, 1e-3).astype(np.float32)))
            heaviest = np.sort(np.argsort(-impacts.astype(np.int64), kind="stable")[:size])
            own_weights.append(Query.from_weights(terms[heaviest], impacts[heaviest].astype(np.float32)))
        kinds += [idf_weighted, own_weights]
    return kinds


def rows_of(postings: Postings, picked: NDArray[np.int64]) -> Sequence[tuple[NDArray[np.int32], NDArray[np.uint8]]]:
    """Return the terms (ascending, int32) and impacts (uint8) of some rows; reads all postings.

    picked: int64[n], ascending.
    """
    slots = np.full(postings.n_rows, -1, np.int32)
    slots[picked] = np.arange(len(picked), dtype=np.int32)
    lists, frozen_slots = postings.lists(), frozen(slots)
    nothing = np.empty(0, np.int64)
    size = collect_rows(lists, frozen_slots, nothing, nothing, np.empty(0, np.uint8))
    posting_slots, term_positions = np.empty(size, np.int64), np.empty(size, np.int64)
    impacts = np.empty(size, np.uint8)
    collect_rows(lists, frozen_slots, posting_slots, term_positions, impacts)
    order = np.lexsort((term_positions, posting_slots))
    bounds = np.searchsorted(posting_slots[order], np.arange(len(picked) + 1))
    terms = postings.terms[term_positions[order]].astype(np.int32)
    values = impacts[order]
    return [(terms[a:b], values[a:b]) for a, b in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)]


@kernel
def collect_rows(
    lists: tuple[Any, ...],
    slots: NDArray[np.int32],
    posting_slots: NDArray[np.int64],
    term_positions: NDArray[np.int64],
    out_impacts: NDArray[np.uint8],
) -> int:
    """Gather the postings of rows with a slot; return how many there are. O(postings).

    lists: the fields of `PostingLists`. slots int32[n_rows], -1 for other rows. posting_slots, term_positions,
    out_impacts: written, or of length 0.
    """
    entry_starts, entry_windows, entry_ends, rows, impacts, _, window_bits = lists
    count = 0
    for term in range(len(entry_starts) - 1):
        for entry in range(np.int64(entry_starts[term]), np.int64(entry_starts[term + 1])):
            base = np.int64(entry_windows[entry]) << window_bits
            start = np.int64(entry_ends[entry - 1]) if entry > 0 else 0
            for at in range(start, np.int64(entry_ends[entry])):
                row = base + np.int64(rows[at])
                if row < len(slots) and slots[row] >= 0:
                    if count < len(posting_slots):
                        posting_slots[count] = slots[row]
                        term_positions[count] = term
                        out_impacts[count] = impacts[at]
                    count += 1
    return count
