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
from numba.core import event
from numba.extending import intrinsic, typeof_impl

from lexhound.core.compilation import compiling

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


# What kernels are for, by the beginning of their module's name, the longest first, and how many seconds compiling all
# of them usually takes.
_PURPOSES = (
    ("lexhound.index.inverted.inversion", "kernels that build indexes", 2),
    ("lexhound.index.inverted.merge", "kernels that merge indexes", 4),
    ("lexhound.index.inverted.calibration", "kernels that merge indexes", 4),
    ("lexhound.index.inverted.scales", "kernels that merge indexes", 4),
    ("lexhound.index.inverted", "search kernels", 10),
    ("lexhound.index.spann", "kernels of clustered indexes", 10),
    ("lexhound.index", "kernels for dense vectors", 2),
)


class _Listener(event.Listener):
    """A listener to Numba, which compiles only what its cache lacks."""

    def on_start(self, event: Any) -> None:
        module = event.data["dispatcher"].py_func.__module__
        for name, purpose, seconds in _PURPOSES:
            if module.startswith(name):
                compiling(purpose, seconds)
                return

    def on_end(self, event: Any) -> None:
        pass


_register: Any = event.register
_register("numba:compile", _Listener())


@typeof_impl.register(Kernel)
def _type_of_kernel(kernel: Any, context: Any) -> Any:
    typeof: Any = numba.typeof
    return typeof(kernel.compiled)
