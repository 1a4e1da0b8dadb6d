"""The words that a text is written in, beside what a model makes of it.

A language model's head says which terms a text is about, once each: a maximum over positions knows neither how often a
word occurs nor how long the text is. BM25 knows both. Where an encoder asks for it, a term t that is written in text d
weighs more by a share of BM25's term-frequency part (Robertson and Zaragoza, "The Probabilistic Relevance Framework",
2009, section 3.4):

    w_t(d) = model_t(d) + weight · tf (k1 + 1) / (tf + k1 (1 - b + b · |d| / length))

tf and |d| count the tokens that the encoder reads. `length` is a constant of the encoder, not of a collection, so that
a document's vector depends on nothing but its text.

An encoder that adds terms to documents also hides how rare words are: of the documents whose vectors hold "cells",
many are written without it. A table of *shares* undoes that: of the documents that hold term t, how many are written
with it, counted over the texts that the encoder was trained on. Document frequency × share stands for the number of
documents that are written with t, from which idf is made (`lexhound.encoders.sparse.live_idf`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.errors import SettingsError

_PRIOR = 5  # documents that count beside those that hold a term, half of them written with it


@dataclass(frozen=True, slots=True)
class ExactTermBoost:
    """How much a text's own words weigh beside what the model says of them.

    Attributes:
        weight: of BM25's term-frequency part, in the unit of the model's weights; above 0.
        k1: how soon a repeated word stops counting, at least 0.
        b: how much longer texts weigh less, 0 to 1.
        length: tokens of a text of usual length, at least 1.

    Raises:
        SettingsError: a value is out of its range.
    """

    weight: float
    k1: float = 2.5
    b: float = 0.75
    length: int = 150

    def __post_init__(self) -> None:
        for name, right in (
            ("weight", self.weight > 0),
            ("k1", self.k1 >= 0),
            ("b", 0 <= self.b <= 1),
            ("length", self.length >= 1),
        ):
            if not right:
                raise SettingsError(
                    f"written.{name} is {getattr(self, name)}", "weight > 0, k1 >= 0, b from 0 to 1, length >= 1"
                )

    @property
    def identity(self) -> str:
        """What stands for the boost in an encoder's identity; collections store a digest of it."""
        return f"WrittenWords(weight={self.weight!r}, k1={self.k1!r}, b={self.b!r}, length={self.length!r})"

    def weights(self, ids: Sequence[int] | NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return a text's distinct tokens, int32 ascending, and what each weighs, float32.

        Args:
            ids: the text's tokens, special ones left out.
        """
        terms, counts = np.unique(np.asarray(ids, np.int32), return_counts=True)
        pivot = self.k1 * (1 - self.b + self.b * len(ids) / self.length)
        return terms, (self.weight * (self.k1 + 1) * counts / (counts + pivot)).astype(np.float32)

    def added(
        self, vector: tuple[NDArray[np.int32], NDArray[np.float32]], ids: Sequence[int] | NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the sum of a model's vector of a text and the weights of the text's words; terms int32 ascending."""
        terms, weights = vector
        own, more = self.weights(ids)
        both = np.union1d(terms, own).astype(np.int32)
        total = np.zeros(len(both), np.float32)
        total[np.searchsorted(both, terms)] = weights
        total[np.searchsorted(both, own)] += more
        return both, total


def surface_match_ratios(written: NDArray[np.int64], held: NDArray[np.int64]) -> NDArray[np.float32]:
    """Of the documents whose vectors hold a term, the share that are written with it; float32[vocabulary], in (0, 1].

    Args:
        written: int64[vocabulary], documents whose text has the term; held: those whose vector has it.
    """
    shares = (written + 0.5 * _PRIOR) / (held + _PRIOR)
    return np.minimum(shares, 1.0).astype(np.float32)
