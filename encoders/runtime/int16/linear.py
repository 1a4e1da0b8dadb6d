"""Products with a layer's weights in integers, for what stands outside of the transformer's own kernels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.runtime.bert.weights import Linear

from .kernels import Packed, added, quantised
from .packing import BAND, filled, packed
from .tiles import COLUMNS

Floats = NDArray[np.float32]


def products(states: Floats, columns: Packed, outputs: int) -> Iterator[Floats]:
    """Yield float32[rows, some outputs], all outputs in turn: states · columnsᵀ + bias, the same to the bit for a row
    whatever is computed beside it.

    Args:
        states: float32[rows, width], filled up with zeros to the width of the packed columns; outputs: how many of the
            columns there are.
    """
    panels, scales, bias = columns
    rows = np.zeros((filled(len(states)), 2 * panels.shape[1]), dtype=np.float32)
    rows[: len(states), : states.shape[1]] = states
    quantities = quantised(rows)
    for start in range(0, outputs, BAND):
        stop = min(start + BAND, outputs)
        band, end = slice(start // COLUMNS, -(-stop // COLUMNS)), start + filled_columns(stop - start)
        out = np.zeros((len(rows), end - start), dtype=np.float32)
        added(*quantities, (panels[band], scales[start:end], bias[start:end]), out)
        yield out[: len(states), : stop - start]


def filled_columns(columns: int) -> int:
    """Return `columns`, up to a whole number of panels."""
    return -(-columns // COLUMNS) * COLUMNS


class IntegerLinear:
    """A linear layer in integers; the twin of `lexhound.encoders.runtime.bert.float32.linear`."""

    def __init__(self, layer: Linear) -> None:
        more = -layer.weight.shape[1] % COLUMNS
        self._packed = packed(np.pad(layer.weight, ((0, 0), (0, more))), layer.bias)
        self._outputs = len(layer.weight)

    def __call__(self, states: Floats) -> Floats:
        """Return float32[rows, out] of float32[rows, in]."""
        return np.concatenate(list(products(states, self._packed, self._outputs)), axis=1)
