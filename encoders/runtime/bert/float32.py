"""A BERT-type transformer in float32 on NumPy: for any processor, and the plain twin of the integer kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.runtime.batching import token_chunks

from .activations import ACTIVATIONS
from .weights import BertWeights, HeadWeights, LayerWeights, Linear, Norm

Floats = NDArray[np.float32]

_TOKENS = 2048  # that go through a layer together: large products, and little memory beside them
_COLUMNS = 4096  # of the decoder that are multiplied at a time


class Float32Backbone:
    """A transformer's layers. Safe to call from several threads.

    Attributes:
        width: of a state.
    """

    def __init__(self, weights: BertWeights) -> None:
        self.width = weights.config.width
        self._weights = weights

    def states(self, rows: Sequence[Sequence[int]], threads: int = 1) -> Floats:
        """Return float32[tokens, width], the last hidden states of the rows' tokens, one row after the other.

        `threads` is for the integer twin: NumPy's products choose their own.
        """
        chunks = token_chunks([len(row) for row in rows], _TOKENS)
        parts = [self._chunk(rows[chunk.start : chunk.stop]) for chunk in chunks]
        return np.concatenate(parts) if parts else np.empty((0, self.width), dtype=np.float32)

    def _chunk(self, rows: Sequence[Sequence[int]]) -> Floats:
        weights, config = self._weights, self._weights.config
        epsilon, activation = np.float32(config.epsilon), ACTIVATIONS[config.activation]
        positions = np.concatenate([config.position_ids(row) for row in rows])
        x = layer_norm(weights.words[np.concatenate(rows)] + weights.positions[positions], weights.norm, epsilon)
        ends = np.cumsum([len(row) for row in rows])[:-1]
        for layer in weights.layers:
            x = layer_norm(x + linear(self._attended(x, ends, layer), layer.mix), layer.mix_norm, epsilon)
            x = layer_norm(x + linear(activation(linear(x, layer.up)), layer.down), layer.down_norm, epsilon)
        return x

    def _attended(self, x: Floats, ends: NDArray[np.int64], layer: LayerWeights) -> Floats:
        """Return softmax(Q Kᵀ / √size) V of each text and head (Vaswani et al., 2017, section 3.2)."""
        size = self.width // self._weights.config.heads
        query, key, value = (linear(x, each) for each in (layer.query, layer.key, layer.value))
        query /= np.sqrt(np.float32(size))
        mixed = np.empty_like(x)
        for text in np.split(np.arange(len(x)), ends):
            rows = slice(text[0], text[-1] + 1)
            for start in range(0, self.width, size):
                head = slice(start, start + size)
                shares = query[rows, head] @ key[rows, head].T
                shares -= shares.max(axis=1, keepdims=True)
                np.exp(shares, out=shares)
                shares /= shares.sum(axis=1, keepdims=True)
                mixed[rows, head] = shares @ value[rows, head]
        return mixed


class Float32Head:
    """A masked-language-model head. Safe to call from several threads."""

    def __init__(self, weights: HeadWeights, activation: str, epsilon: float) -> None:
        self._weights = weights
        self._activation = ACTIVATIONS[activation]
        self._epsilon = np.float32(epsilon)

    def transform(self, states: Floats, threads: int = 1) -> Floats:
        """Return what the decoder takes, float32[tokens, width]."""
        dense = self._activation(linear(states, self._weights.dense))
        return layer_norm(dense, self._weights.norm, self._epsilon)

    def largest(
        self, transformed: Floats, lengths: Sequence[int], threads: int = 1
    ) -> list[tuple[NDArray[np.int32], Floats]]:
        """Return each text's terms with a logit above 0, ascending, and the largest one of each, float32.

        Args:
            transformed: of `transform`, the texts' tokens one after the other; lengths: of the texts, none of 0.
        """
        weight, bias = self._weights.decoder
        largest = np.empty((len(lengths), len(weight)), dtype=np.float32)
        starts = np.cumsum([0, *lengths[:-1]])
        for column in range(0, len(weight), _COLUMNS):
            columns = slice(column, column + _COLUMNS)
            logits = linear(transformed, Linear(weight[columns], bias[columns]))
            largest[:, columns] = np.maximum.reduceat(logits, starts, axis=0)
        return [(terms.astype(np.int32), row[terms]) for row in largest for terms in [np.flatnonzero(row > 0)]]


def linear(x: Floats, layer: Linear) -> Floats:
    """Return float32[rows, out] of float32[rows, in]."""
    out: Floats = x @ layer.weight.T
    out += layer.bias
    return out


def layer_norm(x: Floats, norm: Norm, epsilon: np.float32) -> Floats:
    """Return each row of mean 0 and variance 1, times gain, plus shift (Ba, Kiros & Hinton, 2016, section 3)."""
    x = x - x.mean(axis=-1, keepdims=True)
    x /= np.sqrt((x * x).mean(axis=-1, keepdims=True) + epsilon)
    x *= norm.gain
    x += norm.shift
    return x
