"""The largest logit of each term, for heads of which few terms are active: bounded first, computed where it may count.

Only what is above 0 counts under every activation, and in a trained model that is one logit in some thousands. So a
bound of each logit is multiplied first (`lexhound.encoders.runtime.int16.screen`), and logits only where that is above
0. In integers these are the logits that come of multiplying everything, to the bit: a text's vector does not depend on
whether there was a bound, nor on the texts that chose it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.runtime.batching import token_chunks

from .kernels import Bound, Packed, maxima, quantised, screened
from .linear import products
from .packing import BAND, filled, in_turn, paired, rounded_rows
from .rows import COLUMN_NORM
from .screen_choice import ScreenChoice
from .tiles import COLUMNS

_CHUNK = 240  # tokens at a time and thread
_LIMIT = 0.1  # more logits than this share are computed faster all together

Vectors = list[tuple[NDArray[np.int32], NDArray[np.float32]]]


class MaximumHead:
    """max over a text's tokens of h · E_j + b_j, where it is above 0. Safe to call from several threads.

    The bound is one that was kept on disk, or is fitted to the first states that are many enough; until then, and where
    it does not help, all terms are multiplied (`screen_choice`).

    Args:
        weight: float32[terms, width], bias: float32[terms]: the decoder.
        whole: multiply in integers, all terms where need be; else logits are float32's, and `largest` returns None
            where all terms would have to be multiplied.
    """

    def __init__(self, weight: NDArray[np.float32], bias: NDArray[np.float32] | None, *, whole: bool) -> None:
        more = -weight.shape[1] % COLUMNS
        self._weight = np.ascontiguousarray(np.pad(weight, ((0, 0), (0, more))) if more else weight)
        self._more = more
        self._bias = np.zeros(len(weight), dtype=np.float32) if bias is None else np.ascontiguousarray(bias)
        self._in_integers = whole
        self.choice = ScreenChoice(self._weight, self._bias, self._terms, self._whole)

    @cached_property
    def _integers(self) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
        """Terms as int16[terms, width], and their scales."""
        integers = np.empty(self._weight.shape, dtype=np.int16)
        scales = np.empty(len(integers), dtype=np.float32)
        for start in range(0, len(integers), BAND):
            band = slice(start, start + BAND)
            integers[band], scales[band] = rounded_rows(self._weight[band], COLUMN_NORM)
        return integers, scales

    @cached_property
    def _packed(self) -> Packed:
        integers, scales = self._integers
        room = (0, -len(integers) % COLUMNS)
        return paired(integers), np.pad(scales, room), np.pad(self._bias, room)

    def _whole(self) -> Sequence[NDArray[Any]]:
        """Return the arrays that logits are computed of."""
        return (*self._integers, self._bias) if self._in_integers else (self._weight, self._bias)

    def _terms(self, band: slice) -> NDArray[np.float32]:
        """Return the weights that logits are computed of."""
        if not self._in_integers:
            return self._weight[band]
        integers, scales = self._integers
        return integers[band] * scales[band, None]

    def largest(self, states: NDArray[np.float32], lengths: Sequence[int], threads: int = 1) -> Vectors | None:
        """Return each text's terms, ascending, with a logit above 0, and the largest one of each, float32.

        Args:
            states: float32[tokens, width], the texts' tokens one after the other; lengths: of the texts, none of 0.

        Returns:
            None where too many logits may be above 0 for the bound to help, and `whole` is off.
        """
        if self._more:
            states = np.pad(states, ((0, 0), (0, self._more)))
        self.choice.see(states)
        if self.choice.screen is None and not self._in_integers:
            return None
        ends = np.cumsum([0, *lengths])

        def run(chunk: range) -> Vectors | None:
            return self._chunk(states[ends[chunk.start] : ends[chunk.stop]], [lengths[each] for each in chunk])

        vectors = []
        for part in in_turn(run, token_chunks(lengths, _CHUNK), threads):
            if part is None:
                return None
            vectors += part
        return vectors

    def sums(
        self,
        states: NDArray[np.float32],
        lengths: Sequence[int],
        function: Callable[[NDArray[np.float32]], NDArray[np.float32]],
        threads: int = 1,
    ) -> NDArray[np.float32]:
        """Return float32[texts, terms]: each text's sum over its tokens, in their order, of function(logits)."""
        ends = np.cumsum([0, *lengths])
        terms = len(self._weight)

        def run(chunk: range) -> NDArray[np.float32]:
            first = ends[chunk.start]
            edges = (ends[chunk.start + 1 : chunk.stop] - first).tolist()
            bands = products(states[first : ends[chunk.stop]], self._packed, terms)
            texts = ([part.sum(axis=0) for part in np.split(function(logits), edges)] for logits in bands)
            return np.concatenate([np.stack(each) for each in texts], axis=1)

        parts = list(in_turn(run, token_chunks(lengths, _CHUNK), threads))
        return np.concatenate(parts) if parts else np.empty((0, terms), dtype=np.float32)

    def _chunk(self, states: NDArray[np.float32], lengths: list[int]) -> Vectors | None:
        positions = np.minimum(np.arange(filled(len(states))), len(states) - 1)  # what fills the last tile is a copy
        owners = np.repeat(np.arange(len(lengths)), lengths)[positions]
        states = np.ascontiguousarray(states[positions], dtype=np.float32)
        terms = len(self._weight)
        largest = np.zeros((len(lengths), terms + -terms % COLUMNS), dtype=np.float32)
        screen, limits = self.choice.screen, (terms, owners, largest, _LIMIT)
        if self._in_integers:
            rows, scales = quantised(states)
            factors = (rows, scales, *self._integers, self._bias)
            if screen is None or self._screened(screen.of_integers(rows, scales), factors, *limits) < 0:
                largest[:] = 0
                maxima(rows, scales, self._packed, owners, largest)
        else:
            floats = (states, self._weight, self._bias)
            if screen is None or self._screened(screen.of_floats(states), floats, *limits) < 0:
                return None
        found = ((row, np.flatnonzero(row[:terms])) for row in largest)
        return [(active.astype(np.int32), row[active]) for row, active in found]

    def _screened(self, bound: Bound, factors: Sequence[NDArray[Any]], terms: int, *limits: Any) -> int:
        above, rows = screened(bound, factors, terms, *limits), len(bound.rows)
        filling = rows * (-terms % COLUMNS)  # bounds of no term, which are 0 and so never below
        self.choice.count(rows * terms, above if above < 0 else above - filling)
        return above
