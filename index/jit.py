"""The one place that knows Numba: its flags, and the rule for arguments.

Kernels take arrays and numbers and write into arrays that the caller owns. Every input array is passed read-only
(`frozen`), because Numba compiles read-only and writable arrays to two versions of a kernel: so an array in memory and
one mapped from a file run the same compiled code, and one entry in the cache serves both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils as _cgutils
from numba.core import types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

cgutils: Any = _cgutils  # it has no types

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T", bound=np.generic)

# Infinities and NaN keep their meaning: only the order of sums and the fusing of multiplications are set free.
_REORDERING = {"reassoc", "contract", "nsz"}

Integer = int | np.int64
"""A whole number inside a kernel, where there is no difference between the two."""


@cache
def _folder_stamp(folder: Path) -> tuple[float, int]:
    stats = [path.stat() for path in folder.glob("*.py")]
    return max(stat.st_mtime for stat in stats), sum(stat.st_size for stat in stats)


def _compile(function: Callable[P, R], **flags: Any) -> Callable[P, R]:
    compiled: Callable[P, R]
    try:
        compiled = numba.njit(nogil=True, error_model="numpy", cache=True, **flags)(function)
    except RuntimeError:  # Numba found no place for a cache
        compiled = numba.njit(nogil=True, error_model="numpy", cache=False, **flags)(function)
    stored = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
    if stored is not None:
        with contextlib.suppress(OSError):
            stored._source_stamp = _folder_stamp(Path(function.__code__.co_filename).parent)
    return compiled


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` at its first call: no Python objects, no GIL, no division-by-zero checks, cached on disk.

    Numba compiles anew when the file of a kernel has changed, but does not look at the files of kernels that it calls.
    So the cache is stamped with all modules of the folder: kernels that call each other live in one folder, and a stale
    cache is not used. The cache stands beside the source, or where that is read-only in the user's cache directory, or
    in NUMBA_CACHE_DIR; where none can be written, kernels work uncached.
    """
    return _compile(function)


def inlined_kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Return `kernel` that becomes a part of its caller: a phase of a long kernel, which LLVM then optimizes once."""
    return _compile(function, inline="always")


def reordering_kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Return `kernel`; sums of floats may be reordered, so that they use the vector unit.

    Their last bits depend on the processor: for choices that are approximate anyway, never for scores that are shown.
    """
    return _compile(function, fastmath=_REORDERING)


def frozen(array: np.ndarray[tuple[int, ...], np.dtype[T]]) -> np.ndarray[tuple[int, ...], np.dtype[T]]:
    """Return a read-only, C-contiguous view of `array` (copied only when it is not contiguous), of class `ndarray`."""
    view = np.ascontiguousarray(array).view()
    view.setflags(write=False)  # in half of the time of `flags.writeable = False`: searches call this a dozen times
    return view


def prefetch(array: NDArray[Any], at: Integer) -> None:
    """Ask, in a kernel, for the line of the cache that holds `array[at]`; a hint that reads nothing and cannot fail.

    `at` may lie outside of the array. As plain Python it does nothing.
    """


def instructions(function: Callable[..., Any]) -> Any:
    """Return what kernels call where `function` writes LLVM's instructions: Numba's `intrinsic`, which is untyped."""
    return intrinsic(function)


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
