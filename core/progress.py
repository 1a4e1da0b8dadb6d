"""How far long work is: what library functions tell to whoever waits for them.

Functions that may take long have an argument `progress`, which is called with a `Step` at the beginning of each stage,
at most some ten times a second within it, and at its end. An exception that it raises ends the work as Ctrl-C does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic
from typing import TypeAlias

BYTES = "bytes"

_SECONDS = 0.1  # between two calls


@dataclass(frozen=True, slots=True)
class Step:
    """How far a stage is.

    Attributes:
        stage: what is being done, in a word or two.
        done: how many `unit` so far; total: of how many, None where that is not known.
    """

    stage: str
    done: int = 0
    total: int | None = None
    unit: str = "documents"

    @property
    def fraction(self) -> float | None:
        """The share that is done, from 0 to 1; None where the end is not known."""
        return min(self.done / self.total, 1.0) if self.total else None


OnStep: TypeAlias = Callable[[Step], None]
"""Told how far work is."""

Pace: TypeAlias = Callable[[int], None]
"""Called between two pieces of long work with the size of the piece that was done, to count it, to sleep, or, by an
exception of its own, to end the work."""


def no_pace(size: int) -> None:
    """Go on at once."""


class Stage:
    """A stage that is counted while it goes on.

    Args:
        progress: told of it; None where nobody listens.
        name, total, unit: see `Step`.
    """

    def __init__(
        self,
        progress: OnStep | None,
        name: str,
        total: int | None = None,
        unit: str = "documents",
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._progress = progress
        self._step = Step(name, 0, total, unit)
        self._clock = clock
        self._told = clock()
        if progress is not None:
            progress(self._step)

    def add(self, size: int = 1) -> None:
        """Count a piece that is done; a `Pace`."""
        if self._progress is None:
            return
        self._step = replace(self._step, done=self._step.done + size)
        now = self._clock()
        if self._step.done == self._step.total or now - self._told >= _SECONDS:
            self._told = now
            self._progress(self._step)

    def reach(self, done: int) -> None:
        """Count up to so many, where pieces were larger or smaller than was foreseen."""
        self.add(done - self._step.done)
