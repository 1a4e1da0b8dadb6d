"""What the texts of a training pool say of latents: how rare each is, how many a usual text has, and its words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lexhound.encoders.latent.autoencoder import Autoencoder, LatentActivations
from lexhound.encoders.latent.token_latents import summed_latents
from lexhound.encoders.runtime.int16.kernels import available
from lexhound.encoders.sparse.pruning import prune
from lexhound.encoders.text.subwords import Subwords

from .token_states import TokenStates

_PART = 64  # texts at a time
_WORDS = 3  # of a latent
_CONTINUED = "##"


@dataclass(frozen=True, slots=True)
class LatentDescription:
    """An autoencoder and what a pool says of its latents.

    Attributes:
        autoencoder: with the latents' idf.
        length: Σ f of a text's latents, on average (`lexhound.encoders.latent.token_latents`).
        words: the tokens that excite each latent most, those first that do it most; fewer or none where it is rare.
            What counts is a token's whole excitement by the square root of how often it occurs, or stop words were the
            words of every latent.
    """

    autoencoder: Autoencoder
    length: float
    words: list[list[str]]


def described(autoencoder: Autoencoder, states: TokenStates, subwords: Subwords, most: int) -> LatentDescription:
    """Return what some texts say of an autoencoder's latents.

    Args:
        states: of documents; most: how many latents a document keeps.
    """
    latents = LatentActivations(autoencoder, integers=available())
    frequencies, sums = np.zeros(autoencoder.latents, np.int64), 0.0
    words = csr_array((autoencoder.latents, subwords.size))
    edges = np.cumsum([0, *states.lengths])
    for first in range(0, len(states.lengths), _PART):
        lengths = states.lengths[first : first + _PART]
        part = slice(int(edges[first]), int(edges[first + len(lengths)]))
        rows = states.states[part].astype(np.float32)
        for ids, f in summed_latents(latents, rows, lengths.tolist(), autoencoder.k):
            kept, weights = prune(ids, f, most, 0.0)
            frequencies[kept] += 1
            sums += float(weights.sum(dtype=np.float64))
        found = latents.largest_of(rows, autoencoder.k)
        tokens = states.tokens[part][found.rows]
        words = words + csr_array((found.values.astype(np.float64), (found.columns, tokens)), shape=words.shape)
    count = len(states.lengths)
    idf = -np.log((frequencies + 0.5) / (count + 1))
    return LatentDescription(
        replace(autoencoder, idf=idf.astype(np.float32)),
        sums / max(1, count),
        _heaviest(words, states.tokens, subwords),
    )


def _heaviest(words: csr_array, tokens: NDArray[np.int32], subwords: Subwords) -> list[list[str]]:
    """Return each row's tokens of the largest values by the square root of their number, as they are read."""
    listed, times = [], np.sqrt(np.bincount(tokens, minlength=words.shape[1]))
    for start, stop in pairwise(words.indptr.tolist()):
        own = words.indices[start:stop]
        order = np.lexsort((own, -words.data[start:stop] / times[own]))
        texts = [subwords.text(int(token)).removeprefix(_CONTINUED) for token in own[order]]
        listed.append(list(dict.fromkeys(texts))[:_WORDS])
    return listed
