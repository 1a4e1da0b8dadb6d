"""Are the answers the referee's? Equal, or different only as far as 8 bits allow.

An impact differs from its weight by at most half a step, so our score of a passage differs from the exact one by at
most

    e = sum over the query's terms of (count x idf) x step / 2

(plus rounding: the query's integer weights, and float32 sums on the referee's side). Ranked lists of scores that differ
by at most e differ position by position by at most e, too; so where our list and theirs name different passages at the
same position, the exact scores of the two lie within 2e of each other. A difference beyond that is an error of ours or
theirs, and is counted as unexplained. Where scores are equal, our order is that of insertion; bm25s promises none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexhound.index import Query


@dataclass(frozen=True, slots=True)
class Ranking:
    """Rows, best first, and their scores."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How the answers to some questions compare.

    Attributes:
        questions: compared, of which `identical` have the same passages in the same order, and `same_set` the same in
            any order.
        positions: where the two name different passages; `exact_ties` of them have equal scores on the referee's
            side, `unexplained` have scores further apart than 2e.
        overlap: mean share of the referee's passages that are among ours.
        largest_share_of_bound: the largest such distance, as a share of its 2e.
        largest_score_error: the largest difference between our score and theirs of one passage, as a share of e.
        misordered: questions whose answers break our own promise of order (score descending, then row ascending).
    """

    questions: int
    identical: int
    same_set: int
    positions: int
    exact_ties: int
    unexplained: int
    overlap: float
    largest_share_of_bound: float
    largest_score_error: float
    misordered: int


def compare(
    queries: Sequence[Query],
    ours: Sequence[Ranking],
    theirs: Sequence[NDArray[np.int64]],
    exact_scores: Callable[[int], NDArray[np.float32]],
    scale: float,
) -> Agreement:
    """Compare rankings question by question.

    Args:
        theirs: the referee's rows; those that match no term of the query are passed over.
        exact_scores: the referee's scores of all rows for a question.
        scale: the weight of one step of our impacts.
    """
    identical = same_set = positions = ties = unexplained = misordered = 0
    overlaps, shares, errors = [], [0.0], [0.0]
    for number, (query, mine, other) in enumerate(zip(queries, ours, theirs, strict=True)):
        exact = exact_scores(number).astype(np.float64)
        found = other[exact[other] > 0]
        bound = score_error(query, scale)
        if len(mine.rows) != len(found):
            unexplained += abs(len(mine.rows) - len(found))
            continue
        misordered += not _in_order(mine)
        same_set += set(mine.rows.tolist()) == set(found.tolist())
        overlaps.append(len(np.intersect1d(mine.rows, found)) / max(1, len(found)))
        errors.append(float(np.abs(mine.scores - exact[mine.rows]).max(initial=0)) / bound)
        differ = mine.rows != found
        identical += not differ.any()
        distances = np.abs(exact[mine.rows] - exact[found])[differ]
        positions += len(distances)
        ties += int((distances == 0).sum())
        unexplained += int((distances > 2 * bound).sum())
        shares.append(float(distances.max(initial=0)) / (2 * bound))
    return Agreement(
        len(queries),
        identical,
        same_set,
        positions,
        ties,
        unexplained,
        float(np.mean(overlaps)) if overlaps else 1.0,
        max(shares),
        max(errors),
        misordered,
    )


def score_error(query: Query, scale: float) -> float:
    """The e above: the most that our score of a row can differ from the referee's."""
    total = float(query.weights.sum()) * query.scale
    integers = len(query) * query.scale / 2
    float32 = total * (len(query) + 4) / 2**24
    return total * scale / 2 + integers + float32


def _in_order(ranking: Ranking) -> bool:
    falling = ranking.scores[1:] < ranking.scores[:-1]
    tied = ranking.scores[1:] == ranking.scores[:-1]
    return bool((falling | (tied & (ranking.rows[1:] > ranking.rows[:-1]))).all())
