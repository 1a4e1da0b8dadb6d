"""Fusion: the scores that several sides give to the same documents become one.

The candidates of a query are the best `depth` documents of each side. Every candidate is scored by every side, exactly,
whichever found it; only then are scores made comparable and added up. So a fused score depends on the query, the
collection and these options, and not on how many hits are asked for.

- `rrf`: each side gives weight / (rank_constant + rank), ranks from 1 among the candidates; a document that a side does
  not match at all gets nothing from it (Cormack, Clarke & Büttcher, "Reciprocal Rank Fusion Outperforms Condorcet and
  Individual Rank Learning Methods", SIGIR 2009).
- `min-max`: a side's scores are mapped so that its least candidate has 0 and its best 1; `floors` may fix the 0 instead
  (Bruch, Gai & Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", TOIS 2023, sections 3 and 4).
- `z-score`: a side's scores less their mean, in standard deviations, over the candidates.
- `fixed`: a side's scores are mapped by bounds that do not depend on the candidates.

The three last are weighted sums of the mapped scores. The weights are 1 - `dense_weight` and `dense_weight`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lexhound.retrieval.errors import QueryError

METHODS = ("min-max", "z-score", "rrf", "fixed")
MAX_DEPTH = 10_000


@dataclass(frozen=True, slots=True)
class Fusion:
    """How a hybrid search fuses its two sides.

    Attributes:
        method: one of METHODS.
        dense_weight: the dense side's share of the sum, 0 to 1.
        depth: how many candidates each side brings. A hybrid search has at most twice as many hits, and takes longer
            the more they are.
        rank_constant: of `rrf`.
        sparse_low, dense_low: of `min-max`, the score that becomes 0; None for that of the least candidate. Of
            `fixed`, None stands for 0.
        sparse_high, dense_high: of `fixed`, the score that becomes 1; None for the largest that the query could get
            from any document (sparse), and for 1, the largest cosine (dense).
    """

    method: str = "z-score"
    dense_weight: float = 0.6
    depth: int = 1000
    rank_constant: float = 60.0
    sparse_low: float | None = None
    sparse_high: float | None = None
    dense_low: float | None = None
    dense_high: float | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise QueryError(f"the fusion method is {self.method!r}", hint=f"it must be one of {', '.join(METHODS)}")
        for name, low, high in (("dense_weight", 0.0, 1.0), ("rank_constant", 0.0, 1e6)):
            value = getattr(self, name)
            if not _is_number(value) or not low <= value <= high:
                raise QueryError(f"{name} of the fusion is {value!r}", hint=f"it must be from {low:g} to {high:g}")
        if not isinstance(self.depth, int) or isinstance(self.depth, bool) or not 1 <= self.depth <= MAX_DEPTH:
            raise QueryError(f"depth of the fusion is {self.depth!r}", hint=f"it must be from 1 to {MAX_DEPTH:,}")
        for side in ("sparse", "dense"):
            low, high = getattr(self, f"{side}_low"), getattr(self, f"{side}_high")
            for name, value in ((f"{side}_low", low), (f"{side}_high", high)):
                if value is not None and not _is_number(value):
                    raise QueryError(f"{name} of the fusion is {value!r}", hint="it must be a number")
            if low is not None and high is not None and low >= high:
                raise QueryError(
                    f"{side}_low of the fusion is {low:g} and {side}_high {high:g}", hint="the low one must be lower"
                )

    def weight(self, side: str) -> float:
        """The weight of the side "sparse" or "dense"."""
        return self.dense_weight if side == "dense" else 1.0 - self.dense_weight


@dataclass(frozen=True, slots=True, eq=False)
class SideScores:
    """What one side says of the candidates.

    Attributes:
        name: "sparse" or "dense".
        scores: float64[n], one a candidate, in ascending order of their seqs.
        matched: bool[n], false for candidates without anything in common with the query on this side (sparse), or where
            one of the two has no vector (dense): their score is 0.
        ceiling: the largest score that any document could have.
    """

    name: str
    scores: NDArray[np.float64]
    matched: NDArray[np.bool_]
    ceiling: float


@dataclass(frozen=True, slots=True, eq=False)
class SideShares:
    """What one side gives to the fused scores.

    Attributes:
        values: float64[n], the mapped scores: from 0 to 1 as a rule, deviations, or reciprocal ranks.
        shares: float64[n], weight times value: the shares of all sides sum to the fused score.
        ranks: int64[n], the candidate's rank on this side from 1; 0 where it does not match.
    """

    name: str
    weight: float
    values: NDArray[np.float64]
    shares: NDArray[np.float64]
    ranks: NDArray[np.int64]


def fuse(fusion: Fusion, sides: Sequence[SideScores]) -> tuple[NDArray[np.float64], list[SideShares]]:
    """Return the fused scores, float64[n], and what each side gave."""
    found = []
    for side in sides:
        ranks = _ranks(side)
        side = _without_vector(fusion, side)
        if fusion.method == "rrf":
            values = np.zeros(len(ranks), np.float64)
            np.divide(1.0, fusion.rank_constant + ranks, out=values, where=ranks > 0)
        else:
            low, spread = _mapping(fusion, side)
            values = (side.scores - low) / spread if spread > 0 else np.zeros(len(ranks), np.float64)
        weight = fusion.weight(side.name)
        found.append(SideShares(side.name, weight, values, weight * values, ranks))
    total = np.zeros(len(sides[0].scores), np.float64)
    for side_shares in found:
        total += side_shares.shares
    return total, found


def best(scores: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """The places of the `k` largest scores, largest first, of equal ones the first: int64."""
    order: NDArray[np.int64] = np.argsort(-scores, kind="stable")[:k]
    return order


def _without_vector(fusion: Fusion, side: SideScores) -> SideScores:
    """Dense scores with the least of the candidates', at most what becomes 0, where there is no vector and so no score.

    Where terms do not match the sparse score of 0 is the least that there is; a product of vectors may be less.
    """
    if side.name != "dense" or side.matched.all():
        return side
    known = side.scores[side.matched].tolist()
    if fusion.method == "fixed":
        known.append(fusion.dense_low or 0.0)
    least = min(known, default=0.0)
    return replace(side, scores=np.where(side.matched, side.scores, least))


def _ranks(side: SideScores) -> NDArray[np.int64]:
    order = np.argsort(-side.scores, kind="stable")
    order = order[side.matched[order]]
    ranks = np.zeros(len(side.scores), np.int64)
    ranks[order] = np.arange(1, len(order) + 1)
    return ranks


def _mapping(fusion: Fusion, side: SideScores) -> tuple[float, float]:
    """What is taken from a score, and what the rest is divided by; a spread of 0 says that there is nothing to tell."""
    scores = side.scores
    if not len(scores):
        return 0.0, 0.0
    if fusion.method == "z-score":
        return float(scores.mean()), float(scores.std())
    low: float | None = getattr(fusion, f"{side.name}_low")
    high: float | None = getattr(fusion, f"{side.name}_high")
    if fusion.method == "fixed":
        low = 0.0 if low is None else low
        high = side.ceiling if high is None else high
    else:
        low = float(scores.min()) if low is None else low
        high = float(scores.max()) if high is None else high
    return low, high - low


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
