"""The largest logit of each term, for heads of which few terms are active: bounded first, computed where it may count.

Only what is above 0 counts under every activation, and in a trained model that is one logit in some thousands. Let
h be what the head's decoder takes, with mean m, and E_j a term's weights. In coordinates in which both vary alike
(those of balanced truncation: Moore, "Principal Component Analysis in Linear Systems", 1981),

    h · E_j + b_j  =  (h - m)' · E_j' + (m · E_j + b_j)

and the leading coordinates hold nearly all of it. The rest is at most, by Cauchy and Schwarz, the sum over blocks of
coordinates of the product of both parts' norms, so

    bound = (leading part of h, 1, norms of h's blocks) · (leading part of E_j, m · E_j + b_j, norms of E_j's blocks)

is one short inner product, multiplied in integers, with their rounding added. Where it is at most 0, so is the logit;
where not, the logit is computed, in float32, from h and E_j as they stand. Nothing is missed, whichever coordinates are
taken: they only say how often the bound helps, and so the first texts that come may choose them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from .kernels import COLUMN_NORM, ROW_NORM, Bound, Decoder, maxima, quantised, screened
from .packing import BAND, Packed, filled, in_turn, packed, paired, rounded_rows

_CHUNK = 240  # tokens at a time and thread
_WIDTHS = (64, 96, 112, 128, 144, 160, 192, 256)  # of the leading part and its additions, which are measured
_SAMPLES = 1024, 2048  # the least and the most states that coordinates are chosen by
_PAIR = 6000  # what computing one logit costs, in multiplications of the bound's product
_LIMIT = 0.1  # more logits than this share are computed faster all together
_SLACK = 1e-3  # for the rounding of float32 on the way to the bound, in logits


@dataclass(frozen=True, slots=True)
class _Screen:
    """`apply` brings states to int16 rows; `columns` are the packed terms; `width` counts all coordinates."""

    mean: NDArray[np.float32]
    basis: NDArray[np.float32]
    lead: int
    blocks: tuple[slice, ...]
    constant: np.float32
    columns: NDArray[np.int16]
    longest_column: int

    def rows(self, states: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return float32[rows, lead + 1 + blocks]."""
        moved: NDArray[np.float32] = np.matmul(states - self.mean, self.basis)
        return _extended(moved, self.lead, self.blocks, np.full(len(states), self.constant, dtype=np.float32))


class MaximumHead:
    """max over a text's tokens of h · E_j + b_j, where it is above 0. Safe to call from several threads.

    The bound is fitted to the first states that are many enough; until then, and where it does not help, all terms are
    multiplied.

    Args:
        weight: float32[terms, width], bias: float32[terms]: the decoder.
        whole: multiply all terms in integers; else `largest` returns None where it would have to.
    """

    def __init__(self, weight: NDArray[np.float32], bias: NDArray[np.float32] | None, *, whole: bool) -> None:
        self._weight = weight
        self._bias = np.zeros(len(weight), dtype=np.float32) if bias is None else bias
        self._multiplies_all = whole
        self._screen: _Screen | None = None
        self._fitted = False
        self._lock = Lock()

    @cached_property
    def _packed(self) -> Packed:
        return packed(self._weight, self._bias)

    def _fit(self, states: NDArray[np.float32]) -> None:
        if not self._fitted and len(states) >= _SAMPLES[0]:
            with self._lock:
                if not self._fitted:
                    self._screen = _fitted(states[: _SAMPLES[1]], self._weight, self._bias)
                    self._fitted = True

    def largest(
        self, states: NDArray[np.float32], lengths: Sequence[int], threads: int = 1
    ) -> list[tuple[NDArray[np.int32], NDArray[np.float32]]] | None:
        """Return each text's terms, ascending, with a logit above 0, and the largest one of each, float32.

        Args:
            states: float32[tokens, width], the texts' tokens one after the other; lengths: of the texts, none of 0.

        Returns:
            None where too many logits may be above 0 for the bound to help, and `whole` is off.
        """
        self._fit(states)
        if self._screen is None and not self._multiplies_all:
            return None
        ends = np.cumsum([0, *lengths])
        chunks, start = [], 0
        for position in range(1, len(lengths) + 1):
            if position == len(lengths) or ends[position + 1] - ends[start] > _CHUNK:
                chunks.append(range(start, position))
                start = position

        bounding = None if self._screen is None else self._screen.rows(states)

        def run(chunk: range) -> list[tuple[NDArray[np.int32], NDArray[np.float32]]] | None:
            tokens = slice(ends[chunk.start], ends[chunk.stop])
            part = None if bounding is None else bounding[tokens]
            return self._chunk(states[tokens], part, [lengths[position] for position in chunk])

        vectors = []
        for part in in_turn(run, chunks, threads):
            if part is None:
                return None
            vectors += part
        return vectors

    def _chunk(
        self, states: NDArray[np.float32], bounding: NDArray[np.float32] | None, lengths: list[int]
    ) -> list[tuple[NDArray[np.int32], NDArray[np.float32]]] | None:
        positions = np.minimum(np.arange(filled(len(states))), len(states) - 1)  # what fills the last tile is a copy
        owners = np.repeat(np.arange(len(lengths)), lengths)[positions]
        states = np.ascontiguousarray(states[positions])
        largest = np.zeros((len(lengths), len(self._weight)), dtype=np.float32)
        if bounding is None or not self._screened(bounding[positions], states, owners, largest):
            if not self._multiplies_all:
                return None
            largest[:] = 0
            integers = np.empty(states.shape, dtype=np.int16)
            scales = np.empty(len(states), dtype=np.float32)
            quantised(states, integers, scales)
            maxima(integers, scales, *self._packed, owners, largest)
        return [(terms.astype(np.int32), row[terms]) for row in largest for terms in [np.flatnonzero(row)]]

    def _screened(
        self,
        bounding: NDArray[np.float32],
        states: NDArray[np.float32],
        owners: NDArray[np.int64],
        largest: NDArray[np.float32],
    ) -> bool:
        if self._screen is None:
            return False
        rows, _ = rounded_rows(bounding, ROW_NORM)
        threshold = -_rounding(rows, self._screen.longest_column)
        bound = Bound(rows, self._screen.columns, threshold)
        return screened(bound, Decoder(states, self._weight, self._bias), owners, largest, _LIMIT) >= 0


def _extended(
    moved: NDArray[np.float32], lead: int, blocks: tuple[slice, ...], more: NDArray[np.float32]
) -> NDArray[np.float32]:
    norms = [np.linalg.norm(moved[:, block], axis=1) * np.float32(1.0001) for block in blocks]
    return np.column_stack([moved[:, :lead], more, *norms]).astype(np.float32)


def _rounding(rows: NDArray[np.int16], longest_column: int) -> np.int32:
    """Return how much rounding to integers can take from a product of a row and a column."""
    longest_row = int(np.abs(rows.astype(np.int32)).sum(axis=1).max())
    return np.int32((longest_row + longest_column) // 2 + rows.shape[1] + 1)


def _fitted(samples: NDArray[np.float32], weight: NDArray[np.float32], bias: NDArray[np.float32]) -> _Screen | None:
    """Return the screen of the width that costs least with these samples, None where all logits cost less."""
    if not np.isfinite(samples).all():
        return None
    full = weight.shape[1]
    mean = samples.mean(axis=0)
    centred = (samples - mean).astype(np.float64)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    values = np.maximum(values, max(1e-4 * values.max(), 1e-30))
    spread = (vectors * np.sqrt(values)) @ vectors.T
    narrowed = (vectors / np.sqrt(values)) @ vectors.T
    gram = (weight.T @ weight).astype(np.float64) / len(weight)
    energies, axes = np.linalg.eigh(spread @ gram @ spread)
    axes, energies = axes[:, ::-1], np.maximum(energies[::-1], max(1e-12 * energies.max(), 1e-30))
    basis = (narrowed @ axes * energies**0.25).astype(np.float32)
    back = (spread @ axes * energies**-0.25).astype(np.float32)
    farthest = float(np.linalg.norm(centred, axis=1).max())
    shifted = bias + weight @ mean + np.float32(_SLACK) * (1 + farthest / 20 * np.linalg.norm(weight, axis=1))
    moved = (samples[:: max(1, len(samples) // 512)] - mean) @ basis
    some = slice(None, None, max(1, len(weight) // 2000))
    terms = weight[some] @ back
    best: tuple[float, int, tuple[slice, ...]] | None = None
    for width in _WIDTHS:
        blocks = _blocks(width - 4, full)
        if not blocks:
            break
        lead = width - 1 - len(blocks)
        ones = np.ones(len(moved), dtype=np.float32)
        bounds = _extended(moved, lead, blocks, ones) @ _extended(terms, lead, blocks, shifted[some]).T
        cost = width + _PAIR * float((bounds > 0).mean())
        if cost < (full if best is None else best[0]):
            best = cost, lead, blocks
    if best is None:
        return None
    _, lead, blocks = best
    constant = np.float32(max(1e-3, float(np.sqrt(np.abs(shifted).mean()))))
    integers = np.empty((len(weight), lead + 1 + len(blocks)), dtype=np.int16)
    for start in range(0, len(weight), BAND):
        band = slice(start, start + BAND)
        columns = _extended(weight[band] @ back, lead, blocks, shifted[band] / constant)
        integers[band], _ = rounded_rows(columns, COLUMN_NORM)
    longest = int(np.abs(integers).sum(axis=1, dtype=np.int64).max())
    return _Screen(mean, basis, lead, blocks, constant, paired(integers), longest)


def _blocks(lead: int, full: int) -> tuple[slice, ...]:
    """Return three blocks of the coordinates from `lead` on, the first ones narrower, as coordinates fall in weight."""
    if lead < 1 or full - lead < 8:
        return ()
    rest = full - lead
    cuts = (lead, lead + rest // 8, lead + rest // 3, full)
    return tuple(slice(low, high) for low, high in pairwise(cuts))
