"""The way from the event loop to the search threads, with room for a bounded number of waiting requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from .problems import BusyError

T = TypeVar("T")


class Gate:
    """Runs functions in `threads` threads; at most `waiting` more may wait for one. Used from the event loop only.

    A lone request goes straight to an idle thread: nothing is held back in the hope of company.
    """

    def __init__(self, threads: int, waiting: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "search")
        self._threads = threads
        self._limit = threads + waiting
        self._inside = 0

    @property
    def waiting(self) -> int:
        """How many requests wait for a thread."""
        return max(0, self._inside - self._threads)

    async def run(self, function: Callable[[], T]) -> T:
        """The result of `function`, run in a thread.

        A caller that goes away gives its place back when the thread is done, not before.

        Raises:
            BusyError: too many wait already.
        """
        if self._inside >= self._limit:
            raise BusyError("more requests wait than the service lets wait")
        self._inside += 1
        task = asyncio.get_running_loop().run_in_executor(self._pool, function)
        task.add_done_callback(self._left)
        return await asyncio.shield(task)

    def _left(self, task: asyncio.Future[T]) -> None:
        self._inside -= 1
        if not task.cancelled():
            task.exception()  # seen, even where the caller has gone away

    def close(self) -> None:
        """Wait for the functions that run."""
        self._pool.shutdown(wait=True, cancel_futures=True)
