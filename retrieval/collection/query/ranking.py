"""The best rows of a snapshot for encoded queries, by its inverted index.

Order is part of the contract: score descending, then insertion order, at every cut and merge.

Where documents have several rows, one a passage, a document stands where its best passage does, of equally good ones
the first (`grouped`). Rows are searched for until enough documents are among them, which then are the best: a document
that is missing has no row as good.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexhound.index.inverted.quantization import Query
from lexhound.index.topk import SearchStats, TopK
from lexhound.retrieval.collection.result import RankedIds
from lexhound.retrieval.deadline import check_deadline, current_deadline

from .snapshot import Snapshot

# How many rows a document is searched for at first, at most, and how many times as many where those were too few.
_MOST_AT_FIRST = 4
WIDER = 4
# Queries of a batch that are answered together where there is a deadline to look at.
_TOGETHER = 50


@dataclass(frozen=True, slots=True, eq=False)
class RankedRows:
    """The best rows of a snapshot, best first: part number, row in the part, seq and score of each.

    Attributes:
        documents: int64[n], the seq of each row's document: its own, unless it is a further passage.
    """

    parts: NDArray[np.int64]
    rows: NDArray[np.int64]
    internal_ids: NDArray[np.int64]
    scores: NDArray[np.float64]
    documents: NDArray[np.int64]

    def at(self, positions: NDArray[np.int64] | slice) -> RankedRows:
        """Return those at some places, in their order."""
        return RankedRows(
            self.parts[positions],
            self.rows[positions],
            self.internal_ids[positions],
            self.scores[positions],
            self.documents[positions],
        )


def grouped(ranked: RankedRows) -> RankedRows:
    """Return the best row of each document, best first."""
    _, first = np.unique(ranked.documents, return_index=True)
    return ranked if len(first) == len(ranked.documents) else ranked.at(np.sort(first))


def fetched(snapshot: Snapshot, depth: int) -> int:
    """Return how many rows are searched for first where `depth` documents are wanted."""
    if not snapshot.has_passages:
        return depth
    return min(snapshot.n_rows, depth * min(_MOST_AT_FIRST, -(-snapshot.n_rows // max(snapshot.n_documents, 1))))


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
    stats = SearchStats(0, 0)
    fetch = fetched(snapshot, depth)
    while True:
        ranked, more = _rank(snapshot, query, fetch, allowed, recall)
        stats = SearchStats(stats.postings_read + more.postings_read, stats.rows_scored + more.rows_scored)
        best = grouped(ranked)
        if is_enough(snapshot, best, ranked, depth, fetch):
            return best.at(slice(depth)), stats
        fetch = min(snapshot.n_rows, fetch * WIDER)


def is_enough(snapshot: Snapshot, best: RankedRows, ranked: RankedRows, depth: int, fetch: int) -> bool:
    """Return whether the best rows of documents, of the ranked rows of a search for `fetch`, are those of all `depth`
    documents that are wanted, or of all that the search can find.
    """
    return len(best.rows) >= depth or len(ranked.rows) < fetch or fetch >= snapshot.n_rows


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
        stats = SearchStats(stats.postings_read + part_stats.postings_read, stats.rows_scored + part_stats.rows_scored)
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

    return grouped_many(snapshot, len(queries), depth, search)


def grouped_many(
    snapshot: Snapshot, queries: int, depth: int, search: Callable[[Sequence[int], int], list[RankedRows]]
) -> list[RankedRows]:
    """Return the best rows of the best `depth` documents of so many queries; `search` gives the best rows of those
    with some numbers.
    """
    found: dict[int, RankedRows] = {}
    fetch = fetched(snapshot, depth)
    open_queries = list(range(queries))
    while open_queries:
        for number, ranked in zip(open_queries, search(open_queries, fetch), strict=True):
            best = grouped(ranked)
            if is_enough(snapshot, best, ranked, depth, fetch):
                found[number] = best.at(slice(depth))
        open_queries = [number for number in open_queries if number not in found]
        fetch = min(snapshot.n_rows, fetch * WIDER)
    return [found[number] for number in range(queries)]


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


def named(snapshot: Snapshot, ranked: RankedRows) -> RankedIds:
    """Return ranked rows as (id, score) pairs."""
    return [
        (snapshot.segments[part].segment.ids[row], score)
        for part, row, score in zip(ranked.parts.tolist(), ranked.rows.tolist(), ranked.scores.tolist(), strict=True)
    ]
