"""Compiled kernels: what they are compiled with, when, and the rule for their arguments.

Kernels take arrays and numbers and write into arrays that the caller owns. Every input array is passed read-only
(`frozen`), because Numba compiles read-only and writable arrays to two versions of a kernel: so an array in memory and
one mapped from a file run the same compiled code, and one entry in the cache serves both.

Numba is imported, and a kernel compiled or taken from the cache, when the first kernel is called: half a second that a
process without kernels does not wait.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from threading import RLock
from typing import Any, Generic, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T", bound=np.generic)

# Infinities and NaN keep their meaning: only the order of sums and the fusing of multiplications are set free.
_REORDERING = {"reassoc", "contract", "nsz"}

Integer = int | np.int64
"""A whole number inside a kernel, where there is no difference between the two."""

_lock = RLock()
_preparations: list[Callable[[], None]] = []


class Kernel(Generic[P, R]):
    """A function that Numba compiles at its first call. Other kernels call it by its name, as any function.

    Attributes:
        function: as it is written.
    """

    def __init__(self, function: Callable[P, R], **flags: Any) -> None:
        self.function = function
        self.__doc__ = function.__doc__
        self._flags = flags
        self._run: Callable[..., R] = self._first_call
        self._compiled: Any = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._run(*args, **kwargs)

    @property
    def compiled(self) -> Any:
        """Numba's function, which holds one compiled version for each set of types of its arguments."""
        if self._compiled is None:
            with _lock:
                while _preparations:
                    _preparations.pop()()
                if self._compiled is None:
                    from .compiling import compiled

                    self._compiled = compiled(self.function, self._flags)
                    self._run = self._compiled
        return self._compiled

    def __getattr__(self, name: str) -> Any:
        """Give Numba what it asks of a function that it is to inline."""
        if name in ("targetoptions", "py_func"):
            return getattr(self.compiled, name)
        raise AttributeError(name)

    @property
    def is_loaded(self) -> bool:
        """Whether it has been called, or a kernel that calls it."""
        return self._compiled is not None

    def _first_call(self, *args: Any, **kwargs: Any) -> R:
        result: R = self.compiled(*args, **kwargs)
        return result


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` at its first call: no Python objects, no GIL, no division-by-zero checks, cached on disk.

    Numba compiles anew when the file of a kernel has changed, but does not look at the files of kernels that it calls.
    So the cache is stamped with all modules of the folder: kernels that call each other live in one folder, and a stale
    cache is not used. The cache stands beside the source, or where that is read-only in the user's cache directory, or
    in NUMBA_CACHE_DIR; where none can be written, kernels work uncached.
    """
    return Kernel(function)


def inlined_kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Return `kernel` that becomes a part of its caller: a phase of a long kernel, which LLVM then optimizes once."""
    return Kernel(function, inline="always")


def reordering_kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Return `kernel`; sums of floats may be reordered, so that they use the vector unit.

    Their last bits depend on the processor: for choices that are approximate anyway, never for scores that are shown.
    """
    return Kernel(function, fastmath=_REORDERING)


def as_python(function: Callable[P, R]) -> Callable[P, R]:
    """Return a kernel as Python runs it: for a few steps in a process that has no other use for Numba."""
    return function.function if isinstance(function, Kernel) else function


def is_loaded(function: Callable[..., Any]) -> bool:
    """Return whether a kernel has been called before, and with it Numba been imported."""
    return isinstance(function, Kernel) and function.is_loaded


def load(function: Callable[..., Any]) -> None:
    """Import Numba for a kernel, so that it does its work from now on, however little that is."""
    if isinstance(function, Kernel):
        _ = function.compiled


class _Process:
    """How many steps of work this process does without kernels; none unless it says so."""

    steps = 0


def avoid_kernels(steps: int) -> None:
    """Have searches in this process do without kernels where that takes up to so many steps: postings, products.

    For a process that answers one query: it would spend its time on importing Numba.
    """
    _Process.steps = steps


def avoids_kernels(steps: int) -> bool:
    """Return whether so much work is to be done without a kernel."""
    return steps <= _Process.steps and _Process.steps > 0


def before_compiling(prepare: Callable[[], None]) -> None:
    """Have `prepare` called once, before any other kernel is compiled, or taken from the cache."""
    _preparations.append(prepare)


def need_instructions(module: str) -> None:
    """Name a module that says in LLVM's instructions what kernels call; imported before any kernel is compiled."""

    def load() -> None:
        import_module(module)

    before_compiling(load)


def frozen(array: np.ndarray[tuple[int, ...], np.dtype[T]]) -> np.ndarray[tuple[int, ...], np.dtype[T]]:
    """Return a read-only, C-contiguous view of `array` (copied only when it is not contiguous), of class `ndarray`."""
    view = np.ascontiguousarray(array).view()
    view.setflags(write=False)  # in half of the time of `flags.writeable = False`: searches call this a dozen times
    return view


def prefetch(array: NDArray[Any], at: Integer) -> None:
    """Ask, in a kernel, for the line of the cache that holds `array[at]`; a hint that reads nothing and cannot fail.

    `at` may lie outside of the array. As plain Python it does nothing.
    """


need_instructions("lexhound.index.instructions")
