"""`prefetch` in kernels."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import overload

from .compiling import cgutils, instructions
from .jit import prefetch


@instructions
def _prefetch(_: Any, array: Any, at: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array_struct = context.make_array(signature.args[0])(context, builder, arguments[0])
        width = context.get_constant(types.int64, context.get_abi_sizeof(context.get_data_type(array.dtype)))
        address = builder.add(builder.ptrtoint(array_struct.data, ir.IntType(64)), builder.mul(arguments[1], width))
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        # For reading, into every level of the cache, data.
        builder.call(function, [builder.inttoptr(address, cgutils.voidptr_t), number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


@overload(prefetch, inline="always")
def _compiled_prefetch(array: Any, at: Any) -> Any:
    def ask(array: Any, at: Any) -> None:
        _prefetch(array, at)

    return ask
