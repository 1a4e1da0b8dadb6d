"""The documents that match a tree of clauses, ranked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lexhound.index.topk import SearchStats
from lexhound.retrieval.collection.fields.sparse_field import SparseField
from lexhound.retrieval.collection.query.candidates import Allowed, one_a_document, with_passages
from lexhound.retrieval.collection.query.grouping import best_rows_of
from lexhound.retrieval.collection.query.ranked_rows import RankedRows
from lexhound.retrieval.collection.query.ranking import rank
from lexhound.retrieval.collection.query.row_filter import Masks
from lexhound.retrieval.collection.query.snapshot import Snapshot
from lexhound.retrieval.collection.result import Share, Total

from .evaluation import Evaluation, Matches, Scores
from .tree import Clause

# How many times as many rows are ranked as documents are wanted, and again where those were too few.
_WIDER = 4


class ClauseCandidates:
    """All documents that match a tree of clauses.

    Attributes:
        query: the terms that give scores, as one query; unknown: names of terms that the collection lacks.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        sparse_field: SparseField,
        clause: Clause,
        allowed: Allowed,
        *,
        allow_unknown_fields: bool,
        group: bool = True,
    ) -> None:
        self._snapshot = snapshot
        self._group = group and snapshot.has_passages
        self._evaluation = Evaluation(snapshot, sparse_field, allow_unknown_fields=allow_unknown_fields)
        self._matches: Matches = self._evaluation.matches(clause)
        self._masks: Masks = [
            mask if also is None else mask & also for mask, also in zip(self._matches.masks, allowed, strict=True)
        ]
        self._scores: Scores | None = None
        self.query = self._matches.query()
        self.unknown = tuple(self._evaluation.unknown)
        self._ranked = SearchStats(0, 0)

    @property
    def stats(self) -> SearchStats:
        """The work so far."""
        return self._ranked + SearchStats(self._evaluation.postings_read, 0)

    def best(self, depth: int) -> RankedRows:
        """Return the best `depth` of them."""
        return self._grouped(depth, self._masks)

    def within(self, masks: Masks) -> RankedRows:
        """Return those of them that masks let through; best first."""
        if self._group:
            masks = with_passages(self._snapshot, masks)
        chosen = [mine & theirs for mine, theirs in zip(self._masks, masks, strict=True)]
        return self._grouped(max(1, _count(chosen)), chosen)

    def matching(self) -> Masks:
        """Return them as bool[rows] for each part."""
        return one_a_document(self._snapshot, self._masks) if self._group else self._masks

    def total(self) -> Total:
        """Return how many they are."""
        return Total(_count(self.matching()))

    def shares(self, ranked: RankedRows) -> list[tuple[Share, ...]] | None:
        """Return None: there is one side."""

    def _grouped(self, depth: int, masks: Masks) -> RankedRows:
        """Return the best `depth` documents, each by its best passage that matches."""
        if not self._group:
            return self._best(depth, masks)
        fetch = min(self._snapshot.n_rows, depth * _WIDER)
        while True:
            ranked = self._best(fetch, masks)
            best = best_rows_of(ranked)
            if len(best.rows) >= depth or len(ranked.rows) < fetch or fetch >= self._snapshot.n_rows:
                return best.at(slice(depth))
            fetch = min(self._snapshot.n_rows, fetch * _WIDER)

    def _best(self, depth: int, masks: Masks) -> RankedRows:
        if self._matches.extra is not None:
            return self._all(masks).at(np.arange(min(depth, _count(masks))))
        ranked, stats = rank(self._snapshot, self.query, depth, masks, group=False)
        self._ranked += stats
        if len(ranked.rows) < depth:
            ranked = self._with_others(ranked, masks, depth)
        return replace(ranked, scores=ranked.scores + self._matches.constant)

    def _with_others(self, ranked: RankedRows, masks: Masks, depth: int) -> RankedRows:
        """Return ranked rows, and after them those that match without a term of the query, as they were inserted."""
        left = [mask.copy() for mask in masks]
        for number, mask in enumerate(left):
            mask[ranked.rows[ranked.parts == number]] = False
        others = self._rows(left)
        order = np.argsort(others.internal_ids, kind="stable")[: depth - len(ranked.rows)]
        others = others.at(order)
        return RankedRows(
            np.concatenate([ranked.parts, others.parts]),
            np.concatenate([ranked.rows, others.rows]),
            np.concatenate([ranked.internal_ids, others.internal_ids]),
            np.concatenate([ranked.scores, others.scores]),
            np.concatenate([ranked.documents, others.documents]),
        )

    def _all(self, masks: Masks) -> RankedRows:
        """Return the rows of masks with the score that was worked out for each; best first."""
        if self._scores is None:
            self._scores = self._evaluation.scores(self._matches)
        rows = self._rows(masks)
        pieces = [scores[mask] for scores, mask in zip(self._scores, masks, strict=True)]
        scores: NDArray[np.float64] = np.concatenate(pieces) if pieces else np.empty(0, np.float64)
        order = np.lexsort((rows.internal_ids, -scores))
        return replace(rows, scores=scores).at(order)

    def _rows(self, masks: Masks) -> RankedRows:
        """Return the rows of masks without scores, part by part."""
        found = [np.flatnonzero(mask) for mask in masks]
        nothing = np.empty(0, np.int64)
        segments = [view.segment for view in self._snapshot.segments]
        ids = [segment.internal_ids[rows] for segment, rows in zip(segments, found, strict=True)]
        documents = [segment.documents_of(rows) for segment, rows in zip(segments, found, strict=True)]
        rows = np.concatenate([nothing, *found])
        parts = np.repeat(np.arange(len(found)), [len(each) for each in found]).astype(np.int64)
        scores = np.zeros(len(rows), np.float64)
        return RankedRows(parts, rows, np.concatenate([nothing, *ids]), scores, np.concatenate([nothing, *documents]))


def _count(masks: Masks) -> int:
    return sum(int(np.count_nonzero(mask)) for mask in masks)
