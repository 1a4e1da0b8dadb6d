"""Products of 16-bit integers with exact 32-bit sums, and what stands between them in a transformer, for arrays.

A row of states is scaled to a Euclidean norm of at most 32,700 and one of weights to 65,000, and rounded: by Cauchy and
Schwarz no sum leaves 32 bits, and rounding costs less than TF32's does. Sums of integers are exact, and everything else
treats a row, or a text, on its own, in one order: so results are the same to the bit whatever is computed beside them,
by any number of threads, on every processor that has one of the paths (`lexhound.encoders.runtime.int16.paths`).

Every function takes C-contiguous arrays and writes into arrays that the caller owns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ctypes import c_float, c_int32, c_int64
from functools import cache
from threading import Lock
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .machine_code import Kernels
from .paths import Path, chosen
from .tiles import COLUMNS

_compiling = Lock()
_loaded: dict[Path, Kernels] = {}

Floats: TypeAlias = NDArray[np.float32]
Shorts: TypeAlias = NDArray[np.int16]
Wholes: TypeAlias = NDArray[np.int64]
Packed: TypeAlias = tuple[Shorts, Floats, Floats]
"""A linear layer: int16[panels, width / 2, COLUMNS, 2], scales and bias, float32[panels · COLUMNS]."""


def available() -> bool:
    """Return whether this processor runs these kernels, and the environment does not turn them off.

    Raises:
        SettingsError: as of `lexhound.encoders.runtime.int16.paths.chosen`.
    """
    return chosen() is not None


def compile_kernels() -> None:
    """Make the kernels ready: compile them, or load what was compiled before on this machine.

    For `lexhound warm`, and for whoever would rather wait before the first text than at it. Does nothing where there
    are no kernels to run.
    """
    path = chosen()
    if path is not None:
        _of(path)


def _of(path: Path) -> Kernels:
    with _compiling:
        if path not in _loaded:
            _loaded[path] = Kernels(path)
        return _loaded[path]


def _kernel(name: str, kinds: str, result: Any = None) -> Callable[..., Any]:
    """Return the kernel of that name on the path that is chosen when it is called.

    Args:
        kinds: a letter for each argument: a for an array, which is passed by its address, i for int64, s for int32,
            f for float32.
    """
    types = [{"a": c_int64, "i": c_int64, "s": c_int32, "f": c_float}[kind] for kind in kinds]

    @cache
    def on(path: Path) -> Callable[..., Any]:
        return _of(path).function(name, result, *types)

    def call(*arguments: Any) -> Any:
        path = chosen()
        if path is None:
            raise RuntimeError("there are no integer kernels for this processor")
        given = (address(each) if kind == "a" else each for kind, each in zip(kinds, arguments, strict=True))
        return on(path)(*given)

    return call


def address(array: NDArray[Any]) -> int:
    """Return where a C-contiguous array begins."""
    start: int = array.__array_interface__["data"][0]
    return start


_quantised = _kernel("quantised", "aiiaa")
_normalised = _kernel("normalised", "aiiaaf")
_added = _kernel("added", "aaiiaaaia")
_activated = _kernel("activated", "aaiiaaaiaa")
attended = _kernel("attended", "aaiiiiaaa")
"""See `lexhound.encoders.runtime.int16.attention.write_attention`, which says what its arguments are."""
_maxima = _kernel("maxima", "aaiiaaaiaa")
_layers = _kernel("layers", "aiaiaiiiiifaii")
_bounding = _kernel("bounding", "aiiiiiifaaa")
_screened_integers = _kernel("screened_integers", "aiiaisaiiiaaiaaaaai", c_int64)
_screened_floats = _kernel("screened_floats", "aiiaisaiiiaaiaaai", c_int64)


def quantised(values: Floats) -> tuple[Shorts, Floats]:
    """Return int16[rows, width], the width a multiple of LANES, and float32[rows]: values = integers · scales."""
    integers, scales = np.empty(values.shape, dtype=np.int16), np.empty(len(values), dtype=np.float32)
    _quantised(values, *values.shape, integers, scales)
    return integers, scales


def normalised(values: Floats, gain: Floats, shift: Floats, epsilon: float) -> None:
    """Apply layer norm to each of float32[rows, width] in place; the width a multiple of LANES."""
    _normalised(values, *values.shape, gain, shift, epsilon)


def added(rows: Shorts, scales: Floats, columns: Packed, out: Floats) -> None:
    """Add rows · columnsᵀ + bias to float32[n, panels · COLUMNS].

    Args:
        rows, scales: as `quantised` returns them, n a multiple of ROWS; columns: as
            `lexhound.encoders.runtime.int16.packing.packed` makes them.
    """
    _added(rows, scales, len(rows), rows.shape[1] // 2, *columns, len(columns[0]), out)


def activated(rows: Shorts, scales: Floats, columns: Packed) -> Floats:
    """Return GELU(rows · columnsᵀ + bias), float32[n, panels · COLUMNS]; arguments as of `added`."""
    out = np.empty((len(rows), len(columns[1])), dtype=np.float32)
    sums = np.empty((len(rows), COLUMNS), dtype=np.float32)
    _activated(rows, scales, len(rows), rows.shape[1] // 2, *columns, len(columns[0]), out, sums)
    return out


def maxima(rows: Shorts, scales: Floats, columns: Packed, owners: Wholes, largest: Floats) -> None:
    """Raise float32[texts, panels · COLUMNS] to the logits of each text's rows.

    Args:
        rows, scales, columns: as of `added`; owners: int64[n], each row's text.
    """
    _maxima(rows, scales, len(rows), rows.shape[1] // 2, *columns, len(columns[0]), owners, largest)


class Shape(NamedTuple):
    """Panels of a state, of what is between the two feed-forward products, and of an attention head; heads."""

    state: int
    inner: int
    head: int
    heads: int


def layers(
    x: Floats, starts: Wholes, shape: Shape, epsilon: float, weights: Wholes, work: Wholes, room: int, block: int
) -> None:
    """Run post-norm transformer layers over rows in place.

    Args:
        x: float32[rows, width], rows a multiple of ROWS; the texts' rows follow each other, then come rows of none.
        starts: int64[texts + 1], ascending, where each text begins; epsilon: of the layer norms.
        weights: int64[layers, 16], addresses of each layer's arrays; work, room, block: as of `transformer_kernel`.
    """
    _layers(x, len(x), starts, len(starts) - 1, weights, len(weights), *shape, epsilon, work, room, block)


class Bound(NamedTuple):
    """Bounds of logits: rows int16[n, width], n a multiple of ROWS, columns int16[panels, width / 2, COLUMNS, 2], whose
    products are above the threshold, int32, wherever a logit is above 0.
    """

    rows: Shorts
    columns: Shorts
    threshold: int


def screened(
    bound: Bound, factors: Sequence[NDArray[Any]], terms: int, owners: Wholes, largest: Floats, limit: float
) -> int:
    """Raise largest[text, term] to each logit whose bound is above the threshold; return how many these are.

    Args:
        factors: of logits, of a width that is a multiple of LANES. In float32: states[n, width], weights[terms, width],
            bias[terms]. In integers: rows int16[n, width] and their scales, weights int16[terms, width] and their
            scales, bias; then the logits are those of `maxima`, to the bit.
        owners: int64[n], each row's text; rows of no text are copies of another.
        largest: float32[texts, terms or more], written.
        limit: -1 is returned when more than this share of the pairs so far, and of 64 panels, are above the threshold.
    """
    n, width = bound.rows.shape
    masks = np.zeros(2 * (n + 4), dtype=np.uint16)
    given = (
        bound.rows, n, width // 2, bound.columns, len(bound.columns), bound.threshold, masks,
        int(limit * n * COLUMNS), 63, terms, owners, largest, largest.shape[1],
    )  # fmt: skip
    if factors[0].dtype == np.int16:
        return int(_screened_integers(*given, *factors, factors[0].shape[1] // 2))
    return int(_screened_floats(*given, *factors, factors[0].shape[1]))


def bounding(values: Floats, lead: int, cuts: tuple[int, int, int], constant: float) -> Shorts:
    """Return int16[n, lead + 4] of float32[n, full]: the leading ones, a constant, and the norms of three blocks.

    Args:
        lead: four less than a multiple of LANES; cuts: where the blocks begin, the first at `lead`.
    """
    out = np.empty((len(values), lead + 4), dtype=np.int16)
    place, scale = np.empty(lead + 4, dtype=np.float32), np.empty(1, dtype=np.float32)
    _bounding(values, *values.shape, lead + 4, *cuts, constant, place, out, scale)
    return out
