"""Fusion: the scores that several fields give to the same documents become one.

The candidates of a query are the best `depth` documents of each field. Every candidate is scored by every field,
exactly, whichever found it; only then are scores made comparable and added up. So a fused score depends on the query,
the collection and these options, and not on how many hits are asked for.

- `rrf`: each field gives weight / (rank_constant + rank), ranks from 1 among the candidates; a document that a field
  does not match at all gets nothing from it (Cormack, Clarke & Büttcher, "Reciprocal Rank Fusion Outperforms Condorcet
  and Individual Rank Learning Methods", SIGIR 2009).
- `min-max`: a field's scores are mapped so that its least candidate has 0 and its best 1; `floors` may fix the 0
  instead (Bruch, Gai & Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", TOIS 2023, sections 3 and 4).
- `z-score`: a field's scores less their mean, in standard deviations, over the candidates.
- `fixed`: a field's scores are mapped by bounds that do not depend on the candidates.

The three last are weighted sums of the mapped scores. The weights are 1 - `dense_weight` and `dense_weight`.
The options are `request.Fusion`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lexhound.retrieval.collection.request import Fusion


@dataclass(frozen=True, slots=True, eq=False)
class FieldScores:
    """What one field says of the candidates.

    Attributes:
        name: "sparse" or "dense".
        scores: float64[n], one a candidate, in ascending order of their internal ids.
        matched: bool[n], false for candidates without anything in common with the query on this field (sparse), or
            where one of the two has no vector (dense): their score is 0.
        ceiling: the largest score that any document could have.
    """

    name: str
    scores: NDArray[np.float64]
    matched: NDArray[np.bool_]
    ceiling: float


@dataclass(frozen=True, slots=True, eq=False)
class FieldShares:
    """What one field gives to the fused scores.

    Attributes:
        values: float64[n], the mapped scores: from 0 to 1 as a rule, deviations, or reciprocal ranks.
        shares: float64[n], weight times value: the shares of all fields sum to the fused score.
        ranks: int64[n], the candidate's rank on this field from 1; 0 where it does not match.
    """

    name: str
    weight: float
    values: NDArray[np.float64]
    shares: NDArray[np.float64]
    ranks: NDArray[np.int64]


def fuse(fusion: Fusion, fields: Sequence[FieldScores]) -> tuple[NDArray[np.float64], list[FieldShares]]:
    """Return the fused scores, float64[n], and what each field gave."""
    all_shares = []
    for field in fields:
        ranks = _ranks(field)
        field = _without_vector(fusion, field)
        if fusion.method == "rrf":
            values = np.zeros(len(ranks), np.float64)
            np.divide(1.0, fusion.rank_constant + ranks, out=values, where=ranks > 0)
        else:
            low, spread = _mapping(fusion, field)
            values = (field.scores - low) / spread if spread > 0 else np.zeros(len(ranks), np.float64)
        weight = fusion.weight(field.name)
        all_shares.append(FieldShares(field.name, weight, values, weight * values, ranks))
    total = np.zeros(len(fields[0].scores), np.float64)
    for side_shares in all_shares:
        total += side_shares.shares
    return total, all_shares


def best(scores: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """Return the places of the `k` largest scores, largest first, of equal ones the first: int64."""
    order: NDArray[np.int64] = np.argsort(-scores, kind="stable")[:k]
    return order


def _without_vector(fusion: Fusion, field: FieldScores) -> FieldScores:
    """Return dense scores; those without a vector get the least of the candidates', at most what becomes 0.

    Where terms do not match the sparse score of 0 is the least that there is; a product of vectors may be less.
    """
    if field.name != "dense" or field.matched.all():
        return field
    known = field.scores[field.matched].tolist()
    if fusion.method == "fixed":
        known.append(fusion.dense_low or 0.0)
    least = min(known, default=0.0)
    return replace(field, scores=np.where(field.matched, field.scores, least))


def _ranks(field: FieldScores) -> NDArray[np.int64]:
    order = np.argsort(-field.scores, kind="stable")
    order = order[field.matched[order]]
    ranks = np.zeros(len(field.scores), np.int64)
    ranks[order] = np.arange(1, len(order) + 1)
    return ranks


def _mapping(fusion: Fusion, field: FieldScores) -> tuple[float, float]:
    """Return what is taken from a score, and what the rest is divided by; a spread of 0 says that there is nothing to
    tell.
    """
    scores = field.scores
    if not len(scores):
        return 0.0, 0.0
    if fusion.method == "z-score":
        return float(scores.mean()), float(scores.std())
    low: float | None = getattr(fusion, f"{field.name}_low")
    high: float | None = getattr(fusion, f"{field.name}_high")
    if fusion.method == "fixed":
        low = 0.0 if low is None else low
        high = field.ceiling if high is None else high
    else:
        low = float(scores.min()) if low is None else low
        high = float(scores.max()) if high is None else high
    return low, high - low
