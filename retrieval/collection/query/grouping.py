"""Documents ranked by their passages.

A document's score is the sum of its two best passages' scores, divided by 1 + `PassageScoring.typical`: the share of
the best one's score that the second usually has. So a document whose second passage is as good as usual scores what
its best passage does, and so does a document of one row: neither long nor short ones are favoured. docs/decisions has
why.

Rows are searched for until enough documents are certain: one none of whose rows is among them has two passages that
score no more than the last of them. So the answer is that of scoring every passage.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lexhound.retrieval.deadline import check_deadline

from .ranked_rows import RankedRows, joined, ranked_parts
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
        rankings = search(waiting, fetch)
        check_deadline()
        documents = scored_by_two(snapshot, rankings, [score_of(number) for number in waiting], scoring)
        for number, ranked, best in zip(waiting, rankings, documents, strict=True):
            complete = len(ranked.rows) < fetch or fetch >= snapshot.n_rows
            if complete or (
                len(best.rows) >= depth and best.scores[depth - 1] > scoring.most(float(ranked.scores[-1]))
            ):
                found[number] = best.at(slice(depth))
        waiting = [number for number in waiting if number not in found]
        fetch = min(snapshot.n_rows, fetch * _WIDER)
    return [found[number] for number in range(queries)]


def scored_by_two(
    snapshot: Snapshot, rankings: Sequence[RankedRows], scorers: Sequence[Scorer], scoring: PassageScoring
) -> list[RankedRows]:
    """Return the documents of each query's ranked rows, by their best rows, in order of their two best rows' scores.

    All queries at once: what NumPy does for one of them takes longer to begin than to do.
    """
    sizes = [len(ranked.rows) for ranked in rankings]
    owners = np.repeat(np.arange(len(rankings)), sizes)
    rows = joined(rankings)
    order = np.lexsort((rows.documents, owners))  # stable: of a document's rows the best stays first
    documents, owned = rows.documents[order], owners[order]
    first = np.ones(len(order), np.bool_)
    first[1:] = (np.diff(documents) != 0) | (np.diff(owned) != 0)
    begins = np.flatnonzero(first)
    has_second = np.diff(np.append(begins, len(order))) > 1
    at, owned = order[begins], owned[begins]
    scores = rows.scores[at]
    scores[has_second] = scoring.combined(scores[has_second], rows.scores[order[begins[has_second] + 1]])
    single = np.flatnonzero(~has_second)
    single = single[_have_several_rows(snapshot, rows.documents[at[single]])]
    if len(single):
        wanted, cuts = rows.documents[at[single]], np.searchsorted(owned[single], np.arange(len(rankings) + 1))
        more, places = _scored(snapshot, wanted, cuts.tolist(), scorers, scoring)
        scores[single[places]] = more.scores
    best = replace(rows.at(at), scores=scores)
    best = best.at(np.lexsort((best.documents, -best.scores, owned)))
    ends = np.searchsorted(owned, np.arange(len(rankings) + 1)).tolist()
    return [best.at(slice(*cut)) for cut in itertools.pairwise(ends)]


def _have_several_rows(snapshot: Snapshot, documents: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of some documents, in any order, have more than one row."""
    wanted, places = np.unique(documents, return_inverse=True)
    counts = np.zeros(len(wanted), np.int64)
    for view in snapshot.segments:
        counts += view.segment.count_rows(wanted)
    several: NDArray[np.bool_] = (counts > 1)[places]
    return several


def documents_scored(
    snapshot: Snapshot, documents: NDArray[np.int64], score: Scorer, scoring: PassageScoring
) -> RankedRows:
    """Return those of some documents (ascending) that have a row with a score, each by its best row, by document."""
    return _scored(snapshot, documents, [0, len(documents)], [score], scoring)[0]


def _scored(
    snapshot: Snapshot,
    documents: NDArray[np.int64],
    cuts: Sequence[int],
    scorers: Sequence[Scorer],
    scoring: PassageScoring,
) -> tuple[RankedRows, NDArray[np.int64]]:
    """Return the same of several queries, of which query i has the `documents[cuts[i] : cuts[i + 1]]`, ascending.

    Also returns where in `documents` each of those that are returned is.
    """
    counts = np.zeros(len(documents), np.int64)
    found: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
    owned: list[NDArray[np.int64]] = []
    for view in snapshot.segments:
        rows, owners = view.segment.rows_of_documents(documents)
        counts += np.bincount(owners, minlength=len(documents))
        part: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = [(rows[:0], np.empty(0, np.float64))]
        ends = np.searchsorted(owners, cuts).tolist()
        for score, (low, high) in zip(scorers, itertools.pairwise(ends), strict=True):
            if low < high:
                part.append(score(view, rows[low:high]))
                owned.append(owners[low + np.searchsorted(rows[low:high], part[-1][0])])
        found.append((np.concatenate([own for own, _ in part]), np.concatenate([scores for _, scores in part])))
    ranked, places = ranked_parts(snapshot, found), np.concatenate([np.empty(0, np.int64), *owned])
    order = np.lexsort((ranked.internal_ids, -ranked.scores, places))
    ranked, places = ranked.at(order), places[order]
    first = np.flatnonzero(np.diff(places, prepend=-1) != 0)
    best, places = ranked.at(first), places[first]
    has_second = np.diff(np.append(first, len(ranked.rows))) > 1
    scores = best.scores.copy()
    seconds = np.zeros(len(best.rows), np.float64)
    seconds[has_second] = ranked.scores[first[has_second] + 1]
    several = has_second | (scoring.zeros & (counts[places] > 1))
    scores[several] = scoring.combined(scores[several], seconds[several])
    return replace(best, scores=scores), places


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
