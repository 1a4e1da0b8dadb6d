"""Inner products of 8-bit codes with a query of 16-bit integers: sums of integers, exact in any order.

AVX2 multiplies and adds sixteen pairs of 16-bit integers an instruction (`vpmaddwd`), and sixteen codes are widened to
such integers by another. The compiler does not find this by itself: the loop in Python takes longer than one over
float32, these instructions half of that. Other processors run the loop, to the same sums.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba.core import cgutils as _cgutils
from numba.core import types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from .._jit import kernel

cgutils: Any = _cgutils  # it has no types

_PIECE = 16  # codes that are multiplied at a time
_GREATEST = (1 << 15) - 1
_I16, _I32, _I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
_BYTES, _PAIRS, _SUMS = ir.VectorType(ir.IntType(8), 16), ir.VectorType(_I16, 16), ir.VectorType(_I32, 8)


@kernel
def coded(query: NDArray[np.float32], codes: NDArray[np.int16]) -> float:
    """Write a query as integers and return what an integer of 1 stands for. query: float32[d]; codes: int16[d].

    No sum of products with 8-bit codes leaves 32 bits: with S the sum of the absolute values and f at most
    (2**24 - 1 - d) / S, the integers' absolute values sum to at most S x f + d / 2 < 2**24, times 128 below 2**31.
    """
    most, total = 0.0, 0.0
    for j in range(len(query)):
        most = max(most, abs(np.float64(query[j])))
        total += abs(np.float64(query[j]))
    if most == 0:
        codes[:] = 0
        return 1.0
    factor = min(_GREATEST / most, ((1 << 24) - 1 - len(query)) / total)
    for j in range(len(query)):
        codes[j] = np.int16(np.rint(np.float64(query[j]) * factor))
    return 1.0 / factor


def product(codes: NDArray[np.int8], query: NDArray[np.int16]) -> int:
    """The inner product of int8[d] and int16[d], for kernels; below 2**31 for a query of `coded`."""
    return int(codes.astype(np.int64) @ query.astype(np.int64))


def _instructions(function: Callable[..., Any]) -> Any:
    return intrinsic(function)


@_instructions
def _whole_pieces(_: Any, codes: Any, query: Any, pieces: Any) -> Any:
    """The inner product of the first `pieces` times 16 of int8[d] and int16[d]."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        starts = [
            context.make_array(kind)(context, builder, array).data
            for kind, array in zip(signature.args[:2], given, strict=False)
        ]
        multiply = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_SUMS, [_PAIRS, _PAIRS]), "llvm.x86.avx2.pmadd.wd"
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

        fours = builder.lshr(given[2], ir.Constant(_I64, 2))
        with cgutils.for_range(builder, fours) as loop:
            first = builder.shl(loop.index, ir.Constant(_I64, 2))
            for place, total in enumerate(sums):
                add(builder.add(first, ir.Constant(_I64, place)), total)
        done = builder.shl(fours, ir.Constant(_I64, 2))
        with cgutils.for_range(builder, builder.sub(given[2], done)) as loop:
            add(builder.add(done, loop.index), sums[0])
        vector = builder.load(sums[0])
        for total in sums[1:]:
            vector = builder.add(vector, builder.load(total))
        lanes = [builder.extract_element(vector, ir.Constant(_I32, lane)) for lane in range(8)]
        while len(lanes) > 1:
            lanes = [builder.add(lanes[i], lanes[i + 1]) for i in range(0, len(lanes), 2)]
        return lanes[0]

    return types.int32(codes, query, types.int64), generate


def _has_avx2() -> bool:
    """Whether kernels may use AVX2: this processor has it, and Numba compiles for this processor."""
    import numba

    config: Any = numba.config
    own = config.CPU_NAME in (None, "", "host") and not config.CPU_FEATURES
    return (
        platform.machine().lower() in ("x86_64", "amd64")
        and bool(llvmlite.binding.get_host_cpu_features().get("avx2"))
        and own
    )


@overload(product, inline="always")
def _compiled_product(codes: Any, query: Any) -> Any:
    if _has_avx2():

        def by_instructions(codes: Any, query: Any) -> Any:
            pieces = len(query) // _PIECE
            total = _whole_pieces(codes, query, pieces)
            for j in range(pieces * _PIECE, len(query)):
                total = np.int32(total + np.int32(np.int32(codes[j]) * np.int32(query[j])))
            return total

        return by_instructions

    def by_loop(codes: Any, query: Any) -> Any:
        total = np.int32(0)
        for j in range(len(query)):
            total = np.int32(total + np.int32(np.int32(codes[j]) * np.int32(query[j])))
        return total

    return by_loop
