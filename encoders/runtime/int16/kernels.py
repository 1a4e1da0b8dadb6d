"""Products of 16-bit integers with exact 32-bit sums, and what stands between them in a transformer.

AVX2 multiplies and adds sixteen pairs of 16-bit integers an instruction (`vpmaddwd`), twice as many as of float32. A
row of states is scaled to a Euclidean norm of at most 32,700 and one of weights to 65,000, and rounded: by Cauchy and
Schwarz no sum leaves 32 bits, and rounding costs less than TF32's does. Sums of integers are exact, and everything else
here treats a row, or a text, on its own: so results are the same to the bit whatever is computed beside them, in any
order, by any number of threads.

Numba cannot say which registers hold a tile of a product, so the innermost loops are written as LLVM instructions. All
kernels stand in this file, because Numba notices a change of the file that holds a kernel only.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils as _cgutils
from numba.core import types
from numba.extending import intrinsic

cgutils: Any = _cgutils  # it has no types

P = ParamSpec("P")
R = TypeVar("R")

ROWS, COLUMNS = 6, 16
"""A tile: 12 registers of sums, two of one factor and one of the other; AVX2 has sixteen."""

ROW_NORM, COLUMN_NORM = 32_700.0, 65_000.0
_BLOCK = 60  # rows that go through the feed-forward layers together: what they make stays in the second-level cache

_FAST = {"reassoc", "contract", "nsz", "nnan", "ninf"}


def available() -> bool:
    """Whether this processor, and Numba as it is set up here, run these kernels."""
    features = llvmlite.binding.get_host_cpu_features()
    config: Any = numba.config
    own = config.CPU_NAME in (None, "", "host") and not config.CPU_FEATURES
    return (
        platform.machine().lower() in ("x86_64", "amd64")
        and bool(features.get("avx2") and features.get("fma"))
        and own
        and not config.DISABLE_JIT
    )


def _kernel(function: Callable[P, R]) -> Callable[P, R]:
    compiled: Callable[P, R]
    try:
        compiled = numba.njit(nogil=True, error_model="numpy", boundscheck=False, fastmath=_FAST, cache=True)(function)
    except RuntimeError:  # Numba found no place for a cache
        compiled = numba.njit(nogil=True, error_model="numpy", boundscheck=False, fastmath=_FAST, cache=False)(function)
    return compiled


def _instructions(function: Callable[..., Any]) -> Any:
    """What kernels call as a function of what `function` is given beside the typing context."""
    return intrinsic(function)


# Tiles, in LLVM instructions

_I8, _I16, _I32, _I64, _F32 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()
_PAIRS, _SUMS, _FLOATS = ir.VectorType(_I16, 16), ir.VectorType(_I32, 8), ir.VectorType(_F32, 8)


def _at(builder: Any, pointer: Any, kind: Any, index: Any) -> Any:
    """Address of the element `index` of an array of `kind` at `pointer`."""
    number = ir.Constant(_I64, index) if isinstance(index, int) else index
    return builder.gep(builder.bitcast(pointer, kind.as_pointer()), [number])


def _everywhere(builder: Any, value: Any, kind: Any) -> Any:
    """A vector of eight times `value`."""
    empty = ir.Constant(kind, ir.Undefined)
    vector = builder.insert_element(empty, value, ir.Constant(_I32, 0))
    return builder.shuffle_vector(vector, empty, ir.Constant(_SUMS, [0] * 8))


def _accumulated(builder: Any, steps: Any, kind: Any, columns_at: Any, row_at: Any, multiply: Any) -> list[list[Any]]:
    """Emit the loop over the common dimension; return the tile's sums, one vector for each row and half of the columns.

    The compiler would load all rows first and then run out of registers: an empty instruction that it must take to
    change memory keeps each row's load where it is used.
    """
    before, loop, after = builder.block, builder.append_basic_block("sum"), builder.append_basic_block("summed")
    builder.branch(loop)
    builder.position_at_end(loop)
    step = builder.phi(_I64)
    step.add_incoming(ir.Constant(_I64, 0), before)
    sums = [[builder.phi(kind) for _ in range(2)] for _ in range(ROWS)]
    columns = columns_at(step)
    barrier = ir.InlineAsm(ir.FunctionType(ir.VoidType(), []), "", "~{memory}", side_effect=True)
    added = []
    for row in range(ROWS):
        builder.call(barrier, [])
        value = row_at(row, step)
        added.append([multiply(value, columns[half], sums[row][half]) for half in range(2)])
    following = builder.add(step, ir.Constant(_I64, 1))
    step.add_incoming(following, loop)
    for row in range(ROWS):
        for half in range(2):
            sums[row][half].add_incoming(ir.Constant(kind, [0] * 8), before)
            sums[row][half].add_incoming(added[row][half], loop)
    builder.cbranch(builder.icmp_signed("<", following, steps), loop, after)
    builder.position_at_end(after)
    return added


def _integer_sums(builder: Any, rows: Any, row_length: Any, columns: Any, pairs: Any) -> list[list[Any]]:
    multiply = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(_SUMS, [_PAIRS, _PAIRS]), "llvm.x86.avx2.pmadd.wd"
    )
    starts = [_at(builder, rows, _I16, builder.mul(row_length, ir.Constant(_I64, row))) for row in range(ROWS)]
    return _accumulated(
        builder,
        pairs,
        _SUMS,
        lambda step: [
            builder.load(
                _at(builder, columns, _PAIRS, builder.add(builder.shl(step, ir.Constant(_I64, 1)), half)), align=2
            )
            for half in (ir.Constant(_I64, 0), ir.Constant(_I64, 1))
        ],
        lambda row, step: builder.bitcast(
            _everywhere(builder, builder.load(_at(builder, starts[row], _I32, step), align=2), _SUMS), _PAIRS
        ),
        lambda value, column, total: builder.add(total, builder.call(multiply, [value, column])),
    )


_POINTER, _WHOLE = types.voidptr, types.int64


@_instructions
def _integer_tile(_: Any, rows: Any, row_length: Any, columns: Any, pairs: Any, out: Any, out_length: Any,
                  row_scales: Any, column_scales: Any, bias: Any) -> Any:  # fmt: skip
    """out[row, column] = sum over pairs · row_scales[row] · column_scales[column] + bias[column]."""
    signature = types.void(_POINTER, _WHOLE, _POINTER, _WHOLE, _POINTER, _WHOLE, _POINTER, _POINTER, _POINTER)

    def generate(context: Any, builder: Any, _: Any, given: Any) -> Any:
        rows, row_length, columns, pairs, out, out_length, row_scales, column_scales, bias = given
        sums = _integer_sums(builder, rows, row_length, columns, pairs)
        scales, biases = (
            [builder.load(_at(builder, source, _FLOATS, half), align=4) for half in range(2)]
            for source in (column_scales, bias)
        )
        for row in range(ROWS):
            scale = _everywhere(builder, builder.load(_at(builder, row_scales, _F32, row), align=4), _FLOATS)
            place = _at(builder, out, _F32, builder.mul(out_length, ir.Constant(_I64, row)))
            for half in range(2):
                value = builder.fmul(builder.sitofp(sums[row][half], _FLOATS), builder.fmul(scale, scales[half]))
                builder.store(builder.fadd(value, biases[half]), _at(builder, place, _FLOATS, half), align=4)
        return context.get_dummy_value()

    return signature, generate


@_instructions
def _threshold_tile(_: Any, rows: Any, row_length: Any, columns: Any, pairs: Any, threshold: Any, out: Any) -> Any:
    """Whether any sum is above the threshold; then a bit of out, uint8[ROWS, COLUMNS / 8], says so of each."""
    signature = types.boolean(_POINTER, _WHOLE, _POINTER, _WHOLE, types.int32, _POINTER)

    def generate(_: Any, builder: Any, __: Any, given: Any) -> Any:
        rows, row_length, columns, pairs, threshold, out = given
        sums = _integer_sums(builder, rows, row_length, columns, pairs)
        largest = sums[0][0]
        for vector in [vector for row in sums for vector in row][1:]:
            largest = builder.select(builder.icmp_signed(">", vector, largest), vector, largest)
        least = _everywhere(builder, threshold, _SUMS)
        found = builder.icmp_signed(
            "!=", builder.bitcast(builder.icmp_signed(">", largest, least), _I8), ir.Constant(_I8, 0)
        )
        with builder.if_then(found, likely=False):
            for row in range(ROWS):
                for half in range(2):
                    above = builder.bitcast(builder.icmp_signed(">", sums[row][half], least), _I8)
                    builder.store(above, _at(builder, out, _I8, 2 * row + half), align=1)
        return found

    return signature, generate


@_instructions
def _float_tile(_: Any, rows: Any, row_length: Any, columns: Any, column_length: Any, steps: Any, out: Any,
                out_length: Any, row_scales: Any) -> Any:  # fmt: skip
    """out[row, column] = row_scales[row] · sum over steps of rows[row, step] · columns[step, column], float32."""
    signature = types.void(_POINTER, _WHOLE, _POINTER, _WHOLE, _WHOLE, _POINTER, _WHOLE, _POINTER)

    def generate(context: Any, builder: Any, _: Any, given: Any) -> Any:
        rows, row_length, columns, column_length, steps, out, out_length, row_scales = given
        fused = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_FLOATS, [_FLOATS] * 3), "llvm.fma.v8f32"
        )
        starts = [_at(builder, rows, _F32, builder.mul(row_length, ir.Constant(_I64, row))) for row in range(ROWS)]

        def columns_at(step: Any) -> list[Any]:
            start = _at(builder, columns, _F32, builder.mul(step, column_length))
            return [builder.load(_at(builder, start, _FLOATS, half), align=4) for half in range(2)]

        sums = _accumulated(
            builder,
            steps,
            _FLOATS,
            columns_at,
            lambda row, step: _everywhere(
                builder, builder.load(_at(builder, starts[row], _F32, step), align=4), _FLOATS
            ),
            lambda value, column, total: builder.call(fused, [value, column, total]),
        )
        for row in range(ROWS):
            scale = _everywhere(builder, builder.load(_at(builder, row_scales, _F32, row), align=4), _FLOATS)
            place = _at(builder, out, _F32, builder.mul(out_length, ir.Constant(_I64, row)))
            for half in range(2):
                builder.store(builder.fmul(sums[row][half], scale), _at(builder, place, _FLOATS, half), align=4)
        return context.get_dummy_value()

    return signature, generate


@_instructions
def _address(_: Any, array: Any, element: Any) -> Any:
    """Address of an element of a contiguous array, counted through all its dimensions."""
    size = array.dtype.bitwidth // 8

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        data = cgutils.create_struct_proxy(signature.args[0])(context, builder, value=given[0]).data
        pointer = _at(builder, data, _I8, builder.mul(given[1], ir.Constant(_I64, size)))
        return builder.bitcast(pointer, _I8.as_pointer())

    return types.voidptr(array, types.int64), generate


@_instructions
def _rounded(_: Any, value: Any) -> Any:
    """The nearest 16-bit integer."""

    def generate(_: Any, builder: Any, __: Any, given: Any) -> Any:
        nearest = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_F32, [_F32]), "llvm.rint.f32")
        return builder.fptosi(builder.call(nearest, given), _I16)

    return types.int16(types.float32), generate


@_instructions
def _floor(_: Any, value: Any) -> Any:
    def generate(_: Any, builder: Any, __: Any, given: Any) -> Any:
        floor = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_F32, [_F32]), "llvm.floor.f32")
        return builder.call(floor, given)

    return types.float32(types.float32), generate


@_instructions
def _power_of_two(_: Any, exponent: Any) -> Any:
    """2 to a whole float32 from -126 to 127."""

    def generate(_: Any, builder: Any, __: Any, given: Any) -> Any:
        biased = builder.add(builder.fptosi(given[0], _I32), ir.Constant(_I32, 127))
        return builder.bitcast(builder.shl(biased, ir.Constant(_I32, 23)), _F32)

    return types.float32(types.float32), generate


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
    """exp of a float32 <= 0, to 1e-6 of itself; what is below exp(-87) is that."""
    power = (x if x > _LOWEST else _LOWEST) * _LOG2E
    whole = _floor(power + _HALF)
    rest = power - whole
    series = _E6
    for factor in (_E5, _E4, _E3, _E2, _E1, _ONE):
        series = series * rest + factor
    return series * _power_of_two(whole)


@_kernel
def _gelu(x: Any) -> Any:
    """x · Φ(x) (Hendrycks & Gimpel, "Gaussian Error Linear Units", 2016)."""
    size = abs(x) * _ROOT_HALF
    t = _ONE / (_ONE + _P * size)
    beyond = ((((_A5 * t + _A4) * t + _A3) * t + _A2) * t + _A1) * t * _exp(-size * size)
    erf = _ONE - beyond
    return _HALF * x * (_ONE + (erf if x >= _ZERO else -erf))


@_kernel
def quantised(values: Any, whole: Any, scales: Any) -> None:
    """Round float32[rows, width] to int16[rows, width]; values = whole · scales[row]."""
    for row in range(values.shape[0]):
        squares = _TINY
        for column in range(values.shape[1]):
            squares += values[row, column] * values[row, column]
        scale = _ROW_NORM / np.sqrt(squares)
        scales[row] = _ONE / scale
        for column in range(values.shape[1]):
            whole[row, column] = _rounded(values[row, column] * scale)


@_kernel
def _activated(values: Any) -> None:
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            values[row, column] = _gelu(values[row, column])


@_kernel
def normalised(values: Any, gain: Any, shift: Any, epsilon: Any) -> None:
    """Layer norm of each of float32[rows, width] in place (Ba, Kiros & Hinton, "Layer Normalization", 2016)."""
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
    """out = rows · columnsᵀ + bias.

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
            _integer_tile(
                _address(rows, row * width), width, _address(columns, first * width), width // 2,
                _address(out, row * length + first), length,
                _address(row_scales, row), _address(column_scales, first), _address(bias, first),
            )  # fmt: skip


@_kernel
def _attended(states: Any, starts: Any, heads: Any, out: Any) -> None:
    """softmax(Q Kᵀ) V of each text and head (Vaswani et al., "Attention Is All You Need", 2017, section 3.2).

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
                    _float_tile(
                        _address(states, (start + row) * 3 * width + at), 3 * width,
                        _address(keys, panel * size * COLUMNS), COLUMNS, size,
                        _address(scores, row * room + panel * COLUMNS), room, _address(ones, row),
                    )  # fmt: skip
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
                    _float_tile(
                        _address(scores, row * room), room,
                        _address(states, start * 3 * width + 2 * width + at + part), 3 * width, length,
                        _address(out, (start + row) * width + at + part), width, _address(shares, row),
                    )  # fmt: skip


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
    whole = np.zeros((rows, width), dtype=np.int16)
    scales = np.zeros(rows, dtype=np.float32)
    states = np.zeros((rows + ROWS, 3 * width), dtype=np.float32)
    mixed = np.zeros((rows + ROWS, width), dtype=np.float32)
    more = np.zeros((rows, width), dtype=np.float32)
    wide = np.zeros((min(_BLOCK, rows), inner), dtype=np.float32)
    wide_whole = np.zeros((min(_BLOCK, rows), inner), dtype=np.int16)
    for layer in range(in_w.shape[0]):
        quantised(x, whole, scales)
        product(whole, scales, in_w[layer], in_s[layer], in_b[layer], states[:rows])
        _attended(states, starts, heads, mixed)
        quantised(mixed[:rows], whole, scales)
        product(whole, scales, mix_w[layer], mix_s[layer], mix_b[layer], more)
        _added(x, more)
        normalised(x, gain1[layer], shift1[layer], epsilon)
        for row in range(0, rows, _BLOCK):
            n = min(_BLOCK, rows - row)
            band = slice(row, row + n)
            quantised(x[band], whole[band], scales[band])
            product(whole[band], scales[band], up_w[layer], up_s[layer], up_b[layer], wide[:n])
            _activated(wide[:n])
            quantised(wide[:n], wide_whole[:n], scales[band])
            product(wide_whole[:n], scales[band], down_w[layer], down_s[layer], down_b[layer], more[band])
        _added(x, more)
        normalised(x, gain2[layer], shift2[layer], epsilon)


# The head


@_kernel
def _inner(one: Any, other: Any) -> Any:
    total = _ZERO
    for part in range(one.shape[0]):
        total += one[part] * other[part]
    return total


@_kernel
def screened(
    rows: Any, columns: Any, threshold: Any, states: Any, weight: Any, bias: Any, owners: Any, largest: Any, limit: Any
) -> int:
    """Raise largest[text, term] to each logit whose bound is above the threshold; return how many these are.

    Args:
        rows: int16[n, width], n a multiple of ROWS; columns: int16[panels, width / 2, COLUMNS, 2]: their products bound
            the logits of rows and terms. threshold: int32.
        states: float32[n, full width]; weight: float32[terms, full width]; bias: float32[terms].
        owners: int64[n], each row's text; rows of no text are copies of another.
        largest: float32[texts, terms], written. limit: -1 is returned when more than this share of the pairs so far,
            and of 64 panels, are above the threshold.
    """
    n, width = rows.shape
    terms = weight.shape[0]
    above = np.empty(ROWS * COLUMNS // 8, dtype=np.uint8)
    count = 0
    for panel in range(columns.shape[0]):
        first = panel * COLUMNS
        for row in range(0, n, ROWS):
            if not _threshold_tile(
                _address(rows, row * width), width, _address(columns, first * width), width // 2,
                threshold, _address(above, 0),
            ):  # fmt: skip
                continue
            for place in range(len(above)):
                if not above[place]:
                    continue
                token = row + place // 2
                for bit in range(8):
                    term = first + place % 2 * 8 + bit
                    if above[place] >> bit & 1 and term < terms:
                        count += 1
                        logit = bias[term] + _inner(states[token], weight[term])
                        largest[owners[token], term] = max(largest[owners[token], term], logit)
        if panel >= 64 and count > limit * n * (panel + 1) * COLUMNS:
            return -1
    return count


@_kernel
def maxima(rows: Any, row_scales: Any, columns: Any, column_scales: Any, bias: Any, owners: Any, largest: Any) -> None:
    """Raise largest[text, term] to the logit of every row and term; arguments as of `product` and `screened`."""
    n, width = rows.shape
    terms = largest.shape[1]
    logits = np.empty((ROWS, COLUMNS), dtype=np.float32)
    for panel in range(columns.shape[0]):
        first = panel * COLUMNS
        length = min(COLUMNS, terms - first)
        for row in range(0, n, ROWS):
            _integer_tile(
                _address(rows, row * width), width, _address(columns, first * width), width // 2,
                _address(logits, 0), COLUMNS,
                _address(row_scales, row), _address(column_scales, first), _address(bias, first),
            )  # fmt: skip
            for token in range(ROWS):
                text = owners[row + token]
                for term in range(length):
                    largest[text, first + term] = max(largest[text, first + term], logits[token, term])
