"""Documents ranked by their passages.

A document's score is the sum of its two best passages' scores, divided by 1 + `PassageScoring.typical`: the share of
the best one's score that the second usually has. So a document whose second passage is as good as usual scores what
its best passage does, and so does a document of one row: neither long nor short ones are favoured. docs/decisions has
why.

Rows are searched for until enough documents are certain: one none of whose rows is among them has two passages that
score no more than the last of them. So the answer is that of scoring every passage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lexhound.retrieval.deadline import check_deadline

from .ranked_rows import RankedRows, ranked_parts
from .snapshot import SegmentView, Snapshot


@dataclass(frozen=True, slots=True)
class PassageScoring:
    """How the scores of passages become a document's.

    Attributes:
        typical: which share of the best passage's score the second one of a document usually has.
        zeros: whether rows that cannot be scored count as 0; else they are passed over.
    """

    typical: float
    zeros: bool

    def combined(self, best: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the scores of documents of several passages."""
        total: NDArray[np.float64] = (best + second) / (1.0 + self.typical)
        return total

    def most(self, score: float) -> float:
        """Return the most that a document can score whose passages score no more than `score`."""
        return max(score, 2.0 * score / (1.0 + self.typical))


SPARSE = PassageScoring(0.9, zeros=True)
DENSE = PassageScoring(0.9, zeros=False)
"""The inverted index and dense vectors; measured, see docs/decisions."""

# How many rows a document is searched for at first, at most, and how many times as many where those were too few.
_MOST_AT_FIRST = 4
_WIDER = 4

Scorer: TypeAlias = Callable[[SegmentView, NDArray[np.int64]], tuple[NDArray[np.int64], NDArray[np.float64]]]
"""Takes a part and rows of it, ascending; returns those of them that a field can score, and their scores."""


def best_rows_of(ranked: RankedRows) -> RankedRows:
    """Return the best row of each document, best first."""
    _, first = np.unique(ranked.documents, return_index=True)
    return ranked if len(first) == len(ranked.documents) else ranked.at(np.sort(first))


def group_one(
    snapshot: Snapshot, depth: int, search: Callable[[int], RankedRows], score: Scorer, scoring: PassageScoring
) -> RankedRows:
    """Return the best `depth` documents, each by its best row, with their scores; `search` gives the best rows."""
    return group_many(snapshot, 1, depth, lambda _, fetch: [search(fetch)], lambda _: score, scoring)[0]


def group_many(
    snapshot: Snapshot,
    queries: int,
    depth: int,
    search: Callable[[Sequence[int], int], list[RankedRows]],
    score_of: Callable[[int], Scorer],
    scoring: PassageScoring,
) -> list[RankedRows]:
    """Return the same of so many queries; `search` takes numbers of queries, `score_of` the number of one."""
    found: dict[int, RankedRows] = {}
    average = -(-snapshot.n_rows // max(snapshot.n_documents, 1))
    fetch = min(snapshot.n_rows, depth * min(_MOST_AT_FIRST, average + 1))
    waiting = list(range(queries))
    while waiting:
        for number, ranked in zip(waiting, search(waiting, fetch), strict=True):
            check_deadline()
            best = scored_by_two(snapshot, ranked, score_of(number), scoring)
            complete = len(ranked.rows) < fetch or fetch >= snapshot.n_rows
            if complete or (
                len(best.rows) >= depth and best.scores[depth - 1] > scoring.most(float(ranked.scores[-1]))
            ):
                found[number] = best.at(slice(depth))
        waiting = [number for number in waiting if number not in found]
        fetch = min(snapshot.n_rows, fetch * _WIDER)
    return [found[number] for number in range(queries)]


def scored_by_two(snapshot: Snapshot, ranked: RankedRows, score: Scorer, scoring: PassageScoring) -> RankedRows:
    """Return the documents of ranked rows, each by its best row, in the order of their two best rows' scores."""
    best = best_rows_of(ranked)
    order = np.argsort(ranked.documents, kind="stable")
    documents = ranked.documents[order]
    repeated = np.flatnonzero(np.diff(documents, prepend=-1) == 0)
    seconds = repeated[np.diff(documents[repeated], prepend=-1) != 0]  # of each document, its second row
    by_document = np.argsort(best.documents)
    scores = best.scores.copy()
    at = by_document[np.searchsorted(best.documents[by_document], documents[seconds])]
    scores[at] = scoring.combined(scores[at], ranked.scores[order[seconds]])
    single = np.ones(len(scores), np.bool_)
    single[at] = False
    single_at = by_document[single[by_document]]  # ascending by document
    if len(single_at):
        more = documents_scored(snapshot, best.documents[single_at], score, scoring)
        scores[single_at[np.searchsorted(best.documents[single_at], more.documents)]] = more.scores
    return replace(best, scores=scores).at(np.lexsort((best.documents, -scores)))


def documents_scored(
    snapshot: Snapshot, documents: NDArray[np.int64], score: Scorer, scoring: PassageScoring
) -> RankedRows:
    """Return those of some documents (ascending) that have a row with a score, each by its best row, by document."""
    counts = np.zeros(len(documents), np.int64)
    found: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
    for view in snapshot.segments:
        rows, owners = view.segment.rows_of_documents(documents)
        counts += np.bincount(owners, minlength=len(documents))
        nothing = (np.empty(0, np.int64), np.empty(0, np.float64))
        found.append(score(view, rows) if len(rows) else nothing)
    ranked = ranked_parts(snapshot, found)
    order = np.lexsort((ranked.internal_ids, -ranked.scores, ranked.documents))
    ranked = ranked.at(order)
    first = np.flatnonzero(np.diff(ranked.documents, prepend=-1) != 0)
    best = ranked.at(first)
    places = np.searchsorted(documents, best.documents)
    has_second = np.diff(np.append(first, len(ranked.rows))) > 1
    scores = best.scores.copy()
    seconds = np.zeros(len(best.rows), np.float64)
    seconds[has_second] = ranked.scores[first[has_second] + 1]
    several = has_second | (scoring.zeros & (counts[places] > 1))
    scores[several] = scoring.combined(scores[several], seconds[several])
    return replace(best, scores=scores)


def scoring_rows(
    snapshot: Snapshot, document: int, score: Scorer, scoring: PassageScoring
) -> list[tuple[int, int, float]]:
    """Return the rows that a document's score is of, best first: part, row, and which share of its score counts."""
    found = []
    total = 0
    for view in snapshot.segments:
        rows, _ = view.segment.rows_of_documents(np.array([document], np.int64))
        total += len(rows)
        found.append(score(view, rows) if len(rows) else (rows, np.empty(0, np.float64)))
    ranked = ranked_parts(snapshot, found)
    best = ranked.at(np.lexsort((ranked.internal_ids, -ranked.scores))[:2])
    share = 1.0 if total == 1 else 1.0 / (1.0 + scoring.typical)
    return [(part, row, share) for part, row in zip(best.parts.tolist(), best.rows.tolist(), strict=True)]
