"""`block_sums` in kernels: by AVX2's instructions where the processor has them, by a loop elsewhere."""

from __future__ import annotations

import platform
from typing import Any

import llvmlite.binding
import numba
from llvmlite import ir
from numba.core import types
from numba.extending import overload

from lexhound.index.compiling import cgutils, instructions

from .block_sums import block_sums, looping_sums

_I8, _I16, _I64 = ir.IntType(8), ir.IntType(16), ir.IntType(64)
_BYTES, _WORDS = ir.VectorType(_I8, 32), ir.VectorType(_I16, 16)
_ROW = 32  # bytes of a row of codes, and of a table


@instructions
def _wide_sums(_: Any, codes: Any, at: Any, tables: Any, sums: Any) -> Any:
    """Compute `block_sums` by instructions for thirty-two codes at a time."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        code_array, table_array, sum_array = (
            context.make_array(kinds[which])(context, builder, arguments[which]) for which in (0, 2, 3)
        )
        first_code = builder.gep(code_array.data, [arguments[1]])
        first_table = table_array.data
        pairs = builder.lshr(builder.extract_value(table_array.shape, 0), ir.Constant(_I64, 1))
        look_up = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_BYTES, [_BYTES, _BYTES]), "llvm.x86.avx2.pshuf.b"
        )
        nibble = ir.Constant(_BYTES, [15] * 32)
        four, eight = ir.Constant(_WORDS, [4] * 16), ir.Constant(_WORDS, [8] * 16)
        all_sums, odd_sums = (cgutils.alloca_once_value(builder, ir.Constant(_WORDS, [0] * 16)) for _ in range(2))

        def row(start: Any, number: Any) -> Any:
            place = builder.gep(start, [builder.mul(number, ir.Constant(_I64, _ROW))])
            return builder.load(builder.bitcast(place, _BYTES.as_pointer()), align=1)

        with cgutils.for_range(builder, pairs) as loop:
            bits = row(first_code, loop.index)
            low = builder.and_(bits, nibble)
            high = builder.and_(builder.bitcast(builder.lshr(builder.bitcast(bits, _WORDS), four), _BYTES), nibble)
            even = builder.shl(loop.index, ir.Constant(_I64, 1))
            odd = builder.add(even, ir.Constant(_I64, 1))
            added = builder.add(
                builder.call(look_up, [row(first_table, even), low]),
                builder.call(look_up, [row(first_table, odd), high]),
            )
            words = builder.bitcast(added, _WORDS)
            builder.store(builder.add(builder.load(all_sums), words), all_sums)
            builder.store(builder.add(builder.load(odd_sums), builder.lshr(words, eight)), odd_sums)
        odd_total = builder.load(odd_sums)
        even_total = builder.sub(builder.load(all_sums), builder.shl(odd_total, eight))
        for place, total in ((0, even_total), (16, odd_total)):
            target = builder.gep(sum_array.data, [ir.Constant(_I64, place)])
            builder.store(total, builder.bitcast(target, _WORDS.as_pointer()), align=2)
        return context.get_dummy_value()

    return types.void(codes, types.int64, tables, sums), generate


def _has_avx2() -> bool:
    """Return whether kernels may use AVX2: this processor has it, and Numba compiles for this processor."""
    config: Any = numba.config
    compiles_for_host = config.CPU_NAME in (None, "", "host") and not config.CPU_FEATURES
    return (
        platform.machine().lower() in ("x86_64", "amd64")
        and bool(llvmlite.binding.get_host_cpu_features().get("avx2"))
        and compiles_for_host
    )


@overload(block_sums, inline="always")
def _compiled_sums(codes: Any, at: Any, tables: Any, sums: Any) -> Any:
    if _has_avx2():

        def wide(codes: Any, at: Any, tables: Any, sums: Any) -> None:
            _wide_sums(codes, at, tables, sums)

        return wide

    def narrow(codes: Any, at: Any, tables: Any, sums: Any) -> None:
        looping_sums(codes, at, tables, sums)

    return narrow
