"""The one place that knows how Numba compiles: its flags and its cache."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils as _cgutils
from numba.extending import intrinsic, typeof_impl

from .jit import Kernel

cgutils: Any = _cgutils  # it has no types

__all__ = ["cgutils", "compiled", "instructions", "ir"]


@cache
def _folder_stamp(folder: Path) -> tuple[float, int]:
    stats = [path.stat() for path in folder.glob("*.py")]
    return max(stat.st_mtime for stat in stats), sum(stat.st_size for stat in stats)


def compiled(function: Callable[..., Any], flags: dict[str, Any]) -> Any:
    """Return Numba's function of a kernel; it is compiled, or taken from the cache, when it is called."""
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", **flags}
    try:
        result = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # Numba found no place for a cache
        result = numba.njit(cache=False, **options)(function)
    stored = getattr(getattr(result, "_cache", None), "_cache_file", None)
    if stored is not None:
        with contextlib.suppress(OSError):
            stored._source_stamp = _folder_stamp(Path(function.__code__.co_filename).parent)
    return result


def instructions(function: Callable[..., Any]) -> Any:
    """Return what kernels call where `function` writes LLVM's instructions: Numba's `intrinsic`, which is untyped."""
    return intrinsic(function)


@typeof_impl.register(Kernel)
def _type_of_kernel(kernel: Any, context: Any) -> Any:
    typeof: Any = numba.typeof
    return typeof(kernel.compiled)
