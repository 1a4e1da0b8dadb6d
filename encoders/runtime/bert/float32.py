"""A BERT-type transformer in float32 on NumPy: for any processor, and the plain twin of the integer kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .activations import ACTIVATIONS
from .weights import BertWeights, HeadWeights, LayerWeights, Linear, Norm

Floats = NDArray[np.float32]
Function = Callable[[Floats], Floats]
"""Of logits, each on its own."""

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

        Every row goes through alone, so that no sum depends on its neighbours. `threads` is for the integer twin:
        NumPy's products choose their own.
        """
        parts = [self._states(row) for row in rows]
        return np.concatenate(parts) if parts else np.empty((0, self.width), dtype=np.float32)

    def _states(self, row: Sequence[int]) -> Floats:
        weights, config = self._weights, self._weights.config
        epsilon, activation = np.float32(config.epsilon), ACTIVATIONS[config.activation]
        x = layer_norm(weights.words[row] + weights.positions[config.position_ids(row)], weights.norm, epsilon)
        for layer in weights.layers:
            x = layer_norm(x + linear(self._attended(x, layer), layer.mix), layer.mix_norm, epsilon)
            x = layer_norm(x + linear(activation(linear(x, layer.up)), layer.down), layer.down_norm, epsilon)
        return x

    def _attended(self, x: Floats, layer: LayerWeights) -> Floats:
        """Return softmax(Q Kᵀ / √size) V of each head (Vaswani et al., 2017, section 3.2)."""
        size = self.width // self._weights.config.heads
        query, key, value = (linear(x, each) for each in (layer.query, layer.key, layer.value))
        query /= np.sqrt(np.float32(size))
        mixed = np.empty_like(x)
        for start in range(0, self.width, size):
            head = slice(start, start + size)
            shares = query[:, head] @ key[:, head].T
            shares -= shares.max(axis=1, keepdims=True)
            np.exp(shares, out=shares)
            shares /= shares.sum(axis=1, keepdims=True)
            mixed[:, head] = shares @ value[:, head]
        return mixed


class Float32Head:
    """A masked-language-model head. Safe to call from several threads."""

    def __init__(self, weights: HeadWeights, activation: str, epsilon: float) -> None:
        self._weights = weights
        self._activation = ACTIVATIONS[activation]
        self._epsilon = np.float32(epsilon)

    def transform(self, states: Floats, lengths: Sequence[int], threads: int = 1) -> Floats:
        """Return what the decoder takes, float32[tokens, width]; `lengths` of the texts, each of which goes alone."""
        parts = [self._transformed(part) for part in split_texts(states, lengths)]
        return np.concatenate(parts) if parts else states

    def _transformed(self, states: Floats) -> Floats:
        dense = self._activation(linear(states, self._weights.dense))
        return layer_norm(dense, self._weights.norm, self._epsilon)

    def largest(
        self, transformed: Floats, lengths: Sequence[int], threads: int = 1
    ) -> list[tuple[NDArray[np.int32], Floats]]:
        """Return each text's terms with a logit above 0, ascending, and the largest one of each, float32.

        Args:
            transformed: of `transform`, the texts' tokens one after the other; lengths: of the texts, none of 0.
        """
        found = []
        for states in split_texts(transformed, lengths):
            largest = np.concatenate([logits.max(axis=0) for logits in logits_in_bands(states, self._weights.decoder)])
            terms = np.flatnonzero(largest > 0)
            found.append((terms.astype(np.int32), largest[terms]))
        return found

    def sums(self, transformed: Floats, lengths: Sequence[int], function: Function, threads: int = 1) -> Floats:
        """Return float32[texts, terms]: each text's sum over its tokens of function(logits)."""
        decoder = self._weights.decoder
        sums = [
            np.concatenate([function(logits).sum(axis=0) for logits in logits_in_bands(states, decoder)])
            for states in split_texts(transformed, lengths)
        ]
        return np.stack(sums) if sums else np.empty((0, len(decoder.weight)), dtype=np.float32)


def split_texts(states: Floats, lengths: Sequence[int]) -> list[Floats]:
    """Return each text's rows of float32[tokens, width]."""
    return np.split(states, np.cumsum(lengths)[:-1]) if lengths else []


def logits_in_bands(states: Floats, decoder: Linear) -> Iterator[Floats]:
    """Yield float32[rows, some columns], all columns in turn: the logits of a text's rows, which are many."""
    for column in range(0, len(decoder.weight), _COLUMNS):
        columns = slice(column, column + _COLUMNS)
        yield linear(states, Linear(decoder.weight[columns], decoder.bias[columns]))


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
