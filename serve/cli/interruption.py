"""Ctrl-C: what a command says when it is stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopped(Exception):  # noqa: N818  no error: the user wanted it
    """The user interrupted a command; `message` says what is kept, `hint` how to go on."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@contextmanager
def stoppable(tell: Callable[[], tuple[str, str]]) -> Iterator[None]:
    """Turn Ctrl-C into `Stopped` with what `tell` returns, which is asked after everything has been put in order."""
    try:
        yield
    except KeyboardInterrupt:
        message, hint = tell()
        raise Stopped(message, hint) from None
