"""More vectors than were encoded: points between a real vector and one of its real neighbours, and a little noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_NEIGHBOURS = 16
_CHUNK = 4096


def resampled(base: NDArray[np.float32], count: int, *, seed: int = 0) -> NDArray[np.float32]:
    """`count` unit vectors: the real ones first (float32[m, d], unit), then made-up ones.

    A made-up one lies at a random place (0 to 1) between a random real vector and one of its 16 nearest, plus normal
    noise of a fifth of their distance in all, and is normalised. So it keeps the large structure of the real
    collection, and the neighbourhoods are denser and smoother than those of real texts would be.
    """
    draw = np.random.default_rng(seed)
    if count <= len(base):
        return base[:count]
    near = np.empty((len(base), _NEIGHBOURS), np.int64)
    for start in range(0, len(base), _CHUNK):
        scores = base[start : start + _CHUNK] @ base.T
        scores[np.arange(len(scores)), start + np.arange(len(scores))] = -np.inf
        near[start : start + _CHUNK] = np.argpartition(scores, -_NEIGHBOURS, axis=1)[:, -_NEIGHBOURS:]
    made = np.empty((count, base.shape[1]), np.float32)
    made[: len(base)] = base
    for start in range(len(base), count, _CHUNK):
        size = min(_CHUNK, count - start)
        one = draw.integers(0, len(base), size)
        other = near[one, draw.integers(0, _NEIGHBOURS, size)]
        towards = base[other] - base[one]
        noise = draw.standard_normal((size, base.shape[1]), np.float32)
        noise *= 0.2 * np.linalg.norm(towards, axis=1, keepdims=True) / np.sqrt(base.shape[1])
        new = base[one] + draw.random((size, 1), np.float32) * towards + noise
        made[start : start + size] = new / np.linalg.norm(new, axis=1, keepdims=True)
    return made
