"""BERT and its kin run with 16-bit integer products: token ids in, last hidden states out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.runtime.batching import token_chunks
from lexhound.encoders.runtime.bert.config import BertConfig
from lexhound.encoders.runtime.bert.weights import BertWeights, LayerWeights

from .kernels import Shape, address, available, layers, normalised
from .packing import filled, in_turn, packed
from .tiles import COLUMNS
from .work_places import WorkPlaces

_CHUNK = 160  # tokens a thread takes through all layers: weights are used often, and threads end together
_LINE = 64  # bytes of a line of the cache


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
        layers_of = [_packed_layer(layer, weights.config) for layer in weights.layers]
        self._memory, self._layers = _together(layers_of)
        heads, panels = weights.config.heads, self.width // COLUMNS
        self._shape = Shape(panels, weights.config.inner // COLUMNS, panels // heads, heads)
        self._epsilon = float(weights.config.epsilon)
        self._work = WorkPlaces()

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
        with self._work.borrowed(len(x), max(map(len, rows)), self._shape) as work:
            layers(x, starts, self._shape, self._epsilon, self._layers, work.table, work.room, work.block)
        return x[:tokens]


def runs_in_integers(config: BertConfig) -> bool:
    """Return whether the kernels run a transformer of this form on this processor.

    They take the exact GELU, and widths (of a state, of a head, of the feed-forward layers) that fill their tiles.
    """
    widths = (config.width, config.width // config.heads, config.inner)
    exact = config.activation in ("gelu", "gelu_python")
    return available() and exact and config.width % config.heads == 0 and not any(width % COLUMNS for width in widths)


def _packed_layer(layer: LayerWeights, config: BertConfig) -> list[NDArray[Any]]:
    """Return a layer's arrays in the order in which the kernel takes their addresses."""
    asking = (layer.query, layer.key, layer.value)
    weight = np.concatenate([each.weight for each in asking])
    bias = np.concatenate([each.bias for each in asking])
    root = np.sqrt(np.float32(config.width // config.heads))
    weight[: config.width] /= root  # the attention's scale, which the kernel leaves to the queries
    bias[: config.width] /= root
    arrays = (
        *packed(weight, bias), *packed(*layer.mix), *layer.mix_norm,
        *packed(*layer.up), *packed(*layer.down), *layer.down_norm,
    )  # fmt: skip
    return [np.ascontiguousarray(array) for array in arrays]


def _together(layers_of: list[list[NDArray[Any]]]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return one array that holds all others, and int64[layers, arrays], where each begins.

    NumPy asks for large pages for one large array, not for many: a query of few tokens reads all weights from memory.
    """
    sizes = [-(-array.nbytes // _LINE) * _LINE for layer in layers_of for array in layer]
    starts = np.cumsum([0, *sizes])
    memory = np.empty(starts[-1] + _LINE, dtype=np.uint8)
    starts += -address(memory) % _LINE
    for start, array in zip(starts, (array for layer in layers_of for array in layer), strict=False):
        memory[start : start + array.nbytes] = array.reshape(-1).view(np.uint8)
    return memory, (starts[:-1] + address(memory)).reshape(len(layers_of), -1)
