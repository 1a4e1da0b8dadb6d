"""BERT and its kin run with 16-bit integer products: token ids in, last hidden states out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.runtime.batching import token_chunks
from lexhound.encoders.runtime.bert.config import BertConfig
from lexhound.encoders.runtime.bert.weights import BertWeights, LayerWeights

from .kernels import available, layers, normalised
from .packing import filled, in_turn, packed
from .tiles import COLUMNS

_CHUNK = (
    240  # tokens that one thread takes through all layers: enough to use each weight often, few enough for its cache
)


@dataclass(frozen=True, slots=True)
class Layers:
    """The weights of all layers, each array stacked over them; `packed` gives the first three of a linear layer."""

    in_weight: NDArray[np.int16]
    in_scales: NDArray[np.float32]
    in_bias: NDArray[np.float32]
    mix_weight: NDArray[np.int16]
    mix_scales: NDArray[np.float32]
    mix_bias: NDArray[np.float32]
    mix_gain: NDArray[np.float32]
    mix_shift: NDArray[np.float32]
    up_weight: NDArray[np.int16]
    up_scales: NDArray[np.float32]
    up_bias: NDArray[np.float32]
    down_weight: NDArray[np.int16]
    down_scales: NDArray[np.float32]
    down_bias: NDArray[np.float32]
    down_gain: NDArray[np.float32]
    down_shift: NDArray[np.float32]


class IntegerBackbone:
    """A transformer's layers in integers. Safe to call from several threads.

    Attributes:
        width: of a state.
    """

    def __init__(self, weights: BertWeights) -> None:
        self.width = weights.config.width
        self._config = weights.config
        self._words = weights.words
        self._positions = weights.positions
        self._norm = weights.norm
        self._layers = _stacked(weights)
        self._epsilon = np.float32(weights.config.epsilon)

    def states(self, rows: Sequence[Sequence[int]], threads: int = 1) -> NDArray[np.float32]:
        """Return float32[tokens, width], the last hidden states of the rows' tokens, one row after the other."""
        lengths = [len(row) for row in rows]
        ends = np.cumsum([0, *lengths])
        out = np.empty((int(ends[-1]), self.width), dtype=np.float32)
        chunks = token_chunks(lengths, _CHUNK)

        def run(chunk: range) -> None:
            out[ends[chunk.start] : ends[chunk.stop]] = self._chunk([rows[number] for number in chunk])

        for _ in in_turn(run, chunks, threads):
            pass
        return out

    def _chunk(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        starts = np.cumsum([0, *(len(row) for row in rows)])
        tokens = int(starts[-1])
        x = np.zeros((filled(tokens), self.width), dtype=np.float32)
        for row, start in zip(rows, starts, strict=False):
            x[start : start + len(row)] = self._words[row] + self._positions[self._config.position_ids(row)]
        normalised(x, *self._norm, self._epsilon)
        layers(x, starts, self._config.heads, self._epsilon, self._layers)
        return x[:tokens]


def runs_in_integers(config: BertConfig) -> bool:
    """Return whether the kernels run a transformer of this form on this processor.

    They take the exact GELU, and widths (of a state, of a head, of the feed-forward layers) that fill their tiles.
    """
    widths = (config.width, config.width // config.heads, config.inner)
    exact = config.activation in ("gelu", "gelu_python")
    return available() and exact and config.width % config.heads == 0 and not any(width % COLUMNS for width in widths)


def _stacked(weights: BertWeights) -> tuple[NDArray[Any], ...]:
    """Return the arrays of `Layers` in order."""
    arrays: list[list[NDArray[Any]]] = [[] for _ in Layers.__dataclass_fields__]
    for layer in weights.layers:
        for stack, array in zip(arrays, _packed_layer(layer, weights.config), strict=True):
            stack.append(array)
    return tuple(np.stack(stack) for stack in arrays)


def _packed_layer(layer: LayerWeights, config: BertConfig) -> tuple[NDArray[Any], ...]:
    asking = (layer.query, layer.key, layer.value)
    weight = np.concatenate([each.weight for each in asking])
    bias = np.concatenate([each.bias for each in asking])
    root = np.sqrt(np.float32(config.width // config.heads))
    weight[: config.width] /= root  # the attention's scale, which the kernel leaves to the queries
    bias[: config.width] /= root
    return (
        *packed(weight, bias), *packed(*layer.mix), *layer.mix_norm,
        *packed(*layer.up), *packed(*layer.down), *layer.down_norm,
    )  # fmt: skip
