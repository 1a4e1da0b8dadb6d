"""The columns of the vocabulary that a step computes, and how the sparsity of all is estimated from them.

The most used terms make up nearly all of FLOPS, the sum over terms of the squared mean weight; so they are always
computed, and the others are sampled, each sampled one standing for several.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MEMORY = 0.95  # of the running mean of a term's weight


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Columns of one step.

    Attributes:
        terms: int64[columns], ascending.
        multiplier: float32[columns]: how many terms each stands for in a sum over the vocabulary; 0 for those that are
            there for the scores alone.
    """

    terms: NDArray[np.int64]
    multiplier: NDArray[np.float32]

    def positions(self, terms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where given terms, all of which are there, stand."""
        return np.searchsorted(self.terms, terms)


class ColumnSampler:
    """A sampler of each step's columns, with a running mean of every term's weight.

    Args:
        allowed: bool[vocabulary], which outputs may be terms.
        frequent, sampled: how many of the most used, and how many of the rest.
    """

    def __init__(self, allowed: NDArray[np.bool_], frequent: int, sampled: int) -> None:
        self._allowed = np.flatnonzero(allowed)
        self._frequent = frequent
        self._sampled = sampled
        self.usage = np.zeros(len(allowed), dtype=np.float32)

    def draw(self, query_terms: NDArray[np.int64], seed: int, step: int) -> Columns:
        """Return the columns of a step whose queries have the given distinct terms."""
        vocabulary = len(self.usage)
        multiplier = np.zeros(vocabulary, dtype=np.float32)
        if self._frequent + self._sampled >= len(self._allowed):
            multiplier[self._allowed] = 1.0
        else:
            order = self._allowed[np.argsort(-self.usage[self._allowed], kind="stable")]
            multiplier[order[: self._frequent]] = 1.0
            rest = order[self._frequent :]
            if self._sampled:
                drawn = np.random.default_rng((seed, 2, step)).choice(rest, self._sampled, replace=False)
                multiplier[drawn] = len(rest) / self._sampled
        selected = multiplier > 0
        selected[query_terms] = True
        terms = np.flatnonzero(selected)
        return Columns(terms, multiplier[terms])

    def observe(self, columns: Columns, means: NDArray[np.float32]) -> None:
        """Take a step's mean weights of its columns, float32[columns], into the running means."""
        self.usage[columns.terms] = _MEMORY * self.usage[columns.terms] + (1 - _MEMORY) * means
