"""Vectors of tokens: which of a text's tokens are kept, in 8 bits, and MaxSim between a query's and those.

A text is kept as one vector a distinct token, the mean of its occurrences' states brought to unit length, of the
`MOST` tokens of the largest idf · sqrt(occurrences). A query keeps the states of all its tokens, of unit length, and
its score of a text is

    s(q, d) = Σ_i idf(t_i) · max_j  q_i · d_j  /  Σ_i idf(t_i)

MaxSim (Khattab & Zaharia, "ColBERT", SIGIR 2020, section 3.3), weighed by idf. Products are taken of whole numbers, so
that a score depends on the two texts alone, to the last bit: not on what else is scored with them, nor on threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.runtime.token_pooling import unit

MOST = 32
"""Vectors of a text, at most."""

_STEPS = 127  # of the 8 bits of a text's vectors
_QUERY_STEPS = 32_767  # of the 16 bits of a query's: products of both stay below 2**53, exact in float64


@dataclass(frozen=True, slots=True, eq=False)
class TokenVectors:
    """The vectors of a text: value times scale.

    Attributes:
        values: int8[n, width]; scales: float32[n]. None of both for a text without a token.
    """

    values: NDArray[np.int8]
    scales: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class QueryTokens:
    """The tokens of a query that weigh something.

    Attributes:
        vectors: float32[n, width], of unit length; weights: float64[n], above 0.
    """

    vectors: NDArray[np.float32]
    weights: NDArray[np.float64]


def kept_vectors(
    tokens: NDArray[np.int64], states: NDArray[np.float32], idf: NDArray[np.float32], most: int = MOST
) -> TokenVectors:
    """Return the vectors of a text; of tokens that matter equally those of the lower number.

    Args:
        tokens: int64[n], without special tokens; states: float32[n, width]; idf: float32[vocabulary].
    """
    if not len(tokens):
        return quantised(states[:0])
    distinct, counts = np.unique(tokens, return_counts=True)
    importance = idf[distinct].astype(np.float64) * np.sqrt(counts)
    chosen = np.argsort(-importance, kind="stable")[:most]
    order = np.argsort(tokens, kind="stable")
    sums = np.add.reduceat(unit(states)[order], np.cumsum(counts) - counts, axis=0)
    return quantised(unit(sums[chosen]))


def quantised(vectors: NDArray[np.float32]) -> TokenVectors:
    """Return float32[n, width] in 8 bits: a scale a vector, by which its largest value is 127 steps."""
    largest = np.abs(vectors).max(axis=1, initial=0.0)
    scales = (np.where(largest > 0, largest, 1.0) / _STEPS).astype(np.float32)
    values = np.clip(np.rint(vectors / scales[:, None]), -_STEPS, _STEPS).astype(np.int8)
    return TokenVectors(values, scales)


def query_tokens(tokens: NDArray[np.int64], states: NDArray[np.float32], idf: NDArray[np.float32]) -> QueryTokens:
    """Return a query's tokens, each occurrence for itself; arguments as for `kept_vectors`."""
    weights = idf[tokens].astype(np.float64)
    some = weights > 0
    return QueryTokens(unit(states[some]), weights[some])


def max_similarities(query: QueryTokens, texts: Sequence[TokenVectors]) -> NDArray[np.float64]:
    """Return the score of each text, float64[texts], from -1 to 1; NaN where it or the query has no vector."""
    scores = np.full(len(texts), np.nan)
    counts = np.array([len(text.scales) for text in texts], np.int64)
    present = np.flatnonzero(counts)
    if not len(present) or not len(query.weights):
        return scores
    largest = np.abs(query.vectors).max(axis=1).astype(np.float64)
    steps = np.where(largest > 0, largest, 1.0) / _QUERY_STEPS
    whole = np.rint(query.vectors / steps[:, None])  # float64, of whole numbers
    values = np.concatenate([texts[place].values for place in present.tolist()]).astype(np.float64)
    scales = np.concatenate([texts[place].scales for place in present.tolist()]).astype(np.float64)
    products = (values @ whole.T) * scales[:, None] * steps
    starts = np.cumsum(counts[present]) - counts[present]
    best = np.maximum.reduceat(products, starts, axis=0)
    weights = query.weights / query.weights.sum()
    total = np.zeros(len(present), np.float64)
    for number, weight in enumerate(weights.tolist()):  # one after the other: the same sum for every text
        total += weight * best[:, number]
    scores[present] = total
    return scores
