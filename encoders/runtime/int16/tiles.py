"""Tiles of products, and single operations, as LLVM instructions that kernels call.

Numba cannot say which registers hold a tile of a product, so the innermost loops are written as LLVM instructions. It
notices a change of the file that holds a kernel, not of this one: `kernels.TILES` is a digest of this file, and a test
compares the two, so that a change here changes that file too and no stale cache is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils as _cgutils
from numba.core import types as _types
from numba.extending import intrinsic

cgutils: Any = _cgutils  # it has no types
types: Any = _types

ROWS, COLUMNS = 6, 16
"""A tile: 12 registers of sums, two of one factor and one of the other; AVX2 has sixteen."""


def _instructions(function: Callable[..., Any]) -> Any:
    """Return what kernels call as a function of what `function` is given beside the typing context."""
    return intrinsic(function)


_I8, _I16, _I32, _I64, _F32 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()
_PAIRS, _SUMS, _FLOATS = ir.VectorType(_I16, 16), ir.VectorType(_I32, 8), ir.VectorType(_F32, 8)


def _at(builder: Any, pointer: Any, kind: Any, index: Any) -> Any:
    """Address of the element `index` of an array of `kind` at `pointer`."""
    number = ir.Constant(_I64, index) if isinstance(index, int) else index
    return builder.gep(builder.bitcast(pointer, kind.as_pointer()), [number])


def _everywhere(builder: Any, value: Any, kind: Any) -> Any:
    """Return a vector of eight times `value`."""
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
_STRIDED = types.Tuple((_POINTER, _WHOLE))


@_instructions
def integer_tile(_: Any, rows: Any, columns: Any, out: Any, factors: Any) -> Any:
    """Write out[row, column] = sum over pairs · row_scales[row] · column_scales[column] + bias[column].

    Args:
        rows, out: address of the tile's first element, and elements from one row to the next; columns: address of the
            panel, and pairs of values in it; factors: addresses of row scales, column scales and bias.
    """
    signature = types.void(_STRIDED, _STRIDED, _STRIDED, types.UniTuple(_POINTER, 3))

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        (rows, row_length), (columns, pairs), (out, out_length) = (
            cgutils.unpack_tuple(builder, each, 2) for each in arguments[:3]
        )
        row_scales, column_scales, bias = cgutils.unpack_tuple(builder, arguments[3], 3)
        sums = _integer_sums(builder, rows, row_length, columns, pairs)
        scales, biases = (
            [builder.load(_at(builder, source, _FLOATS, half), align=4) for half in range(2)]
            for source in (column_scales, bias)
        )
        for row in range(ROWS):
            scale = _everywhere(builder, builder.load(_at(builder, row_scales, _F32, row), align=4), _FLOATS)
            position = _at(builder, out, _F32, builder.mul(out_length, ir.Constant(_I64, row)))
            for half in range(2):
                value = builder.fmul(builder.sitofp(sums[row][half], _FLOATS), builder.fmul(scale, scales[half]))
                builder.store(builder.fadd(value, biases[half]), _at(builder, position, _FLOATS, half), align=4)
        return context.get_dummy_value()

    return signature, generate


@_instructions
def threshold_tile(_: Any, rows: Any, row_length: Any, columns: Any, pairs: Any, threshold: Any, out: Any) -> Any:
    """Return whether any sum is above the threshold; then a bit of out, uint8[ROWS, COLUMNS / 8], says so of each."""
    signature = types.boolean(_POINTER, _WHOLE, _POINTER, _WHOLE, types.int32, _POINTER)

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        rows, row_length, columns, pairs, threshold, out = arguments
        sums = _integer_sums(builder, rows, row_length, columns, pairs)
        largest = sums[0][0]
        for vector in [vector for row in sums for vector in row][1:]:
            largest = builder.select(builder.icmp_signed(">", vector, largest), vector, largest)
        least = _everywhere(builder, threshold, _SUMS)
        any_above = builder.icmp_signed(
            "!=", builder.bitcast(builder.icmp_signed(">", largest, least), _I8), ir.Constant(_I8, 0)
        )
        with builder.if_then(any_above, likely=False):
            for row in range(ROWS):
                for half in range(2):
                    above = builder.bitcast(builder.icmp_signed(">", sums[row][half], least), _I8)
                    builder.store(above, _at(builder, out, _I8, 2 * row + half), align=1)
        return any_above

    return signature, generate


@_instructions
def float_tile(_: Any, rows: Any, columns: Any, steps: Any, out: Any, row_scales: Any) -> Any:
    """Write out[row, column] = row_scales[row] · sum over steps of rows[row, step] · columns[step, column], float32.

    Args:
        rows, columns, out: address of the first element, and elements from one row to the next; steps: int64;
            row_scales: address.
    """
    signature = types.void(_STRIDED, _STRIDED, _WHOLE, _STRIDED, _POINTER)

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        rows, columns, steps, out, row_scales = arguments
        (rows, row_length), (columns, column_length), (out, out_length) = (
            cgutils.unpack_tuple(builder, each, 2) for each in (rows, columns, out)
        )
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
            position = _at(builder, out, _F32, builder.mul(out_length, ir.Constant(_I64, row)))
            for half in range(2):
                builder.store(builder.fmul(sums[row][half], scale), _at(builder, position, _FLOATS, half), align=4)
        return context.get_dummy_value()

    return signature, generate


@_instructions
def address(_: Any, array: Any, element: Any) -> Any:
    """Address of an element of a contiguous array, counted through all its dimensions."""
    size = array.dtype.bitwidth // 8

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = cgutils.create_struct_proxy(signature.args[0])(context, builder, value=arguments[0]).data
        pointer = _at(builder, data, _I8, builder.mul(arguments[1], ir.Constant(_I64, size)))
        return builder.bitcast(pointer, _I8.as_pointer())

    return types.voidptr(array, types.int64), generate


@_instructions
def rounded(_: Any, value: Any) -> Any:
    """Return the nearest 16-bit integer."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        nearest = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_F32, [_F32]), "llvm.rint.f32")
        return builder.fptosi(builder.call(nearest, arguments), _I16)

    return types.int16(types.float32), generate


@_instructions
def floor(_: Any, value: Any) -> Any:
    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_F32, [_F32]), "llvm.floor.f32")
        return builder.call(function, arguments)

    return types.float32(types.float32), generate


@_instructions
def power_of_two(_: Any, exponent: Any) -> Any:
    """Return 2 to a whole float32 from -126 to 127."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        biased = builder.add(builder.fptosi(arguments[0], _I32), ir.Constant(_I32, 127))
        return builder.bitcast(builder.shl(biased, ir.Constant(_I32, 23)), _F32)

    return types.float32(types.float32), generate
