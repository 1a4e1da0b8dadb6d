"""Which screen a head takes: one that an earlier process kept, or else one that is fitted to the first states.

Fitting takes half a second of processor time, reading what was kept some hundredths. What is kept is of the same terms,
so it is as safe; but it was fitted to other texts. Where it lets many more logits through than it did with those, one
is fitted to these and kept instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from .kept_files import keep, read_kept, version
from .screen import SAMPLES, Screen, fitted, stored_screen

LOOK = 256
"""States, of however many calls, from which on it is looked for what was kept: fewer are soon multiplied with all."""

_MOST = 8  # screens on disk
_WORSE = 2.0, 0.002  # times the share of logits that it let through, and more


class ScreenChoice:
    """A head's screen. Safe to use from several threads.

    Args:
        weight: float32[terms, width], bias: float32[terms], terms_of: as of `screen.fitted`.
        whole: the arrays that tell the terms that logits are computed of from any others.

    Attributes:
        screen: the one to take now, if any.
        settled: whether it stays.
    """

    def __init__(
        self,
        weight: NDArray[np.float32],
        bias: NDArray[np.float32],
        terms_of: Callable[[slice], NDArray[np.float32]],
        whole: Callable[[], Sequence[NDArray[Any]]],
    ) -> None:
        self.screen: Screen | None = None
        self.settled = False
        self._terms = weight, bias, terms_of
        self._whole = whole
        self._name: str | None = None
        self._samples: list[NDArray[np.float32]] = []
        self._bounded = self._above = 0
        self._lock = Lock()

    def see(self, states: NDArray[np.float32]) -> None:
        """Take note of float32[n, width], which are to be screened now."""
        if self.settled:
            return
        with self._lock:
            if not self.settled:
                self._see(states)

    def _see(self, states: NDArray[np.float32]) -> None:
        known = sum(map(len, self._samples))
        if known < SAMPLES[1]:
            self._samples.append(states[: SAMPLES[1] - known].copy())
            known += len(self._samples[-1])
        if self._name is None and known >= min(LOOK, SAMPLES[0]):
            self._name = self._file_name()
            self.screen = stored_screen(read_kept(self._name))
        if self.screen is not None:  # on probation
            if self._bounded < SAMPLES[0] * len(self._terms[0]):
                return
            times, more = _WORSE
            if self._above <= self._bounded * (times * self.screen.share + more):
                self._settle()
                return
        if known < SAMPLES[0]:
            return
        with threadpool_limits(1, "blas"):  # whose threads wait for each other in a loop
            self.screen = fitted(np.concatenate(self._samples), *self._terms)
        if self.screen is not None and self._name is not None:
            keep(self._name, self.screen.stored(), "screen-*.npz", _MOST)
        self._settle()

    def _settle(self) -> None:
        self._samples.clear()
        self.settled = True

    def count(self, pairs: int, above: int) -> None:
        """Take note of how many pairs of a state and a term were bounded, and how many bounds were above 0, -1 for
        too many.
        """
        if self.settled:
            return
        with self._lock:
            self._bounded += pairs
            self._above += pairs if above < 0 else above

    def _file_name(self) -> str:
        digest = hashlib.sha256()
        for array in self._whole():
            digest.update(repr((array.dtype.str, array.shape)).encode())
            digest.update(np.ascontiguousarray(array).data)
        return f"screen-{digest.hexdigest()[:32]}-{version()}.npz"
