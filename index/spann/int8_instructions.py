"""`int8_dot.product` in kernels: by AVX2's instructions where the processor has them, by a loop elsewhere."""

from __future__ import annotations

import platform
from typing import Any

import llvmlite.binding
import numba
from llvmlite import ir
from numba.core import types
from numba.extending import overload

from lexhound.index.compiling import cgutils, instructions

from .int8_dot import narrow_product, product

_I16, _I32, _I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
_BYTES, _PAIRS, _SUMS = ir.VectorType(ir.IntType(8), 16), ir.VectorType(_I16, 16), ir.VectorType(_I32, 8)


@instructions
def _wide_product(_: Any, codes: Any, at: Any, query: Any, start: Any, stop: Any) -> Any:
    """Compute `product` by instructions for sixteen codes at a time."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        first, left_out = arguments[3], builder.add(arguments[1], arguments[3])
        starts = [
            builder.gep(context.make_array(kinds[which])(context, builder, arguments[which]).data, [skipped])
            for which, skipped in ((0, left_out), (2, first))
        ]
        length = builder.sub(arguments[4], first)
        multiply = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_SUMS, [_PAIRS, _PAIRS]), "llvm.x86.avx2.pmadd.wd"
        )
        add_up = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_I32, [_SUMS]), "llvm.vector.reduce.add.v8i32"
        )
        # Four sums, so that no addition waits for the one before it.
        sums = [cgutils.alloca_once_value(builder, ir.Constant(_SUMS, [0] * 8)) for _ in range(4)]

        def add(piece: Any, total: Any) -> None:
            left, right = (
                builder.load(builder.gep(builder.bitcast(start, kind.as_pointer()), [piece]), align=align)
                for start, kind, align in zip(starts, (_BYTES, _PAIRS), (1, 2), strict=True)
            )
            added = builder.call(multiply, [builder.sext(left, _PAIRS), right])
            builder.store(builder.add(builder.load(total), added), total)

        pieces = builder.lshr(length, ir.Constant(_I64, 4))
        fours = builder.lshr(pieces, ir.Constant(_I64, 2))
        with cgutils.for_range(builder, fours) as loop:
            four = builder.shl(loop.index, ir.Constant(_I64, 2))
            for position, total in enumerate(sums):
                add(builder.add(four, ir.Constant(_I64, position)), total)
        done = builder.shl(fours, ir.Constant(_I64, 2))
        with cgutils.for_range(builder, builder.sub(pieces, done)) as loop:
            add(builder.add(done, loop.index), sums[0])
        vector = builder.load(sums[0])
        for total in sums[1:]:
            vector = builder.add(vector, builder.load(total))
        result = cgutils.alloca_once_value(builder, builder.call(add_up, [vector]))
        done = builder.shl(pieces, ir.Constant(_I64, 4))
        with cgutils.for_range(builder, builder.sub(length, done)) as loop:
            position = builder.add(done, loop.index)
            left, right = (builder.sext(builder.load(builder.gep(start, [position])), _I32) for start in starts)
            builder.store(builder.add(builder.load(result), builder.mul(left, right)), result)
        return builder.sext(builder.load(result), _I64)

    return types.int64(codes, types.int64, query, types.int64, types.int64), generate


def _has_avx2() -> bool:
    """Return whether kernels may use AVX2: this processor has it, and Numba compiles for this processor."""
    config: Any = numba.config
    compiles_for_host = config.CPU_NAME in (None, "", "host") and not config.CPU_FEATURES
    return (
        platform.machine().lower() in ("x86_64", "amd64")
        and bool(llvmlite.binding.get_host_cpu_features().get("avx2"))
        and compiles_for_host
    )


@overload(product, inline="always")
def _compiled_product(codes: Any, at: Any, query: Any, start: Any, stop: Any) -> Any:
    if _has_avx2():

        def wide(codes: Any, at: Any, query: Any, start: Any, stop: Any) -> Any:
            return _wide_product(codes, at, query, start, stop)

        return wide

    def narrow(codes: Any, at: Any, query: Any, start: Any, stop: Any) -> Any:
        return narrow_product(codes, at, query, start, stop)

    return narrow
