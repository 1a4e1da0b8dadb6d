"""A random rotation of vectors, after which every value says about as much as any other.

Sign codes need that: they keep one bit a value. A rotation keeps inner products and distances. This one is fast: rounds
of sign flips and Walsh-Hadamard transforms of the first and of the last 2**k values in turn, with 2**k the greatest
power of two that fits (after Ailon and Chazelle, "The fast Johnson-Lindenstrauss transform", SIAM J. Comput. 2009;
RaBitQ's authors rotate so, too). It takes n log n steps and no memory but the flips, and is the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lexhound.index.jit import frozen, kernel

_ROUNDS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Rotation:
    """The rotation of vectors of `dimension` values that follows from a seed."""

    dimension: int
    seed: int
    flips: NDArray[np.float32] = field(init=False, repr=False)
    """float32[rounds, dimension], each 1 or -1."""

    def __post_init__(self) -> None:
        draw = np.random.default_rng([self.seed, self.dimension])
        flips = 2 * draw.integers(0, 2, (_ROUNDS, self.dimension)) - 1
        object.__setattr__(self, "flips", frozen(flips.astype(np.float32)))

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.flips.nbytes

    def rotated(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return float32[n, dimension], rotated, in new memory. Values of `vectors` past `dimension` are left out."""
        turned = np.array(vectors[:, : self.dimension], np.float32, order="C")
        rotate(self.flips, turned)
        return turned


@kernel
def rotate(flips: NDArray[np.float32], vectors: NDArray[np.float32]) -> None:
    """Rotate float32[n, d] in place."""
    d = vectors.shape[1]
    size = 1
    while 2 * size <= d:
        size *= 2
    shrink = np.float32(1.0 / np.sqrt(np.float64(size)))
    for i in range(len(vectors)):
        for turn in range(len(flips)):
            vector, flip = vectors[i], flips[turn]
            for j in range(d):
                vector[j] *= flip[j]
            begin = 0 if turn % 2 == 0 else d - size
            part = vector[begin : begin + size]
            half = _transform_by_eights(part)
            while half < size:
                for start in range(0, size, 2 * half):
                    first, second = part[start : start + half], part[start + half : start + 2 * half]
                    for j in range(half):
                        one, other = first[j], second[j]
                        first[j], second[j] = one + other, one - other
                half *= 2
            for j in range(size):
                part[j] *= shrink


@kernel
def _transform_by_eights(values: NDArray[np.float32]) -> int:
    """Do the first three steps of a transform of 2**k values, eight at a time; returns how far that came: 1 or 8."""
    if len(values) < 8:
        return 1
    for start in range(0, len(values), 8):
        v = values[start : start + 8]
        a, b, c, e = v[0] + v[1], v[0] - v[1], v[2] + v[3], v[2] - v[3]
        f, g, h, o = v[4] + v[5], v[4] - v[5], v[6] + v[7], v[6] - v[7]
        a, b, c, e = a + c, b + e, a - c, b - e
        f, g, h, o = f + h, g + o, f - h, g - o
        v[0], v[1], v[2], v[3] = a + f, b + g, c + h, e + o
        v[4], v[5], v[6], v[7] = a - f, b - g, c - h, e - o
    return 8
