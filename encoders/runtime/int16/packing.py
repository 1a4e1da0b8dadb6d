"""Weights as the kernels read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .kernels import Packed
from .rows import COLUMN_NORM
from .tiles import COLUMNS, ROWS

BAND = 2048
"""Terms that are brought into another form together, so that little memory is needed beside what comes out."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def rounded_rows(values: NDArray[np.float32], norm: float) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """Return int16[rows, width] and float32[rows] such that values = integers · scales, of that norm at most."""
    norms = np.maximum(np.linalg.norm(values, axis=1), 1e-30)
    scales = np.minimum(norm / norms, 32_767 / np.maximum(np.abs(values).max(axis=1, initial=0), 1e-30))
    with np.errstate(invalid="ignore"):  # a damaged model's NaN become any number, as they do in the kernels
        integers = np.rint(values * scales[:, None].astype(np.float32)).astype(np.int16)
    return integers, (1 / scales).astype(np.float32)


def packed(weight: NDArray[np.float32], bias: NDArray[np.float32] | None) -> Packed:
    """Return a linear layer's float32[terms, width] in integers: what `kernels.added` takes as columns.

    Args:
        weight: of an even width.

    Returns:
        int16[panels, width / 2, COLUMNS, 2]: terms in panels of COLUMNS, in which two values of each term follow each
        other; scales and bias, float32[panels · COLUMNS], 0 where there is no term.
    """
    terms, width = weight.shape
    integers = np.empty((terms, width), dtype=np.int16)
    scales = np.zeros(-(-terms // COLUMNS) * COLUMNS, dtype=np.float32)
    biases = np.zeros(len(scales), dtype=np.float32)
    for start in range(0, terms, BAND):
        band = slice(start, min(start + BAND, terms))
        integers[band], scales[band] = rounded_rows(weight[band], COLUMN_NORM)
    if bias is not None:
        biases[:terms] = bias
    return paired(integers), scales, biases


def paired(integers: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return int16[terms, width] in panels, as `packed` does."""
    terms, width = integers.shape
    panels = -(-terms // COLUMNS)
    pairs = np.zeros((panels, width // 2, COLUMNS, 2), dtype=np.int16)
    full = terms // COLUMNS
    by_term = integers[: full * COLUMNS].reshape(full, COLUMNS, width // 2, 2)
    pairs[:full] = by_term.transpose(0, 2, 1, 3)
    if full < panels:
        rest = integers[full * COLUMNS :].reshape(-1, width // 2, 2)
        pairs[full, :, : len(rest)] = rest.transpose(1, 0, 2)
    return pairs


def unpacked(linear: Packed) -> NDArray[np.float32]:
    """Return float32[panels · COLUMNS, width], the weights that products of a packed layer are of."""
    integers, scales, _ = linear
    rows = integers.transpose(0, 2, 1, 3).reshape(len(scales), -1)
    weights: NDArray[np.float32] = rows * scales[:, None]
    return weights


def filled(rows: int) -> int:
    """Return `rows`, up to a multiple of what a tile takes."""
    return -(-rows // ROWS) * ROWS


def in_turn(work: Callable[[Item], Result], items: Sequence[Item], threads: int) -> Iterator[Result]:
    """Yield what `work` makes of each item, in their order, by that many threads."""
    if min(threads, len(items)) <= 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(min(threads, len(items))) as pool:
        yield from pool.map(work, items)
