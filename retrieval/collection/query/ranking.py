"""The best rows of a snapshot for encoded queries, by its inverted index.

Order is part of the contract: score descending, then insertion order, at every cut and merge.

Where documents have several rows, one a passage, documents are ranked by their passages (`grouping`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lexhound.index.inverted.quantization import Query
from lexhound.index.topk import SearchStats, TopK
from lexhound.retrieval.collection.result import RankedIds
from lexhound.retrieval.deadline import check_deadline, current_deadline

from .grouping import SPARSE, Scorer, group_many, group_one
from .ranked_rows import RankedRows, named
from .snapshot import SegmentView, Snapshot

# Queries of a batch that are answered together where there is a deadline to look at.
_TOGETHER = 50


def rank(
    snapshot: Snapshot,
    query: Query,
    depth: int,
    allowed: Sequence[NDArray[np.bool_] | None],
    recall: float | None = None,
    *,
    group: bool = True,
) -> tuple[RankedRows, SearchStats]:
    """Return the best rows of the best `depth` documents over all parts, or with `group` False the best `depth` rows;
    approximate where `recall` is given (see `check_recall`).
    """
    if not group or not snapshot.has_passages:
        return _rank(snapshot, query, depth, allowed, recall)
    total = SearchStats(0, 0)

    def search(fetch: int) -> RankedRows:
        nonlocal total
        ranked, stats = _rank(snapshot, query, fetch, allowed, recall)
        total += stats
        return ranked

    return group_one(snapshot, depth, search, sparse_scorer(query), SPARSE), total


def sparse_scorer(query: Query) -> Scorer:
    """Return what scores rows by the inverted index: those with a term of the query."""

    def score(view: SegmentView, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        scores = view.segment.index.score_rows(query, rows)
        found = scores > 0
        return rows[found], scores[found]

    return score


def _rank(
    snapshot: Snapshot,
    query: Query,
    depth: int,
    allowed: Sequence[NDArray[np.bool_] | None],
    recall: float | None = None,
) -> tuple[RankedRows, SearchStats]:
    rankings = [TopK.empty()] * len(snapshot.segments)
    stats = SearchStats(0, 0)
    floor = _Floor(depth)
    for i in _largest_first(snapshot):
        check_deadline()
        index = snapshot.segments[i].segment.index
        rankings[i], part_stats = index.search_with_stats(
            query,
            depth,
            allowed=allowed[i],
            bound_factor=index.recall_calibration.factor_for(recall),
            at_least=floor.score,
        )
        stats += part_stats
        if len(rankings) > 1:
            floor.raise_by(rankings[i])
    return merge_ranked(snapshot, rankings, depth), stats


def rank_many(
    snapshot: Snapshot,
    queries: Sequence[Query],
    depth: int,
    allowed: Sequence[NDArray[np.bool_] | None],
    threads: int | None,
    recall: float | None = None,
    *,
    group: bool = True,
) -> list[RankedIds]:
    """Return (id, score) pairs of many queries, over `threads` threads (all cores by default); no document is read."""
    ranked = rank_rows(snapshot, queries, depth, allowed, threads, recall, group=group)
    return [named(snapshot, each) for each in ranked]


def rank_rows(
    snapshot: Snapshot,
    queries: Sequence[Query],
    depth: int,
    allowed: Sequence[NDArray[np.bool_] | None],
    threads: int | None,
    recall: float | None = None,
    *,
    group: bool = True,
) -> list[RankedRows]:
    """Return what `rank` does of many queries, over `threads` threads (all cores by default)."""
    if not group or not snapshot.has_passages:
        return _rank_many(snapshot, queries, depth, allowed, threads, recall)

    def search(numbers: Sequence[int], fetch: int) -> list[RankedRows]:
        return _rank_many(snapshot, [queries[number] for number in numbers], fetch, allowed, threads, recall)

    def scorer(number: int) -> Scorer:
        return sparse_scorer(queries[number])

    return group_many(snapshot, len(queries), depth, search, scorer, SPARSE)


def _rank_many(
    snapshot: Snapshot,
    queries: Sequence[Query],
    depth: int,
    allowed: Sequence[NDArray[np.bool_] | None],
    threads: int | None,
    recall: float | None = None,
) -> list[RankedRows]:
    if len(queries) == 1:  # a batch has to be laid out, which takes longer than a short search
        return [_rank(snapshot, queries[0], depth, allowed, recall)[0]]
    if len(queries) > _TOGETHER and current_deadline() is not None:
        ranked: list[RankedRows] = []
        for start in range(0, len(queries), _TOGETHER):
            ranked += _rank_many(snapshot, queries[start : start + _TOGETHER], depth, allowed, threads, recall)
        return ranked
    check_deadline()
    rankings: list[list[TopK]] = [[]] * len(snapshot.segments)
    floors = [_Floor(depth) for _ in queries]
    for i in _largest_first(snapshot):
        index = snapshot.segments[i].segment.index
        rankings[i] = index.search_many(
            queries,
            depth,
            allowed=allowed[i],
            bound_factor=index.recall_calibration.factor_for(recall),
            at_least=[floor.score for floor in floors],
            threads=threads,
        )
        if len(rankings) > 1:
            for floor, top in zip(floors, rankings[i], strict=True):
                floor.raise_by(top)
    return [merge_ranked(snapshot, [tops[i] for tops in rankings], depth) for i in range(len(queries))]


class _Floor:
    """The score that a row of the next part must reach: that of the last of the best `depth` hits so far."""

    def __init__(self, depth: int) -> None:
        self.score = 0.0
        self._depth = depth
        self._scores: NDArray[np.float64] = np.empty(0, np.float64)

    def raise_by(self, top: TopK) -> None:
        """Take in another part's hits."""
        scores = np.concatenate([self._scores, top.scores])
        self._scores = -np.sort(-scores)[: self._depth]
        if len(self._scores) == self._depth:
            self.score = float(self._scores[-1])


def _largest_first(snapshot: Snapshot) -> list[int]:
    """Return the parts in the order in which they are searched: the threshold of a large one serves all others."""
    return sorted(range(len(snapshot.segments)), key=lambda i: -snapshot.segments[i].segment.n_rows)


def merge_ranked(snapshot: Snapshot, rankings: Sequence[TopK], depth: int) -> RankedRows:
    """Return the best `depth` rows of a ranking of each part."""
    if not rankings:
        nothing = np.empty(0, np.int64)
        return RankedRows(nothing, nothing, nothing, np.empty(0, np.float64), nothing)
    parts = np.repeat(np.arange(len(rankings)), [len(top.rows) for top in rankings])
    if len(rankings) == 1:
        rows, scores = rankings[0].rows, rankings[0].scores
        segment = snapshot.segments[0].segment
        return RankedRows(parts, rows, segment.internal_ids[rows], scores, segment.documents_of(rows))
    rows = np.concatenate([top.rows for top in rankings])
    scores = np.concatenate([top.scores for top in rankings])
    internal_ids = np.concatenate(
        [view.segment.internal_ids[top.rows] for view, top in zip(snapshot.segments, rankings, strict=True)]
    )
    documents = np.concatenate(
        [view.segment.documents_of(top.rows) for view, top in zip(snapshot.segments, rankings, strict=True)]
    )
    order = np.lexsort((internal_ids, -scores))[:depth]
    return RankedRows(parts, rows, internal_ids, scores, documents).at(order)
