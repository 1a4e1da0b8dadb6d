"""Memory that the layers' kernel works in, kept from one chunk to the next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .kernels import Shape, address
from .tiles import COLUMNS

_BLOCK = 60  # rows that go through the feed-forward products together: what they make stays in the second-level cache
_BEYOND = 24  # rows that a tile may write beyond the last text, at most
_LINE = 64  # bytes of a line of the cache


@dataclass(frozen=True, slots=True)
class Work:
    """Places for up to `rows` rows, of texts of up to `longest` tokens.

    Attributes:
        table: int64, the places' addresses, as `transformer_kernel.WORK` names them.
        room, block: rows of `states` and `mixed`, and of `wide` and its kin.
    """

    rows: int
    longest: int
    room: int
    block: int
    table: NDArray[np.int64]
    memory: NDArray[np.uint8]


class WorkPlaces:
    """Hands out memory for chunks, one at a time to each thread that asks."""

    def __init__(self) -> None:
        self._free: list[Work] = []
        self._lock = Lock()

    @contextmanager
    def borrowed(self, rows: int, longest: int, shape: Shape) -> Iterator[Work]:
        """Yield places for so many rows and so long a text; what stands in them is arbitrary."""
        with self._lock:
            work = next((each for each in self._free if each.rows >= rows and each.longest >= longest), None)
            if work is None:
                self._free.clear()  # too small, so they would not be asked for again
            else:
                self._free.remove(work)
        work = _new(rows, longest, shape) if work is None else work
        try:
            yield work
        finally:
            with self._lock:
                self._free.append(work)


def _new(rows: int, longest: int, shape: Shape) -> Work:
    width, inner, head = (panels * COLUMNS for panels in shape[:3])
    block, room, keys = min(_BLOCK, rows), rows + _BEYOND, -(-longest // COLUMNS) * COLUMNS
    sizes = (
        2 * rows * width, 4 * rows, 12 * room * width, 4 * keys * head, 4 * keys * _BEYOND, 4 * room * width,
        4 * block * inner, 2 * block * inner, 4 * block * COLUMNS,
    )  # fmt: skip
    starts = np.cumsum([0, *(-(-size // _LINE) * _LINE + _LINE for size in sizes)])
    memory = np.zeros(starts[-1] + _LINE, dtype=np.uint8)
    first = -address(memory) % _LINE
    table: Any = address(memory) + first + starts[:-1]
    return Work(rows, longest, room, block, table.astype(np.int64), memory)
