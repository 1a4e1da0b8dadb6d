"""Telling how far long work is: a bar on a terminal, lines otherwise, both on standard error."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from threading import Event, Lock, Thread
from time import monotonic
from types import TracebackType
from typing import Any, Protocol, Self

from lexhound.core.progress import BYTES, OnStep, Step

from .output import is_terminal, tell

_WINDOW = 30.0  # seconds of the past that rates are of


@dataclass(frozen=True, slots=True)
class State:
    """How far the work is.

    Attributes:
        stage: what is being done, in a word or two.
        done: how many `unit` so far, of which `before` had been done by an earlier attempt.
        fraction: of the stage, from 0 to 1; None where the end is not known.
        tokens: read by an encoder's model, in this attempt.
    """

    stage: str
    done: int = 0
    before: int = 0
    fraction: float | None = None
    unit: str = "documents"
    tokens: int | None = None


def show(update: Callable[[State], None]) -> OnStep:
    """Return what shows the steps that library functions tell."""

    return lambda step: update(state_of(step))


def state_of(step: Step) -> State:
    """Return what a reporter shows of a step."""
    done, unit = (step.done >> 20, "MiB") if step.unit == BYTES else (step.done, step.unit)
    return State(step.stage, done, fraction=step.fraction, unit=unit)


class Estimate:
    """Rate and remaining time, from the states of the last half minute: what is slow at first counts no longer then."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._stage = ""
        self._seen: deque[tuple[float, State]] = deque([(clock(), State(""))])

    def describe(self, state: State) -> str:
        """Return `12,288 documents, 8,192/s, 34 %, 1 min 5 s left`, as far as each is known."""
        now = self._clock()
        # What came before this stage, or was done by an earlier attempt, took none of the time counted here.
        if (state.stage != self._stage and (self._stage or not state.done)) or state.before != self._seen[-1][1].before:
            self._seen = deque([(now, state)])
        self._stage = state.stage
        since, first = self._seen[0]
        parts = [f"{state.done:,} {state.unit}"] if state.done else []
        seconds, gained = now - since, state.done - first.done
        if gained > 0 and seconds > 0:
            parts.append(rate(gained, seconds))
        read = (state.tokens or 0) - (first.tokens or 0)
        if read > 0 and seconds > 0:
            parts.append(f"{rate(read, seconds).removesuffix('/s')} tokens/s")
        if state.fraction is not None:
            parts.append(f"{state.fraction:.0%}")
            progress = state.fraction - (first.fraction or 0.0)
            if progress > 0 and state.fraction < 1 and seconds > 0:
                parts.append(f"{duration((1 - state.fraction) * seconds / progress)} left")
        self._remember(now, state)
        return ", ".join(parts)

    def _remember(self, now: float, state: State) -> None:
        """Keep a state a second, and of those that are older than the window the latest."""
        if now - self._seen[-1][0] >= 1 and state != self._seen[-1][1]:
            self._seen.append((now, state))
        while len(self._seen) > 1 and now - self._seen[1][0] >= _WINDOW:
            self._seen.popleft()


class Reporter(Protocol):
    """What commands tell their progress to."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def update(self, state: State) -> None:
        """Take note of a new state."""
        ...


def reporter(stage: str) -> Reporter:
    """Return the reporter for this process's standard error; `stage` is what it shows at first."""
    return Bar(stage) if is_terminal(sys.stderr) else Lines(stage)


class Bar:
    """A bar with figures and the time passed, redrawn by rich."""

    def __init__(self, stage: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._estimate = Estimate()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}", markup=False),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
            refresh_per_second=5,
        )
        self._task: Any = self._progress.add_task(stage, total=None, figures="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def update(self, state: State) -> None:
        total = None if state.fraction is None else 1.0
        figures = self._estimate.describe(state)
        self._progress.update(
            self._task,
            description=state.stage,
            total=total,
            completed=state.fraction or 0.0,
            figures=figures,
            refresh=True,
        )


class Lines:
    """A line every 15 seconds in the first minute and then one a minute, whether or not anything has been told.

    Args:
        clock: says the time in seconds.
        write: takes a line.
        wait: waits so many seconds, or less if the work is done; returns whether it is.
    """

    def __init__(
        self,
        stage: str,
        *,
        clock: Callable[[], float] = monotonic,
        write: Callable[[str], None] = tell,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._clock = clock
        self._write = write
        self._started = clock()
        self._state = State(stage)
        self._estimate = Estimate(clock)
        self._done = Event()
        self._wait = wait or self._done.wait
        self._lock = Lock()
        self._thread = Thread(target=self._beat, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def update(self, state: State) -> None:
        with self._lock:
            self._estimate.describe(state)  # so that a stage's first state counts, whenever the next line is due
            self._state = state

    def line(self) -> str:
        """Return the line that is due."""
        passed = duration(self._clock() - self._started)
        with self._lock:
            state, figures = self._state, self._estimate.describe(self._state)
        return f"{state.stage}: {figures}, after {passed}" if figures else f"{state.stage}, after {passed}"

    def _beat(self) -> None:
        for seconds in seconds_between_lines():
            if self._wait(seconds):
                return
            self._write(self.line())


def seconds_between_lines() -> Iterator[float]:
    """Return how long to wait for each line after the one before, without end."""
    return chain(repeat(15.0, 4), repeat(60.0))


def rate(number: int, seconds: float) -> str:
    """Return how many a second: `8,192/s`, `0.4/s`."""
    value = number / seconds
    return f"{value:,.0f}/s" if value >= 10 else f"{value:.1f}/s"


def counted(number: int, noun: str = "document") -> str:
    """Return `1 document`, `1,400 documents`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def duration(seconds: float) -> str:
    """Return a time span for people: `0.84 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    minutes, seconds_left = divmod(rounded, 60)
    if minutes < 60:
        return f"{minutes} min {seconds_left} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
