"""Telling that something is compiled, which takes seconds and happens once a machine."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TypeAlias

Listener: TypeAlias = Callable[[str, int], None]
"""Told what is being compiled, in the plural, and how many seconds that usually takes."""

_listeners: list[Listener] = []
_told: set[str] = set()
_lock = Lock()


def on_compiling(listener: Listener) -> None:
    """Have `listener` told from now on, once of each kind of thing, when compiling it begins."""
    with _lock:
        _listeners[:] = [listener]
        _told.clear()


def compiling(what: str, seconds: int) -> None:
    """Tell that `what` is not in the cache and is being compiled; for whoever compiles."""
    with _lock:
        is_new = what not in _told
        _told.add(what)
        listeners = tuple(_listeners) if is_new else ()
    for listener in listeners:
        listener(what, seconds)
