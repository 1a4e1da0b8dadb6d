"""The BM25 boost of a text's exact terms beside a model's weights, and the surface-match ratios of terms.

A maximum over positions knows neither how often a word occurs nor how long the text is. BM25 knows both. A boost adds
BM25's term-frequency part (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009, section 3.4) to the
weight of each term t that text d contains:

    w_t(d) = model_t(d) + weight · tf (k1 + 1) / (tf + k1 (1 - b + b · |d| / length))

tf and |d| count the tokens that the encoder reads. `length` is a constant of the encoder, not of a collection, so that
a document's vector depends on nothing but its text.

Expansion also hides how rare words are: many documents whose vectors hold "cells" do not contain it. The surface-match
ratio of term t is the share of the documents whose vectors hold t that contain t, counted over the texts that the
encoder was trained on. Document frequency × ratio estimates how many documents contain t, and idf is computed from that
(`lexhound.encoders.sparse.live_idf`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.errors import SettingsError

_PRIOR = 5  # documents of evidence beside those that hold a term; half of them contain it


@dataclass(frozen=True, slots=True)
class ExactTermBoost:
    """The weight that BM25's term-frequency part adds to the weights of a text's exact terms.

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
        """Return a text's distinct tokens, int32 ascending, and their boosts, float32.

        Args:
            ids: the text's tokens, special ones left out.
        """
        terms, counts = np.unique(np.asarray(ids, np.int32), return_counts=True)
        pivot = self.k1 * (1 - self.b + self.b * len(ids) / self.length)
        return terms, (self.weight * (self.k1 + 1) * counts / (counts + pivot)).astype(np.float32)

    def added(
        self, vector: tuple[NDArray[np.int32], NDArray[np.float32]], ids: Sequence[int] | NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return a model's vector of a text with the boosts of its exact terms added; terms int32 ascending."""
        terms, weights = vector
        exact, boosts = self.weights(ids)
        both = np.union1d(terms, exact).astype(np.int32)
        total = np.zeros(len(both), np.float32)
        total[np.searchsorted(both, terms)] = weights
        total[np.searchsorted(both, exact)] += boosts
        return both, total


def surface_match_ratios(containing: NDArray[np.int64], holding: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return each term's surface-match ratio, float32[vocabulary], in (0, 1].

    Args:
        containing: int64[vocabulary], documents whose text contains the term; holding: those whose vector holds it.
    """
    ratios = (containing + 0.5 * _PRIOR) / (holding + _PRIOR)
    return np.minimum(ratios, 1.0).astype(np.float32)
