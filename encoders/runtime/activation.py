"""Activations over logits, on NumPy: the twins of `lexhound.encoders.runtime.pooling.activate`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def activated(logits: NDArray[np.float32], activation: str) -> NDArray[np.float32]:
    """Apply one of `lexhound.encoders.runtime.pooling.ACTIVATIONS`; that module tells their sources.

    Logarithms are taken in float64: NumPy's differ in the last bit from processor to processor, and rounded to
    float32 no longer do.
    """
    positive = np.maximum(logits, np.float32(0))
    if activation == "relu":
        return positive
    if activation == "log1p_relu":
        return np.log1p(positive.astype(np.float64)).astype(np.float32)
    if activation == "log1p_log1p_relu":
        return np.log1p(np.log1p(positive.astype(np.float64))).astype(np.float32)
    return np.sqrt(positive)
