"""When a piece of work is to be given up: because its time is over, or because nobody waits for it any more.

Whoever asks for work sets a deadline for the thread that does it (`within`); loops whose length a request decides look
at it (`check_deadline`). Without one, work takes as long as it takes.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from lexhound.retrieval.errors import DeadlineError


class Deadline:
    """A moment, `seconds` from now (None: never), or earlier if it is cancelled. Safe to share between threads."""

    def __init__(self, seconds: float | None = None) -> None:
        self.seconds = seconds
        self._end = None if seconds is None else time.monotonic() + seconds
        self._cancelled = False

    @property
    def remaining(self) -> float | None:
        """Seconds that are left, at least 0; None for no end."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def cancel(self) -> None:
        """Say that nobody waits for the work any more."""
        self._cancelled = True

    @property
    def is_over(self) -> bool:
        """Whether the work is to be given up."""
        return self._cancelled or self.remaining == 0.0

    def check(self) -> None:
        """Go on, or raise DeadlineError."""
        if self.is_over:
            raise self.over()

    def over(self) -> DeadlineError:
        """Return what work that is given up ends with."""
        if self.remaining != 0.0:
            return DeadlineError("nobody waits for the answer any more")
        return DeadlineError(
            f"the request was given up after {self.seconds:g} seconds",
            hint="ask for less at a time: fewer hits, a shorter filter, fewer queries",
        )


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


@contextmanager
def within(deadline: Deadline) -> Iterator[None]:
    """Let the work of a block, in this thread, end by a deadline."""
    token = _current.set(deadline)
    try:
        deadline.check()
        yield
    finally:
        _current.reset(token)


def current_deadline() -> Deadline | None:
    """Return the deadline of the work that this thread does, if it has one."""
    return _current.get()


def check_deadline() -> None:
    """Raise DeadlineError where the work that this thread does is to be given up."""
    deadline = _current.get()
    if deadline is not None:
        deadline.check()


# Instructions of SQLite's between two looks at the deadline; some milliseconds.
_INSTRUCTIONS = 50_000


@contextmanager
def interrupting(connection: sqlite3.Connection) -> Iterator[None]:
    """Let statements that this thread runs on a connection in the block end by its deadline.

    Raises:
        DeadlineError: they did.
    """
    deadline = _current.get()
    if deadline is None:
        yield
        return
    connection.set_progress_handler(lambda: deadline.is_over, _INSTRUCTIONS)
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            raise deadline.over() from error
        raise
    finally:
        connection.set_progress_handler(None, 0)
