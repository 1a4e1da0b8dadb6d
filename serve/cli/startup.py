"""A quick start for `lexhound search`, whose work takes milliseconds and whose getting ready takes the rest."""

from __future__ import annotations

import os
import sys

# Reading so many postings, or adding so many products, takes about as long as importing Numba and loading the kernels.
_PLAIN_STEPS = 20_000_000


def prepare_one_search() -> None:
    """Have this process, which answers one query, do without Numba; or load it quickly where that is too much."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy would start more, which takes longer than all it does
    from lexhound.index.jit import avoid_kernels

    avoid_kernels(_PLAIN_STEPS)
    prepare_searches()


def prepare_searches() -> None:
    """Have Numba load quickly in this process, if it is needed."""
    from lexhound.index.jit import before_compiling

    before_compiling(_load_numba_without_scipy)


def _load_numba_without_scipy() -> None:
    """Load Numba's array support without `scipy.linalg`, which it looks for to know whether there is a BLAS.

    That costs a quarter of a second, and none of our kernels multiplies matrices. Only for a process of our own: in it
    Numba computes inner products without a BLAS. SciPy itself stays importable.
    """
    if "numba" in sys.modules or "scipy.linalg" in sys.modules:
        return
    sys.modules["scipy.linalg"] = None  # type: ignore[assignment]  # an import of it now raises ImportError
    try:
        import numba.np.arraymath  # noqa: F401
    finally:
        del sys.modules["scipy.linalg"]
