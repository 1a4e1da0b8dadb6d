"""The way from the event loop to the search threads, with room for a bounded number of waiting requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypeAlias, TypeVar

from starlette.requests import ClientDisconnect, Request

from lexhound.retrieval.deadline import Deadline, within

from .exceptions import BusyError

T = TypeVar("T")

Pool: TypeAlias = Literal["search", "filter", "wide"]

STUCK_SECONDS = 5.0
"""How long all search threads may be busy with the same requests before the service says that it is not ready."""
# Work that takes longer has somebody look whether its caller is still there.
_LONG_SECONDS = 0.05


class AdmissionControl:
    """Threads that run functions; a bounded number may wait for one. Used from the event loop only.

    A lone request goes straight to an idle thread: nothing is held back in the hope of company. There are three pools,
    so that what takes long waits for its like and not in the way of others: plain searches; filters that have not been
    asked before; and what is wide: batches, large pages, facets.
    """

    def __init__(self, threads: int, waiting: int, seconds: float | None = None) -> None:
        self._seconds = seconds
        self._pools: dict[Pool, _Pool] = {
            "search": _Pool("search", threads, waiting),
            "filter": _Pool("filter", 1, waiting),
            "wide": _Pool("wide", max(1, threads - 1), waiting),
        }

    @property
    def waiting(self) -> int:
        """How many requests wait for a thread."""
        return sum(pool.waiting for pool in self._pools.values())

    @property
    def is_stuck(self) -> bool:
        """Whether no search can be answered: all threads for plain ones have been busy for long."""
        return self._pools["search"].is_stuck

    def deadline(self) -> Deadline:
        """Return when what a request asks for is to be given up, if it begins now."""
        return Deadline(self._seconds)

    async def run(
        self,
        function: Callable[[], T],
        *,
        request: Request | None = None,
        pool: Pool = "search",
        deadline: Deadline | None = None,
    ) -> T:
        """Return the result of `function`, run in a thread of a pool.

        A place is given back when the thread is done, not before. The work ends early where it looks at its deadline
        (`retrieval.deadline`), and when the client of `request` goes away.

        Raises:
            BusyError: too many wait already. DeadlineError: it was given up. ClientDisconnect: nobody waits for it.
        """
        deadline = deadline or self.deadline()
        task = self._pools[pool].start(function, deadline)
        remaining = deadline.remaining
        quick = _LONG_SECONDS if remaining is None else min(_LONG_SECONDS, remaining)
        done, _ = await asyncio.wait([task], timeout=quick)
        if done:
            return task.result()
        disconnect = None if request is None else asyncio.ensure_future(_disconnected(request))
        try:
            waited_for: list[asyncio.Future[T] | asyncio.Task[None]] = (
                [task] if disconnect is None else [task, disconnect]
            )
            await asyncio.wait(waited_for, timeout=deadline.remaining, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if disconnect is not None:
                disconnect.cancel()
            if not task.done():
                deadline.cancel()
        if task.done():
            return task.result()
        if disconnect is not None and disconnect.done():
            raise ClientDisconnect
        raise deadline.over()

    def close(self) -> None:
        """Wait for the functions that run."""
        for pool in self._pools.values():
            pool.close()


class _Pool:
    def __init__(self, name: str, threads: int, waiting: int) -> None:
        self._executor = ThreadPoolExecutor(threads, name)
        self._threads = threads
        self._limit = threads + waiting
        self._inside = 0
        self._moved = time.monotonic()  # when a function began or ended the last time

    @property
    def waiting(self) -> int:
        return max(0, self._inside - self._threads)

    @property
    def is_stuck(self) -> bool:
        return self._inside >= self._threads and time.monotonic() - self._moved > STUCK_SECONDS

    def start(self, function: Callable[[], T], deadline: Deadline) -> asyncio.Future[T]:
        if self._inside >= self._limit:
            raise BusyError("more requests wait than the service lets wait")

        def work() -> T:
            self._moved = time.monotonic()
            with within(deadline):
                return function()

        self._inside += 1
        task = asyncio.get_running_loop().run_in_executor(self._executor, work)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Future[T]) -> None:
        self._inside -= 1
        self._moved = time.monotonic()
        if not task.cancelled():
            task.exception()  # seen, even where the caller has gone away

    def close(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)


async def _disconnected(request: Request) -> None:
    """Return when the client has gone away; the body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
