"""Upper bounds of logits by one short inner product, in coordinates that hold nearly all of a logit.

Let h be what the head's decoder takes, with mean m, and E_j a term's weights. In coordinates in which both vary alike
(those of balanced truncation: Moore, "Principal Component Analysis in Linear Systems", 1981),

    h · E_j + b_j  =  (h - m)' · E_j' + (m · E_j + b_j)

and the leading coordinates hold nearly all of it. The rest is at most, by Cauchy and Schwarz, the sum over blocks of
coordinates of the product of both parts' norms, so

    bound = (leading part of h, 1, norms of h's blocks) · (leading part of E_j, m · E_j + b_j, norms of E_j's blocks)

is one short inner product, multiplied in integers, with their rounding added. Where it is at most 0, so is the logit;
where not, the logit is computed, from h and E_j as they stand. Nothing is missed, whichever coordinates are taken: they
only say how often the bound helps, and so the first texts that come may choose them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .kernels import Bound, Packed, added, bounding
from .packing import BAND, packed, paired, rounded_rows, unpacked
from .rows import COLUMN_NORM, ROW_NORM

SAMPLES = 1024, 4096
"""The least and the most states that coordinates are chosen by."""

_ARRAYS = ("integers", "scales", "bias", "columns", "numbers")
_WIDTHS = (48, 64, 80, 96, 112, 128, 144, 160, 192, 256)  # of the leading part and its additions, which are measured
_PAIR = 3500  # what computing one logit costs, in multiplications of the bound's product
_SLACK = 1e-3  # for the rounding of float32 on the way to the bound, in logits


@dataclass(frozen=True, slots=True)
class Screen:
    """The coordinates: their directions, packed, with -m in them as the bias, and as float32[width, width]; the terms.

    `columns` are the terms in coordinates, packed. `share` is how many of the bounds of the samples that it was fitted
    to were above 0, of all of them.
    """

    directions: Packed
    exact: NDArray[np.float32]
    cuts: tuple[int, int, int]
    constant: float
    columns: NDArray[np.int16]
    share: float

    def stored(self) -> bytes:
        """Return all of it as bytes, for `stored_screen`."""
        file = BytesIO()
        numbers = np.array([*self.cuts, self.constant, self.share])
        arrays: dict[str, Any] = dict(zip(_ARRAYS, (*self.directions, self.columns, numbers), strict=True))
        np.savez(file, **arrays)
        return file.getvalue()

    def of_integers(self, rows: NDArray[np.int16], scales: NDArray[np.float32]) -> Bound:
        """Return what bounds the logits of int16[n, width] · scales."""
        moved = np.zeros((len(rows), len(self.directions[1])), dtype=np.float32)
        added(rows, scales, self.directions, moved)
        return self._bound(moved)

    def of_floats(self, states: NDArray[np.float32]) -> Bound:
        """Return what bounds the logits of float32[n, width]."""
        return self._bound(states @ self.exact.T + self.directions[2])

    def _bound(self, moved: NDArray[np.float32]) -> Bound:
        leading = bounding(moved, self.cuts[0], self.cuts, self.constant)
        # The sum of a vector's absolute values is at most the root of its length times its norm.
        rounding = leading.shape[1] ** 0.5 * (ROW_NORM + COLUMN_NORM) / 2 + 2 * leading.shape[1]
        return Bound(leading, self.columns, -int(rounding * 1.001))


def stored_screen(content: bytes | None) -> Screen | None:
    """Return the screen that `Screen.stored` made bytes of, where there are any."""
    if content is None:
        return None
    with np.load(BytesIO(content), allow_pickle=False) as file:
        integers, scales, bias, columns, numbers = (file[name] for name in _ARRAYS)
    *cuts, constant, share = numbers.tolist()
    directions = integers, scales, bias
    return Screen(directions, unpacked(directions), tuple(map(int, cuts)), constant, columns, share)  # type: ignore[arg-type]


def fitted(
    samples: NDArray[np.float32],
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    terms_of: Callable[[slice], NDArray[np.float32]],
) -> Screen | None:
    """Return the screen of the width that costs least with these samples, None where all logits cost less.

    Args:
        samples: float32[n, width], states, the width a multiple of LANES.
        weight: float32[terms, width], bias: float32[terms].
        terms_of: returns the weights that logits are computed of, which may differ from `weight` by rounding.
    """
    if not np.isfinite(samples).all():
        return None
    mean = samples.mean(axis=0)
    centred = (samples - mean).astype(np.float64)
    known = len(centred) * 3 // 4  # the others, which the directions were not fitted to, say what a width costs
    directions = packed(_directions(centred[:known], weight), None)
    exact = unpacked(directions)
    directions[2][:] = -exact.astype(np.float64) @ mean
    back = np.linalg.inv(exact.astype(np.float64)).astype(np.float32)
    farthest = float(np.linalg.norm(centred, axis=1).max())
    slack = np.float32(_SLACK) * (1 + farthest / 20 * np.linalg.norm(weight, axis=1))
    shifted = bias + _products(terms_of, len(weight), mean) + slack
    some = slice(None, None, max(1, len(weight) // 2000))
    fewer = centred[known :: max(1, (len(samples) - known) // 512)].astype(np.float32)
    cheapest = _cheapest(fewer @ exact.T, weight[some] @ back, shifted[some])
    if cheapest is None:
        return None
    cuts, share = cheapest
    constant = max(1e-3, float(np.sqrt(np.abs(shifted).mean())))
    integers = np.empty((len(weight), cuts[0] + 4), dtype=np.int16)
    for start in range(0, len(weight), BAND):
        band = slice(start, start + BAND)
        columns = _extended(terms_of(band) @ back, cuts, shifted[band] / np.float32(constant))
        integers[band], _ = rounded_rows(columns, COLUMN_NORM)
    return Screen(directions, exact, cuts, constant, paired(integers), share)


def _directions(centred: NDArray[np.float64], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return float32[width, width]: directions, the first of which hold most of a product of a state and a term."""
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    values = np.maximum(values, max(1e-4 * values.max(), 1e-30))
    spread = (vectors * np.sqrt(values)) @ vectors.T
    narrowed = (vectors / np.sqrt(values)) @ vectors.T
    some = weight[:: max(1, len(weight) // 8192)]
    gram = (some.T @ some).astype(np.float64) / len(some)
    energies, axes = np.linalg.eigh(spread @ gram @ spread)
    axes, energies = axes[:, ::-1], np.maximum(energies[::-1], max(1e-12 * energies.max(), 1e-30))
    found: NDArray[np.float32] = (narrowed @ axes * energies**0.25).T.astype(np.float32)
    return found


def _cheapest(
    moved: NDArray[np.float32], terms: NDArray[np.float32], shifted: NDArray[np.float32]
) -> tuple[tuple[int, int, int], float] | None:
    """Return where the blocks begin at the width that costs least, and the share of bounds above 0 there; None where
    all logits cost less.
    """
    full = moved.shape[1]
    least = float(full)
    best: tuple[tuple[int, int, int], float] | None = None
    ones = np.ones(len(moved), dtype=np.float32)
    for width in _WIDTHS:
        cuts = _blocks(width - 4, full)
        if cuts is None:
            break
        bounds = _extended(moved, cuts, ones) @ _extended(terms, cuts, shifted).T
        share = float((bounds > 0).mean())
        if width + _PAIR * share < least:
            least, best = width + _PAIR * share, (cuts, share)
    return best


def _extended(
    values: NDArray[np.float32], cuts: tuple[int, int, int], more: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return float32[n, cuts[0] + 4], as the kernel `bounding` makes them of states."""
    edges = pairwise((*cuts, values.shape[1]))
    norms = [np.linalg.norm(values[:, low:high], axis=1) * np.float32(1.0001) for low, high in edges]
    return np.column_stack([values[:, : cuts[0]], more, *norms]).astype(np.float32)


def _products(
    terms_of: Callable[[slice], NDArray[np.float32]], terms: int, state: NDArray[np.float32]
) -> NDArray[np.float32]:
    return np.concatenate([terms_of(slice(start, start + BAND)) @ state for start in range(0, terms, BAND)])


def _blocks(lead: int, full: int) -> tuple[int, int, int] | None:
    """Return where three blocks begin, from `lead` on, the first ones narrower, as coordinates fall in weight."""
    if lead < 1 or full - lead < 8:
        return None
    rest = full - lead
    return lead, lead + rest // 8, lead + rest // 3
