"""Latents of a text's tokens: what each token's state is best rebuilt from, summed over the text.

    f_j(d) = sqrt( Σ_t  z_j(x_t) )        z(x) = the k largest latents of a token's state x

and BM25 ranks by them as it ranks by words ("Latent Terms", arXiv 2605.29384, 2026). A document's weights are BM25's
term-frequency part (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009, section 3.4) of f in place
of a count,

    w_j(d) = f_j (k1 + 1) / (f_j + k1 (1 - b + b · Σ_j f_j / length))

with a constant `length`, so that a vector depends on nothing but its text; a query's are f times idf.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.base import QueryVector
from lexhound.encoders.errors import SettingsError
from lexhound.encoders.runtime.device import threads

from .autoencoder import LatentActivations


@dataclass(frozen=True, slots=True)
class LatentSaturation:
    """BM25's term-frequency part over latents.

    Attributes:
        length: Σ f of a usual text, above 0.
        k1: how soon more of a latent stops counting, at least 0.
        b: how much longer texts weigh less, 0 to 1.

    Raises:
        SettingsError: a value is out of its range.
    """

    length: float
    k1: float = 1.5
    b: float = 0.75

    def __post_init__(self) -> None:
        if not (self.length > 0 and self.k1 >= 0 and 0 <= self.b <= 1):
            raise SettingsError(
                f"saturation is length {self.length}, k1 {self.k1}, b {self.b}", "length > 0, k1 >= 0, b from 0 to 1"
            )

    def weights(self, frequencies: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a document's weights, float32[latents], of its f, float32[latents]."""
        f = frequencies.astype(np.float64)
        pivot = self.k1 * (1 - self.b + self.b * f.sum() / self.length)
        weights: NDArray[np.float32] = (f * (self.k1 + 1) / (f + pivot)).astype(np.float32)
        return weights


def summed_latents(
    latents: LatentActivations, states: NDArray[np.floating[Any]], lengths: Sequence[int], k: int
) -> list[QueryVector]:
    """Return f of each text: ids int32 ascending, and float32 above 0.

    Args:
        states: float32 or float16[tokens, width], the texts' tokens one after the other, without special ones;
            lengths: of the texts, which may be 0.
        k: how many latents a token keeps.
    """
    owners = np.repeat(np.arange(len(lengths)), lengths)
    count = latents.autoencoder.latents
    rows, columns, values = latents.largest_of(states, k, threads())
    key = owners[rows] * count + columns
    order = np.argsort(key, kind="stable")  # a latent's tokens in their order: the same sum in any batch
    key, values = key[order], values[order].astype(np.float64)
    first = np.flatnonzero(np.diff(key, prepend=-1))
    sums = np.sqrt(np.add.reduceat(values, first)) if len(first) else np.empty(0)
    text, ids = np.divmod(key[first], count)
    edges = np.searchsorted(text, np.arange(len(lengths) + 1))
    return [
        (ids[start:stop].astype(np.int32), sums[start:stop].astype(np.float32))
        for start, stop in pairwise(edges.tolist())
    ]
