"""Products of 16-bit integers with exact 32-bit sums, and what stands between them in a transformer.

AVX2 multiplies and adds sixteen pairs of 16-bit integers an instruction (`vpmaddwd`), twice as many as of float32. A
row of states is scaled to a Euclidean norm of at most 32,700 and one of weights to 65,000, and rounded: by Cauchy and
Schwarz no sum leaves 32 bits, and rounding costs less than TF32's does. Sums of integers are exact, and everything else
here treats a row, or a text, on its own: so results are the same to the bit whatever is computed beside them, in any
order, by any number of threads.

All kernels stand in this file, because Numba notices a change of the file that holds a kernel only.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

import llvmlite.binding
import numba
import numpy as np

from .tiles import (
    COLUMNS,
    ROWS,
    address,
    float_tile,
    floor,
    integer_tile,
    power_of_two,
    rounded,
    threshold_tile,
)

P = ParamSpec("P")
R = TypeVar("R")

TILES = "c6cd8fd6c30ba648"
"""The start of the SHA-256 of `tiles.py`, from which the kernels here are compiled too."""

ROW_NORM, COLUMN_NORM = 32_700.0, 65_000.0
_BLOCK = 60  # rows that go through the feed-forward layers together: what they make stays in the second-level cache

_FAST = {"reassoc", "contract", "nsz", "nnan", "ninf"}


def available() -> bool:
    """Return whether this processor, and Numba as it is set up here, run these kernels."""
    features = llvmlite.binding.get_host_cpu_features()
    config: Any = numba.config
    compiles_for_host = config.CPU_NAME in (None, "", "host") and not config.CPU_FEATURES
    return (
        platform.machine().lower() in ("x86_64", "amd64")
        and bool(features.get("avx2") and features.get("fma"))
        and compiles_for_host
        and not config.DISABLE_JIT
    )


def _kernel(function: Callable[P, R]) -> Callable[P, R]:
    compiled: Callable[P, R]
    try:
        compiled = numba.njit(nogil=True, error_model="numpy", boundscheck=False, fastmath=_FAST, cache=True)(function)
    except RuntimeError:  # Numba found no place for a cache
        compiled = numba.njit(nogil=True, error_model="numpy", boundscheck=False, fastmath=_FAST, cache=False)(function)
    return compiled


# Rows

_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_LOG2E, _LOWEST, _ROOT_HALF = np.float32(1.4426950408889634), np.float32(-87), np.float32(0.7071067811865476)
# exp(x ln 2) = sum of (ln 2)^n / n! · x^n
_E1, _E2, _E3 = np.float32(0.6931471805599453), np.float32(0.2402265069591007), np.float32(0.05550410866482158)
_E4, _E5, _E6 = np.float32(0.009618129107628477), np.float32(0.0013333558146428443), np.float32(0.0001540353039338161)
# Abramowitz & Stegun, "Handbook of Mathematical Functions", 1964, 7.1.26: erf to 1.5e-7
_P = np.float32(0.3275911)
_A1, _A2, _A3 = np.float32(0.254829592), np.float32(-0.284496736), np.float32(1.421413741)
_A4, _A5 = np.float32(-1.453152027), np.float32(1.061405429)
_ROW_NORM, _TINY = np.float32(ROW_NORM), np.float32(1e-30)


@_kernel
def _exp(x: Any) -> Any:
    """Return exp of a float32 <= 0, to 1e-6 of itself; what is below exp(-87) is that."""
    power = (x if x > _LOWEST else _LOWEST) * _LOG2E
    exponent = floor(power + _HALF)
    rest = power - exponent
    series = _E6
    for factor in (_E5, _E4, _E3, _E2, _E1, _ONE):
        series = series * rest + factor
    return series * power_of_two(exponent)


@_kernel
def _gelu(x: Any) -> Any:
    """Return x · Φ(x) (Hendrycks & Gimpel, "Gaussian Error Linear Units", 2016)."""
    size = abs(x) * _ROOT_HALF
    t = _ONE / (_ONE + _P * size)
    beyond = ((((_A5 * t + _A4) * t + _A3) * t + _A2) * t + _A1) * t * _exp(-size * size)
    erf = _ONE - beyond
    return _HALF * x * (_ONE + (erf if x >= _ZERO else -erf))


@_kernel
def quantised(values: Any, integers: Any, scales: Any) -> None:
    """Round float32[rows, width] to int16[rows, width]; values = integers · scales[row]."""
    for row in range(values.shape[0]):
        squares = _TINY
        for column in range(values.shape[1]):
            squares += values[row, column] * values[row, column]
        scale = _ROW_NORM / np.sqrt(squares)
        scales[row] = _ONE / scale
        for column in range(values.shape[1]):
            integers[row, column] = rounded(values[row, column] * scale)


@_kernel
def _activated(values: Any) -> None:
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            values[row, column] = _gelu(values[row, column])


@_kernel
def normalised(values: Any, gain: Any, shift: Any, epsilon: Any) -> None:
    """Apply layer norm to each of float32[rows, width] in place (Ba, Kiros & Hinton, "Layer Normalization", 2016)."""
    width = values.shape[1]
    share = _ONE / np.float32(width)
    for row in range(values.shape[0]):
        total = _ZERO
        for column in range(width):
            total += values[row, column]
        mean = total * share
        squares = _ZERO
        for column in range(width):
            off = values[row, column] - mean
            squares += off * off
        scale = _ONE / np.sqrt(squares * share + epsilon)
        for column in range(width):
            values[row, column] = (values[row, column] - mean) * scale * gain[column] + shift[column]


@_kernel
def _added(values: Any, more: Any) -> None:
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            values[row, column] += more[row, column]


@_kernel
def product(rows: Any, row_scales: Any, columns: Any, column_scales: Any, bias: Any, out: Any) -> None:
    """Write out = rows · columnsᵀ + bias.

    Args:
        rows: int16[n, width], n a multiple of ROWS; columns: int16[terms / COLUMNS, width / 2, COLUMNS, 2], as
            `lexhound.encoders.runtime.int16.packing.packed` makes them.
        row_scales, column_scales, bias: float32; out: float32[n, terms].
    """
    n, width = rows.shape
    length = column_scales.shape[0]
    for panel in range(columns.shape[0]):
        first = panel * COLUMNS
        for row in range(0, n, ROWS):
            integer_tile(
                (address(rows, row * width), width),
                (address(columns, first * width), width // 2),
                (address(out, row * length + first), length),
                (address(row_scales, row), address(column_scales, first), address(bias, first)),
            )


@_kernel
def _attended(states: Any, starts: Any, heads: Any, out: Any) -> None:
    """Write softmax(Q Kᵀ) V of each text and head (Vaswani et al., "Attention Is All You Need", 2017, section 3.2).

    Args:
        states: float32[rows + ROWS, 3 · width]: queries, already divided by the root of the head's width, keys, values.
        starts: int64[texts + 1], ascending; out: float32[rows + ROWS, width]. What is written beyond a text's rows is
            overwritten by the next text.
    """
    width = out.shape[1]
    size = width // heads
    longest = 0
    for text in range(starts.shape[0] - 1):
        longest = max(longest, starts[text + 1] - starts[text])
    room = (longest + COLUMNS - 1) // COLUMNS * COLUMNS
    scores = np.zeros((longest + ROWS, room), dtype=np.float32)
    keys = np.zeros((room // COLUMNS, size, COLUMNS), dtype=np.float32)
    ones = np.ones(longest + ROWS, dtype=np.float32)
    shares = np.zeros(longest + ROWS, dtype=np.float32)
    for text in range(starts.shape[0] - 1):
        start = starts[text]
        length = starts[text + 1] - start
        shares[length:] = _ZERO
        for head in range(heads):
            at = head * size
            for token in range((length + COLUMNS - 1) // COLUMNS * COLUMNS):
                for part in range(size):
                    value = states[start + token, width + at + part] if token < length else _ZERO
                    keys[token // COLUMNS, part, token % COLUMNS] = value
            for panel in range((length + COLUMNS - 1) // COLUMNS):
                for row in range(0, length, ROWS):
                    float_tile(
                        (address(states, (start + row) * 3 * width + at), 3 * width),
                        (address(keys, panel * size * COLUMNS), COLUMNS),
                        size,
                        (address(scores, row * room + panel * COLUMNS), room),
                        address(ones, row),
                    )
            for row in range(length):
                largest = scores[row, 0]
                for token in range(1, length):
                    largest = scores[row, token] if scores[row, token] > largest else largest
                total = _ZERO
                for token in range(length):
                    weight = _exp(scores[row, token] - largest)
                    scores[row, token] = weight
                    total += weight
                shares[row] = _ONE / total
            for part in range(0, size, COLUMNS):
                for row in range(0, length, ROWS):
                    float_tile(
                        (address(scores, row * room), room),
                        (address(states, start * 3 * width + 2 * width + at + part), 3 * width),
                        length,
                        (address(out, (start + row) * width + at + part), width),
                        address(shares, row),
                    )


@_kernel
def layers(x: Any, starts: Any, heads: Any, epsilon: Any, weights: Any) -> None:
    """Run post-norm transformer layers (Devlin et al., "BERT", 2019; Vaswani et al., 2017) over rows in place.

    Args:
        x: float32[rows, width], rows a multiple of ROWS; the texts' rows follow each other, then come rows of none.
        starts: int64[texts + 1], ascending, where each text begins; heads: int; epsilon: float32, of the layer norms.
        weights: see `lexhound.encoders.runtime.int16.layers.Layers`, its arrays in order.
    """
    (in_w, in_s, in_b, mix_w, mix_s, mix_b, gain1, shift1, up_w, up_s, up_b, down_w, down_s, down_b, gain2, shift2) = (
        weights
    )
    rows, width = x.shape
    inner = up_s.shape[1]
    integers = np.zeros((rows, width), dtype=np.int16)
    scales = np.zeros(rows, dtype=np.float32)
    states = np.zeros((rows + ROWS, 3 * width), dtype=np.float32)
    mixed = np.zeros((rows + ROWS, width), dtype=np.float32)
    more = np.zeros((rows, width), dtype=np.float32)
    wide = np.zeros((min(_BLOCK, rows), inner), dtype=np.float32)
    wide_integers = np.zeros((min(_BLOCK, rows), inner), dtype=np.int16)
    for layer in range(in_w.shape[0]):
        quantised(x, integers, scales)
        product(integers, scales, in_w[layer], in_s[layer], in_b[layer], states[:rows])
        _attended(states, starts, heads, mixed)
        quantised(mixed[:rows], integers, scales)
        product(integers, scales, mix_w[layer], mix_s[layer], mix_b[layer], more)
        _added(x, more)
        normalised(x, gain1[layer], shift1[layer], epsilon)
        for row in range(0, rows, _BLOCK):
            n = min(_BLOCK, rows - row)
            band = slice(row, row + n)
            quantised(x[band], integers[band], scales[band])
            product(integers[band], scales[band], up_w[layer], up_s[layer], up_b[layer], wide[:n])
            _activated(wide[:n])
            quantised(wide[:n], wide_integers[:n], scales[band])
            product(wide_integers[:n], scales[band], down_w[layer], down_s[layer], down_b[layer], more[band])
        _added(x, more)
        normalised(x, gain2[layer], shift2[layer], epsilon)


# The head


@_kernel
def transformed(states: Any, weight: Any, scales: Any, bias: Any, norm: Any, epsilon: Any, out: Any) -> None:
    """Write layer norm(gelu(states · weightᵀ + bias)), what a masked-language-model head's decoder takes.

    Args:
        states: float32[rows, width], rows a multiple of ROWS; out: the same shape.
        weight, scales, bias: of `packed`; norm: (gain, shift), float32[width] each; epsilon: float32.
    """
    integers = np.empty(states.shape, dtype=np.int16)
    row_scales = np.empty(states.shape[0], dtype=np.float32)
    quantised(states, integers, row_scales)
    product(integers, row_scales, weight, scales, bias, out)
    _activated(out)
    normalised(out, norm[0], norm[1], epsilon)


@_kernel
def _inner(one: Any, other: Any) -> Any:
    total = _ZERO
    for part in range(one.shape[0]):
        total += one[part] * other[part]
    return total


class Bound(NamedTuple):
    """Bounds on logits: rows int16[n, width], n a multiple of ROWS, columns int16[panels, width / 2, COLUMNS, 2],
    whose products with the rows are above the threshold, int32, wherever a logit is above 0.
    """

    rows: Any
    columns: Any
    threshold: Any


class Decoder(NamedTuple):
    """The factors of logits: states float32[n, full width], weight float32[terms, full width], bias
    float32[terms].
    """

    states: Any
    weight: Any
    bias: Any


@_kernel
def screened(bound: Any, decoder: Any, owners: Any, largest: Any, limit: Any) -> int:
    """Raise largest[text, term] to each logit whose bound is above the threshold; return how many these are.

    Args:
        bound: a `Bound`; decoder: a `Decoder`.
        owners: int64[n], each row's text; rows of no text are copies of another.
        largest: float32[texts, terms], written. limit: -1 is returned when more than this share of the pairs so far,
            and of 64 panels, are above the threshold.
    """
    rows, columns, threshold = bound
    states, weight, bias = decoder
    n, width = rows.shape
    terms = weight.shape[0]
    above = np.empty(ROWS * COLUMNS // 8, dtype=np.uint8)
    count = 0
    for panel in range(columns.shape[0]):
        first = panel * COLUMNS
        for row in range(0, n, ROWS):
            if not threshold_tile(
                address(rows, row * width), width, address(columns, first * width), width // 2,
                threshold, address(above, 0),
            ):  # fmt: skip
                continue
            for byte in range(len(above)):
                if not above[byte]:
                    continue
                token = row + byte // 2
                for bit in range(8):
                    term = first + byte % 2 * 8 + bit
                    if above[byte] >> bit & 1 and term < terms:
                        count += 1
                        logit = bias[term] + _inner(states[token], weight[term])
                        largest[owners[token], term] = max(largest[owners[token], term], logit)
        if panel >= 64 and count > limit * n * (panel + 1) * COLUMNS:
            return -1
    return count


@_kernel
def maxima(rows: Any, row_scales: Any, columns: Any, column_scales: Any, bias: Any, owners: Any, largest: Any) -> None:
    """Raise largest[text, term] to the logit of every row and term; arguments as of `product`, `Decoder` and
    `screened`.
    """
    n, width = rows.shape
    terms = largest.shape[1]
    logits = np.empty((ROWS, COLUMNS), dtype=np.float32)
    for panel in range(columns.shape[0]):
        first = panel * COLUMNS
        length = min(COLUMNS, terms - first)
        for row in range(0, n, ROWS):
            integer_tile(
                (address(rows, row * width), width),
                (address(columns, first * width), width // 2),
                (address(logits, 0), COLUMNS),
                (address(row_scales, row), address(column_scales, first), address(bias, first)),
            )
            for token in range(ROWS):
                text = owners[row + token]
                for term in range(length):
                    largest[text, first + term] = max(largest[text, first + term], logits[token, term])
