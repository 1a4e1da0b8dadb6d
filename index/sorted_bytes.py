"""Texts in ascending order, as bytes one behind the other, and where those with one beginning stand."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

import numpy as np
from numpy.typing import NDArray

from lexhound.index.jit import Integer, avoids_kernels, frozen, kernel

# Texts that are looked at for one answer, about.
_STEPS = 64


def find_beginning(data: NDArray[np.uint8], ends: NDArray[np.uint64], wanted: bytes) -> tuple[int, int]:
    """Return the first of the texts that begin with `wanted`, and the end of them; two binary searches.

    data: uint8, the texts; ends: uint64[n], where each ends. Of the texts and `wanted`, none may be the beginning of
    `wanted` without being all of it: then texts compare with it by as many bytes as it has.
    """
    if avoids_kernels(_STEPS):
        return _find_plain(data, ends, wanted)
    first, stop = run_of_beginning(data, ends, frozen(np.frombuffer(wanted, np.uint8)))
    return int(first), int(stop)


def _find_plain(data: NDArray[np.uint8], ends: NDArray[np.uint64], wanted: bytes) -> tuple[int, int]:
    """Return what `run_of_beginning` does."""

    def at(row: int) -> bytes:
        start = int(ends[row - 1]) if row else 0
        return data[start : start + len(wanted)].tobytes()

    first = bisect_left(range(len(ends)), wanted, key=at)
    return first, bisect_right(range(len(ends)), wanted, lo=first, key=at)


@kernel
def run_of_beginning(
    data: NDArray[np.uint8], ends: NDArray[np.uint64], wanted: NDArray[np.uint8]
) -> tuple[Integer, Integer]:
    """Return the first of the texts that begin with `wanted`, uint8[w], and the end of them.

    Wherever damaged ends may lead, nothing outside of `data` is read.
    """
    low: Integer = np.int64(0)
    high: Integer = np.int64(len(ends))
    while low < high:
        middle = (low + high) >> 1
        if compare_beginning(data, ends, middle, wanted) < 0:
            low = middle + 1
        else:
            high = middle
    first = low
    high = np.int64(len(ends))
    while low < high:
        middle = (low + high) >> 1
        if compare_beginning(data, ends, middle, wanted) <= 0:
            low = middle + 1
        else:
            high = middle
    return first, low


@kernel
def compare_beginning(
    data: NDArray[np.uint8], ends: NDArray[np.uint64], row: Integer, wanted: NDArray[np.uint8]
) -> Integer:
    """Return less than 0, 0 or more: how the first bytes of a text compare with as many as are wanted."""
    start = np.int64(ends[row - 1]) if row > 0 else 0
    for i in range(len(wanted)):
        if not 0 <= start + i < len(data):
            return np.int64(-1)
        difference = np.int64(data[start + i]) - np.int64(wanted[i])
        if difference != 0:
            return difference
    return np.int64(0)
