"""Pruning of a vector's terms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.base import QueryVector


def prune(
    terms: NDArray[np.int32],
    weights: NDArray[np.float32],
    top_k: int | None,
    ratio: float,
) -> QueryVector:
    """Return the terms that weigh at least `ratio` of the heaviest, and of those the `top_k` heaviest.

    Of equal weights the lower ids stay. Terms come ascending and leave ascending.
    """
    if ratio and len(terms):
        heavy = weights >= ratio * weights.max()
        terms, weights = terms[heavy], weights[heavy]
    if top_k is not None and len(terms) > top_k:
        heaviest = np.sort(np.lexsort((terms, -weights))[:top_k])
        terms, weights = terms[heaviest], weights[heaviest]
    return terms, weights


def largest(vectors: list[QueryVector]) -> QueryVector:
    """Return, of several vectors, each term's largest weight: how the windows of a long text become one."""
    terms = np.concatenate([terms for terms, _ in vectors])
    weights = np.concatenate([weights for _, weights in vectors])
    order = np.lexsort((-weights, terms))
    terms, weights = terms[order], weights[order]
    first = np.ones(len(terms), dtype=bool)
    first[1:] = terms[1:] != terms[:-1]
    return terms[first], weights[first]


def followed(words: QueryVector, latents: QueryVector, count: int) -> QueryVector:
    """Return words and latents as one vector; the ids of latents come after those of the `count` words."""
    terms = np.concatenate([words[0], latents[0] + np.int32(count)]).astype(np.int32)
    return terms, np.concatenate([words[1], latents[1]]).astype(np.float32)


def prune_words(
    terms: NDArray[np.int32], weights: NDArray[np.float32], count: int | None, top_k: int | None, ratio: float
) -> QueryVector:
    """Return what `prune` leaves of the words, and all latents.

    Args:
        count: how many terms are words; None for all.
    """
    if count is None:
        return prune(terms, weights, top_k, ratio)
    split = int(np.searchsorted(terms, count))
    kept = prune(terms[:split], weights[:split], top_k, ratio)
    return np.concatenate([kept[0], terms[split:]]), np.concatenate([kept[1], weights[split:]])
