"""Inner products of 8-bit codes with a query of 16-bit integers: sums of integers, exact in any order.

AVX2 multiplies and adds sixteen pairs of 16-bit integers an instruction (`vpmaddwd`), and sixteen codes are widened to
such integers by another. The compiler does not find this by itself: the loop in Python takes longer than one over
float32, these instructions half of that. Other processors run the loop, to the same sums.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexhound.index.jit import Integer, kernel, need_instructions

_GREATEST = (1 << 15) - 1

need_instructions("lexhound.index.spann.int8_instructions")


@kernel
def coded(query: NDArray[np.float32], codes: NDArray[np.int16]) -> float:
    """Write a query as integers and return what an integer of 1 stands for. query: float32[d]; codes: int16[d].

    No sum of products with 8-bit codes leaves 32 bits: with S the sum of the absolute values and f at most
    (2**24 - 1 - d) / S, the integers' absolute values sum to at most S x f + d / 2 < 2**24, times 128 below 2**31.
    """
    most, total = 0.0, 0.0
    for j in range(len(query)):
        most = max(most, abs(np.float64(query[j])))
        total += abs(np.float64(query[j]))
    if most == 0:
        codes[:] = 0
        return 1.0
    factor = min(_GREATEST / most, ((1 << 24) - 1 - len(query)) / total)
    for j in range(len(query)):
        codes[j] = np.int16(np.rint(np.float64(query[j]) * factor))
    return 1.0 / factor


def product(codes: NDArray[np.int8], at: Integer, query: NDArray[np.int16], start: Integer, stop: Integer) -> Integer:
    """Return the sum of `codes[at + j] * query[j]` over j from `start` to `stop`, for kernels; `coded` bounds its size.

    A place in a flat array and not a slice of it: Numba would count the users of each slice, which takes longer than
    the product.
    """
    return int(codes[at + start : at + stop].astype(np.int64) @ query[start:stop].astype(np.int64))


@kernel
def narrow_product(
    codes: NDArray[np.int8], at: Integer, query: NDArray[np.int16], start: Integer, stop: Integer
) -> Integer:
    """Return `product` by a loop."""
    total = np.int32(0)
    for j in range(start, stop):
        total = np.int32(total + np.int32(np.int32(codes[at + j]) * np.int32(query[j])))
    return np.int64(total)
