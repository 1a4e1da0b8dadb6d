"""What may answer a request: all that match, best first, as deep as it is asked for, and how many they are.

In modes lexical and sparse every document with a term of the query is a candidate. By dense vectors every document is
more or less near, so what is sorted, collapsed or counted in facets are the nearest (`DENSE_CANDIDATES`); of a hybrid
search, the candidates of its fusion.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lexhound.index.inverted.quantization import Query
from lexhound.index.topk import SearchStats
from lexhound.retrieval.collection.fields.absent_vectors import present
from lexhound.retrieval.collection.request import Fusion
from lexhound.retrieval.collection.result import Share, Total, dense_shares
from lexhound.retrieval.deadline import check_deadline

from .hybrid import FusedRows, rank_dense, rank_hybrid, vectors_of
from .ranked_rows import RankedRows
from .ranking import rank
from .row_filter import Masks
from .snapshot import Snapshot

DENSE_CANDIDATES = 1_000
"""Of a search by dense vectors alone, the nearest documents, which are what is sorted or collapsed."""

Allowed = Sequence[NDArray[np.bool_] | None]


class Candidates(Protocol):
    """The documents that may answer a request, ranked when asked for."""

    @property
    def stats(self) -> SearchStats:
        """The work so far."""

    def best(self, depth: int) -> RankedRows:
        """Return the best `depth` of them."""

    def within(self, masks: Masks) -> RankedRows:
        """Return those of them that masks, bool[rows] for each part, let through; best first."""

    def matching(self) -> Masks:
        """Return them as bool[rows] for each part."""

    def total(self) -> Total:
        """Return how many documents match."""

    def shares(self, ranked: RankedRows) -> list[tuple[Share, ...]] | None:
        """Return what each side gave to the scores of some of them; None where there are no sides."""


class SparseCandidates:
    """All documents with a term of a query."""

    def __init__(
        self, snapshot: Snapshot, query: Query, allowed: Allowed, recall: float | None, *, group: bool = True
    ) -> None:
        self.stats = SearchStats(0, 0)
        self._snapshot = snapshot
        self._group = group
        self._query = query
        self._allowed = allowed
        self._recall = recall
        self._matching: Masks | None = None

    def best(self, depth: int) -> RankedRows:
        """Return the best `depth` of them, nearly so where the request has a recall below 1."""
        ranked, stats = rank(self._snapshot, self._query, depth, self._allowed, self._recall, group=self._group)
        self.stats += stats
        return ranked

    def within(self, masks: Masks) -> RankedRows:
        """Return those of them that masks let through; best first."""
        rows = sum(int(np.count_nonzero(mask)) for mask in masks)
        chosen = with_passages(self._snapshot, masks) if self._group else masks
        ranked, stats = rank(self._snapshot, self._query, max(1, rows), chosen, group=self._group)
        self.stats += stats
        return ranked

    def matching(self) -> Masks:
        """Return them as bool[rows] for each part. Cost: the postings of all terms."""
        if self._matching is None:
            masks = []
            for view, allowed in zip(self._snapshot.segments, self._allowed, strict=True):
                check_deadline()
                mask, read = view.segment.index.matching(self._query.terms, allowed)
                self.stats += SearchStats(read, 0)
                masks.append(mask)
            self._matching = one_a_document(self._snapshot, masks) if self._group else masks
        return self._matching

    def total(self) -> Total:
        """Return how many they are."""
        return Total(sum(int(np.count_nonzero(mask)) for mask in self.matching()))

    def shares(self, ranked: RankedRows) -> None:
        """Return None: there is one side."""
        return


class DenseCandidates:
    """The documents nearest to a query."""

    def __init__(
        self,
        snapshot: Snapshot,
        vector: NDArray[np.float32],
        allowed: Allowed,
        recall: float | None,
        *,
        group: bool = True,
    ) -> None:
        self.stats = SearchStats(0, 0)
        self._snapshot = snapshot
        self._group = group
        self._vector = vector
        self._allowed = allowed
        self._recall = recall

    def best(self, depth: int) -> RankedRows:
        """Return the nearest `depth`, nearly so where vectors are clustered and the recall is not 1."""
        ranked, stats = rank_dense(self._snapshot, self._vector, depth, self._allowed, self._recall, group=self._group)
        self.stats += stats
        return ranked

    def within(self, masks: Masks) -> RankedRows:
        """Return those of the nearest DENSE_CANDIDATES that masks let through."""
        return _only(self.best(DENSE_CANDIDATES), masks)

    def matching(self) -> Masks:
        """Return the nearest DENSE_CANDIDATES."""
        return masks_of(self._snapshot, self.best(DENSE_CANDIDATES))

    def total(self) -> Total:
        """Return how many documents have a vector. Cost: all vectors are read, the first time."""
        if not self._vector.any():
            return Total(0)
        masks = []
        for view, allowed in zip(self._snapshot.segments, self._allowed, strict=True):
            check_deadline()
            rows = present.of(vectors_of(view))
            masks.append(rows if allowed is None else rows & allowed)
        masks = one_a_document(self._snapshot, masks) if self._group else masks
        return Total(sum(int(np.count_nonzero(mask)) for mask in masks))

    def shares(self, ranked: RankedRows) -> list[tuple[Share, ...]]:
        """Return the one share of each."""
        return dense_shares(ranked.scores.tolist())


class FusedCandidates:
    """The candidates of a fusion."""

    def __init__(
        self,
        snapshot: Snapshot,
        query: tuple[Query, NDArray[np.float32]],
        fusion: Fusion,
        allowed: Allowed,
        recall: float | None,
        *,
        group: bool = True,
    ) -> None:
        self._snapshot = snapshot
        self._fused: FusedRows
        self._fused, self.stats = rank_hybrid(snapshot, *query, fusion, allowed, recall, group=group)

    def best(self, depth: int) -> RankedRows:
        """Return the best `depth` of them."""
        return self._fused.cut(depth)

    def within(self, masks: Masks) -> RankedRows:
        """Return those of them that masks let through; best first."""
        return _only(self.best(len(self._fused.scores)), masks)

    def matching(self) -> Masks:
        """Return them as bool[rows] for each part."""
        return masks_of(self._snapshot, self._fused.pool)

    def total(self) -> Total:
        """Return how many they are: at least so many match, and no more where no side was cut off."""
        return Total(len(self._fused.scores), "exact" if self._fused.complete else "lower_bound")

    def shares(self, ranked: RankedRows) -> list[tuple[Share, ...]]:
        """Return what both sides gave."""
        places = np.searchsorted(self._fused.pool.internal_ids, ranked.internal_ids)
        return [self._fused.shares_of(place) for place in places.tolist()]


def one_a_document(snapshot: Snapshot, masks: Masks) -> Masks:
    """Return, of the rows that masks let through, the first of each document."""
    if not snapshot.has_passages:
        return masks
    rows = [np.flatnonzero(mask) for mask in masks]
    documents = [view.segment.documents_of(own) for view, own in zip(snapshot.segments, rows, strict=True)]
    ends = np.cumsum([0, *map(len, rows)])
    _, first = np.unique(np.concatenate([np.empty(0, np.int64), *documents]), return_index=True)
    chosen = []
    for number, own in enumerate(rows):
        mask = np.zeros(len(masks[number]), np.bool_)
        mask[own[first[(first >= ends[number]) & (first < ends[number + 1])] - ends[number]]] = True
        chosen.append(mask)
    return chosen


def with_passages(snapshot: Snapshot, masks: Masks) -> Masks:
    """Return all rows of the documents that masks let through a row of."""
    if not snapshot.has_passages:
        return masks
    pieces = [
        view.segment.documents_of(np.flatnonzero(mask)) for view, mask in zip(snapshot.segments, masks, strict=True)
    ]
    documents = np.unique(np.concatenate([np.empty(0, np.int64), *pieces]))
    chosen = []
    for view in snapshot.segments:
        mask = np.zeros(view.segment.n_rows, np.bool_)
        mask[view.segment.rows_of_documents(documents)[0]] = True
        chosen.append(mask)
    return chosen


def masks_of(snapshot: Snapshot, ranked: RankedRows) -> Masks:
    """Return ranked rows as bool[rows] for each part."""
    masks = [np.zeros(view.segment.n_rows, np.bool_) for view in snapshot.segments]
    for number, mask in enumerate(masks):
        mask[ranked.rows[ranked.parts == number]] = True
    return masks


def _only(ranked: RankedRows, masks: Masks) -> RankedRows:
    kept = np.zeros(len(ranked.rows), np.bool_)
    for number, mask in enumerate(masks):
        in_part = ranked.parts == number
        kept[in_part] = mask[ranked.rows[in_part]]
    return ranked.at(np.flatnonzero(kept))
