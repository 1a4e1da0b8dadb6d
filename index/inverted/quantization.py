"""Weights as small integers, so that a score is an integer sum: the same in every order, on every machine.

A document weight becomes an 8-bit *impact*, `round(weight / scale)` in 1..255 (uniform quantisation, as in Anh, de
Kretser and Moffat, "Vector-space ranking with effective early termination", SIGIR 2001). A query weight becomes a
32-bit integer. Both scales are chosen so that float64 holds every score, and every part of a score, exactly:

    score(row) = (sum over terms of query integer x impact) x query scale x impact scale

- the integer sum is below 2**31 (see `Query.from_weights`);
- the query scale is a power of two;
- the impact scale has at most 22 significant bits (see `exact_scale`);

so a score needs at most 31 + 22 = 53 significant bits, which is what a float64 has. Contributions of single terms are
multiples of the same unit, so adding them up in any order gives the score itself, with no rounding anywhere.
"""

from __future__ import annotations

import math
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexhound.index.jit import frozen

MAX_IMPACT = 255
QUERY_BUDGET = 2**23  # 255 x 2**23 < 2**31
_SCALE_BITS = 22
_CHUNK = 1 << 20


def exact_scale(scale: float) -> float:
    """Return `scale` rounded to 22 significant bits (to within 2**-22 of it), so that scores are exact in float64.

    Raises ValueError unless `scale` is positive and in the normal range of float32.
    """
    if not (2.0**-126 <= scale <= 2.0**127):
        raise ValueError(f"the impact scale must be a positive number of ordinary size, not {scale!r}")
    mantissa, exponent = math.frexp(scale)
    return math.ldexp(round(math.ldexp(mantissa, _SCALE_BITS)), exponent - _SCALE_BITS)


def quantise_weights(weights: NDArray[np.float32], scale: float) -> NDArray[np.uint8]:
    """Return the impacts of positive weights: `clip(round(weight / scale), 1, 255)`, ties to even; never 0.

    weights: float32[n]; returns uint8[n]. Raises ValueError when a weight is not positive and finite.
    """
    impacts, _ = quantise_with_loss(weights, scale)
    return impacts


@dataclass(frozen=True, slots=True)
class QuantisationLoss:
    """The loss by 8 bits: the differences between weights and the impacts that stand for them (`impact x scale`)."""

    count: int = 0
    sum_absolute_error: float = 0.0
    max_absolute_error: float = 0.0
    sum_weight: float = 0.0
    clipped: int = 0
    """Weights above 255.5 x scale, which lost their tail."""

    @property
    def mean_absolute_error(self) -> float:
        """Mean difference per posting, in the unit of the weights."""
        return self.sum_absolute_error / self.count if self.count else 0.0

    @property
    def relative_error(self) -> float:
        """Sum of the differences over the sum of the weights: 0.01 means that 1 % of the mass moved."""
        return self.sum_absolute_error / self.sum_weight if self.sum_weight else 0.0

    def merge(self, other: QuantisationLoss) -> QuantisationLoss:
        """Return the loss over both sets of weights."""
        return QuantisationLoss(
            self.count + other.count,
            self.sum_absolute_error + other.sum_absolute_error,
            max(self.max_absolute_error, other.max_absolute_error),
            self.sum_weight + other.sum_weight,
            self.clipped + other.clipped,
        )

    def of_survivors(self, count: int) -> QuantisationLoss:
        """Return the loss when only `count` of the postings are left, taken as an average sample of them.

        An estimate: the weights themselves are gone. The maximum stays as an upper bound.
        """
        if count == self.count:
            return self
        share = count / self.count if self.count else 0.0
        return QuantisationLoss(
            count,
            self.sum_absolute_error * share,
            self.max_absolute_error if count else 0.0,
            self.sum_weight * share,
            round(self.clipped * share),
        )


def quantise_with_loss(
    weights: NDArray[np.float32], scale: float, pool: Executor | None = None
) -> tuple[NDArray[np.uint8], QuantisationLoss]:
    """Return the impacts of `weights` as `quantise_weights` gives them, and what that lost.

    Works in chunks of a million, in turn or on the threads of `pool`, with the same result.
    """
    scale = exact_scale(scale)
    impacts = np.empty(len(weights), np.uint8)

    def work(start: int) -> QuantisationLoss:
        return _quantise_chunk(weights[start : start + _CHUNK], scale, start, impacts[start : start + _CHUNK])

    chunks = range(0, len(weights), _CHUNK)
    loss = QuantisationLoss()
    for each in pool.map(work, chunks) if pool else map(work, chunks):
        loss = loss.merge(each)
    return impacts, loss


def requantised(old: float, new: float) -> NDArray[np.uint8]:
    """Return what impacts in steps of `old` become in steps of `new`: uint8[256], `clip(round(i x old / new), 1, 255)`.

    0 stays 0. Exact where `new` is `old` divided by a power of two and nothing is clipped.
    """
    levels = np.zeros(MAX_IMPACT + 1, np.uint8)
    levels[1:] = np.clip(np.rint(np.arange(1, MAX_IMPACT + 1) * (old / new)), 1, MAX_IMPACT)
    return levels


def requantisation_loss(counts: NDArray[np.int64], old: float, new: float) -> QuantisationLoss:
    """Return the most that `requantised` adds to the loss of impacts that occur `counts` (int64[256]) times each."""
    before = np.arange(MAX_IMPACT + 1) * old
    errors = np.abs(requantised(old, new) * new - before)
    occurring = counts > 0
    clipped = np.rint(before / new) > MAX_IMPACT
    return QuantisationLoss(
        sum_absolute_error=float((counts * errors).sum()),
        max_absolute_error=float(errors[occurring].max()) if occurring.any() else 0.0,
        clipped=int(counts[clipped].sum()),
    )


def _quantise_chunk(
    weights: NDArray[np.float32], scale: float, start: int, impacts: NDArray[np.uint8]
) -> QuantisationLoss:
    """Write the impacts of some weights, of which the first is entry `start`."""
    chunk = weights.astype(np.float64)
    if not (np.isfinite(chunk).all() and (chunk > 0).all()):
        bad = int(np.argmin(np.isfinite(chunk) & (chunk > 0)))
        raise ValueError(
            f"weights must be positive and finite: entry {start + bad} is {weights[bad]!r}; drop zeros before indexing"
        )
    rounded = np.rint(chunk / scale)
    clipped = int((rounded > MAX_IMPACT).sum())
    np.clip(rounded, 1, MAX_IMPACT, out=rounded)
    impacts[:] = rounded
    rounded *= scale
    rounded -= chunk
    np.abs(rounded, out=rounded)
    return QuantisationLoss(len(chunk), float(rounded.sum()), float(rounded.max()), float(chunk.sum()), clipped)


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """A sparse query vector in integers, made once and searched in any number of indexes.

    terms: int32[m], ascending, no term twice; weights: int32[m], at least 1; scale: a power of two, the float weight
    that an integer weight of 1 stands for. Make it with `Query.from_weights`.
    """

    terms: NDArray[np.int32]
    weights: NDArray[np.int32]
    scale: float

    def __len__(self) -> int:
        return len(self.terms)

    @classmethod
    def from_weights(cls, terms: NDArray[np.int32], weights: NDArray[np.float32]) -> Query:
        """Quantise a query vector: `max(1, round(weight x f))`, f the largest power of two that cannot overflow.

        terms: int32[m], ascending, no term twice; weights: float32[m], positive and finite. Raises ValueError
        otherwise. An empty query is a query without hits.

        No int32 accumulator overflows. With m terms and f <= (2**23 - m) / sum(weights), each integer is at most
        weight x f + 1, so the integers sum to at most sum(weights) x f + m <= 2**23. A row holds a term at most once
        with an impact of at most 255, so its score is at most 255 x 2**23 < 2**31.
        """
        terms = np.ascontiguousarray(terms, np.int32)
        exact = np.asarray(weights).astype(np.float64)
        if terms.ndim != 1 or terms.shape != exact.shape:
            raise ValueError(f"a query needs one weight per term: {terms.shape} terms, {exact.shape} weights")
        if len(terms) == 0:
            return cls(frozen(terms), frozen(np.empty(0, np.int32)), 1.0)
        if terms[0] < 0 or (terms[1:] <= terms[:-1]).any():
            raise ValueError("query terms must be non-negative, ascending and without repetition")
        if not (np.isfinite(exact).all() and (exact > 0).all()):
            raise ValueError("query weights must be positive and finite; leave out terms that weigh nothing")
        if len(terms) > QUERY_BUDGET // 2:
            raise ValueError(f"a query has at most {QUERY_BUDGET // 2} terms, not {len(terms)}")
        # frexp: ratio = mantissa x 2**exponent with mantissa in [.5, 1), so 2**(exponent - 1) <= ratio.
        _, exponent = math.frexp((QUERY_BUDGET - len(terms)) / math.fsum(exact.tolist()))
        integers = np.maximum(1, np.rint(np.ldexp(exact, exponent - 1))).astype(np.int32)
        return cls(frozen(terms), frozen(integers), math.ldexp(1.0, 1 - exponent))
