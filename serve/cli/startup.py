"""A quick start for `lexhound search`, whose work takes milliseconds and whose imports take the rest."""

from __future__ import annotations

import sys


def load_numba_without_scipy() -> None:
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
