"""Activations over logits, on NumPy: the twins of `lexhound.encoders.runtime.pooling.activate`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def activated(logits: NDArray[np.float32], activation: str) -> NDArray[np.float32]:
    """Apply one of `lexhound.encoders.runtime.pooling.ACTIVATIONS`; that module tells their sources."""
    positive = np.maximum(logits, np.float32(0))
    if activation == "relu":
        return positive
    if activation == "log1p_relu":
        return np.log1p(positive)
    if activation == "log1p_log1p_relu":
        return np.log1p(np.log1p(positive))
    return np.sqrt(positive)
