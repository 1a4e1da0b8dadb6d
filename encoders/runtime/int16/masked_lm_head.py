"""A masked-language-model head in integers: the transform before its decoder, and the decoder's largest logits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.runtime.bert.float32 import Function
from lexhound.encoders.runtime.bert.weights import HeadWeights

from .head import MaximumHead
from .kernels import activated, normalised, quantised
from .packing import filled, in_turn, packed

_CHUNK = 240  # rows that one thread takes at a time


class IntegerHead:
    """The twin of `lexhound.encoders.runtime.bert.float32.Float32Head`. Safe to call from several threads."""

    def __init__(self, weights: HeadWeights, epsilon: float) -> None:
        self._dense = packed(*weights.dense)
        self._gain, self._shift = map(np.ascontiguousarray, weights.norm)
        self._epsilon = float(epsilon)
        self._decoder = MaximumHead(*weights.decoder, whole=True)

    def transform(self, states: NDArray[np.float32], lengths: Sequence[int], threads: int = 1) -> NDArray[np.float32]:
        """Return what the decoder takes, float32[tokens, width]; in integers, whatever the texts' lengths are."""
        out = np.empty_like(states)

        def run(start: int) -> None:
            rows = states[start : start + _CHUNK]
            padded = np.zeros((filled(len(rows)), states.shape[1]), dtype=np.float32)
            padded[: len(rows)] = rows
            result = activated(*quantised(padded), self._dense)
            normalised(result, self._gain, self._shift, self._epsilon)
            out[start : start + len(rows)] = result[: len(rows)]

        for _ in in_turn(run, range(0, len(states), _CHUNK), threads):
            pass
        return out

    def largest(
        self, transformed_states: NDArray[np.float32], lengths: Sequence[int], threads: int = 1
    ) -> list[tuple[NDArray[np.int32], NDArray[np.float32]]]:
        """Return each text's terms with a logit above 0, ascending, and the largest one of each, float32.

        Args:
            transformed_states: of `transform`, the texts' tokens one after the other; lengths: of the texts, none of 0.
        """
        vectors = self._decoder.largest(transformed_states, lengths, threads)
        return [] if vectors is None else vectors

    def sums(
        self, transformed: NDArray[np.float32], lengths: Sequence[int], function: Function, threads: int = 1
    ) -> NDArray[np.float32]:
        """Return float32[texts, terms]: each text's sum over its tokens of function(logits)."""
        return self._decoder.sums(transformed, lengths, function, threads)
