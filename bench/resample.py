"""More vectors than were encoded: points between a real vector and one of its real neighbours, and a little noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_NEIGHBOURS = 16
_CHUNK = 4096
_MANY = 50_000  # from here on comparing all pairs takes minutes


def resampled(base: NDArray[np.float32], count: int, *, seed: int = 0) -> NDArray[np.float32]:
    """`count` unit vectors: the real ones first (float32[m, d], unit), then made-up ones.

    A made-up one lies at a random place (0 to 1) between a random real vector and one of its 16 nearest, plus normal
    noise of a fifth of their distance in all, and is normalised. Among many vectors the nearest are looked for with an
    inverted file, which misses a few. So it keeps the large structure of the real
    collection, and the neighbourhoods are denser and smoother than those of real texts would be.
    """
    draw = np.random.default_rng(seed)
    if count <= len(base):
        return base[:count]
    near = _neighbours(base)
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


def _neighbours(base: NDArray[np.float32]) -> NDArray[np.int64]:
    """For each vector 16 of its nearest, int64[m, 16]."""
    near = np.empty((len(base), _NEIGHBOURS), np.int64)
    if len(base) > _MANY:
        import faiss

        d = base.shape[1]
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(d), d, int(2 * np.sqrt(len(base))), faiss.METRIC_INNER_PRODUCT)
        index.train(base[:: max(1, len(base) // 40_000)])
        index.add(base)
        index.nprobe = 16
        for start in range(0, len(base), _CHUNK):
            found = index.search(base[start : start + _CHUNK], _NEIGHBOURS + 1)[1]
            own = start + np.arange(len(found))[:, None]
            # Itself comes first as a rule; a copy of it may, and then the last is left out.
            order = np.argsort(found == own, axis=1, kind="stable")[:, :_NEIGHBOURS]
            found = np.take_along_axis(found, order, axis=1)
            near[start : start + _CHUNK] = np.where(found < 0, own, found)
        return near
    for start in range(0, len(base), _CHUNK):
        scores = base[start : start + _CHUNK] @ base.T
        scores[np.arange(len(scores)), start + np.arange(len(scores))] = -np.inf
        near[start : start + _CHUNK] = np.argpartition(scores, -_NEIGHBOURS, axis=1)[:, -_NEIGHBOURS:]
    return near
