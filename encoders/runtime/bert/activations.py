"""Activations of the feed-forward layers, as `config.json` calls them, on float32 arrays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def gelu(x: Floats) -> Floats:
    """Return x · Φ(x) (Hendrycks & Gimpel, "Gaussian Error Linear Units", 2016, section 2)."""
    from scipy.special import erf  # 50 ms that only this path has to pay

    half = np.float32(0.5)
    values: Floats = half * x * (1 + erf(x * np.float32(np.sqrt(0.5))))
    return values


def gelu_tanh(x: Floats) -> Floats:
    """Return the approximation of `gelu` by a hyperbolic tangent (the same, section 2)."""
    inner = np.float32(np.sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x * x * x)
    values: Floats = np.float32(0.5) * x * (1 + np.tanh(inner))
    return values


def relu(x: Floats) -> Floats:
    """Return x where it is above 0, else 0."""
    return np.maximum(x, np.float32(0))


ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {
    "gelu": gelu,
    "gelu_python": gelu,
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "relu": relu,
}
