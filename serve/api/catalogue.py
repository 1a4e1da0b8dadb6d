"""The collections that the service has open: found by name, refreshed as they change, created and deleted."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ...encoders.lexical import LexicalSettings
from ...encoders.settings import LearnedSettings
from ...retrieval.collection import Collection
from ...retrieval.errors import RetrievalError
from ..settings import Settings
from .metrics import Metrics
from .names import DataFolder
from .problems import ConflictError, UnknownNameError
from .signals import RefreshSignal
from .writing import WriteQueue

T = TypeVar("T")

_log = logging.getLogger("lexhound.serve")


@dataclass(slots=True, eq=False)
class Served:
    """One open collection: a reader that requests share, and the queue of its writer.

    Attributes:
        identity: of the directory, to notice that another one has taken its place.
        users: requests that are using it; it is closed when the last has finished.
        seen: the refresh signal that the reader has caught up with.
    """

    name: str
    path: Path
    identity: tuple[int, int]
    reader: Collection
    writes: WriteQueue
    users: int = 0
    retired: bool = False
    compacting: bool = False
    seen: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    def close(self) -> None:
        """Finish the writes that wait and give everything back."""
        try:
            self.writes.close()
        finally:
            self.reader.close()


class Catalogue:
    """Open collections by name. Its methods run on the event loop, what takes time in background threads."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        background: ThreadPoolExecutor,
        signal: RefreshSignal,
    ) -> None:
        self.folder = DataFolder(settings.data)
        self._settings = settings
        self._metrics = metrics
        self._background = background
        self._signal = signal
        self._open: dict[str, Served] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._closing: set[asyncio.Task[None]] = set()

    # Using

    @asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[Served]:
        """The collection of this name, open for as long as the block runs, and as fresh as `?refresh=true` asked for.

        Raises:
            UnknownNameError: there is none.
            UnavailableError and what `Collection.open` raises: it cannot be opened.
        """
        served = await self._current(name)
        served.users += 1
        try:
            yield served
        finally:
            self.release(served)

    def release(self, served: Served) -> None:
        """Say that a user of a collection has finished."""
        served.users -= 1
        if served.retired and not served.users:
            self._close_later(served)

    async def _current(self, name: str) -> Served:
        served = self._open.get(name)
        if served is None or served.retired:
            served = await self._opened(name)
        wanted = self._signal.value()
        if served.seen != wanted:
            if not await self._look_at(served):
                return await self._opened(name)
            served.seen = wanted
        return served

    async def run(self, function: Callable[[], T]) -> T:
        """Run what may take long in a background thread."""
        return await asyncio.get_running_loop().run_in_executor(self._background, function)

    async def refresh(self, served: Served) -> None:
        """Bring the reader up to date now."""
        await self.run(lambda: self._refreshed(served))

    async def announce(self, served: Served) -> None:
        """Make what has been written searchable at once, here and in the processes beside this one."""
        await self.refresh(served)
        served.seen = self._signal.raise_it()

    def _refreshed(self, served: Served) -> None:
        started = time.perf_counter()
        if served.reader.refresh():
            self._metrics.refresh_seconds.observe(time.perf_counter() - started)

    async def _opened(self, name: str) -> Served:
        async with self._locks.setdefault(name, asyncio.Lock()):
            served = self._open.get(name)
            if served is not None and not served.retired:
                return served
            path = await self.run(lambda: self.folder.find(name))
            if path is None:
                self._locks.pop(name, None)
                raise unknown_collection()
            served = await self.run(lambda: self._load(name, path))
            self._open[name] = served
            return served

    def _load(self, name: str, path: Path) -> Served:
        identity = _identity(path)
        reader = Collection.open(path, learned=self._running)
        try:
            reader.warm()
        except BaseException:
            reader.close()
            raise
        writes = WriteQueue(
            lambda: Collection.open(path, writable=True, like=reader),
            self._metrics,
            self._settings.search_threads + self._settings.max_waiting,
        )
        return Served(name, path, identity, reader, writes, seen=self._signal.value())

    @property
    def _running(self) -> LearnedSettings | None:
        """How the encoders of collections run: as always, unless the settings let their code run."""
        return LearnedSettings(trust_remote_code=True) if self._settings.trust_remote_code else None

    # Changing

    async def create(self, name: str, encoder: str, lexical: LexicalSettings | None) -> None:
        """Make an empty collection.

        Raises:
            ConflictError: there is one of this name, or the service serves a single collection.
        """
        self._refuse_if_single("create")
        async with self._locks.setdefault(name, asyncio.Lock()):
            if await self.run(lambda: self.folder.find(name)) is not None:
                raise ConflictError(f"there is a collection {name!r} already", where="body.name", code="exists")
            place = self.folder.place(name)
            learned = None if encoder == "bm25" else self._running
            await self.run(lambda: Collection.create(place, encoder=encoder, lexical=lexical, learned=learned).close())

    async def delete(self, name: str) -> None:
        """Remove a collection and its files; requests that are using it finish first.

        Raises:
            UnknownNameError: there is none.
            ConflictError: the service serves a single collection.
        """
        self._refuse_if_single("delete")
        async with self._locks.setdefault(name, asyncio.Lock()):
            path = await self.run(lambda: self.folder.find(name))
            if path is None:
                raise unknown_collection()
            served = self._open.get(name)
            if served is None or served.retired:
                # Take the writer's lock at least, so that nothing is deleted under a process that writes.
                await self.run(lambda: Collection.open(path, writable=True).close())
            else:
                await served.writes.call(lambda collection: None)
                self._retire(served)
                await served.closed.wait()  # nothing of it may be written to the directory any more
            gone = path.with_name(f".{path.name}.deleting-{time.time_ns()}")
            await self.run(lambda: path.rename(gone))
            self._signal.raise_it()
            self._background.submit(shutil.rmtree, gone, ignore_errors=True)

    def _refuse_if_single(self, verb: str) -> None:
        if self.folder.single:
            raise ConflictError(
                f"the service serves a single collection, so it cannot {verb} any",
                hint="start it with a folder instead: lexhound serve data/",
                code="single_collection",
            )

    # Looking after

    async def open_all(self) -> None:
        """Open every collection; one that cannot be opened is logged and keeps the others from nothing."""
        for name in await self.run(self.folder.names):
            try:
                await self._opened(name)
            except Exception as error:  # noqa: BLE001  told again to whoever asks for the collection
                _log.error("collection %s cannot be opened: %s", name, error)

    async def look_after(self) -> None:
        """For as long as the service runs: refresh readers that are behind, let go of collections that are gone."""
        while True:
            await asyncio.sleep(self._settings.refresh_seconds)
            for served in list(self._open.values()):
                try:
                    await self._look_at(served)
                except Exception as error:  # noqa: BLE001  one collection's trouble is not the others'
                    _log.error("collection %s cannot be refreshed: %s", served.name, error)

    async def _look_at(self, served: Served) -> bool:
        """Bring a reader up to date; where its directory is gone or another one, let go of it and return false."""
        if served.retired:
            return False
        served.users += 1
        try:
            if await self.run(lambda: self._caught_up(served)):
                return True
            self._retire(served)
            return False
        finally:
            self.release(served)

    def _caught_up(self, served: Served) -> bool:
        """Refresh the reader if it is behind; false where its directory is gone or another one."""
        try:
            if _identity(served.path) != served.identity:
                return False
        except OSError:
            return False
        if not served.reader.is_current():
            self._refreshed(served)
        return True

    def _retire(self, served: Served) -> None:
        served.retired = True
        if self._open.get(served.name) is served:
            del self._open[served.name]
        if not served.users:
            self._close_later(served)

    def _close_later(self, served: Served) -> None:
        async def close() -> None:
            try:
                await self.run(served.close)
            except (RetrievalError, OSError) as error:  # its files may be gone
                _log.warning("collection %s was not closed in order: %s", served.name, error)
            finally:
                served.closed.set()

        task = asyncio.get_running_loop().create_task(close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def open_now(self) -> Sequence[Served]:
        """The collections that are open."""
        return list(self._open.values())

    async def close(self) -> None:
        """Finish all writes and close all collections."""
        for served in list(self._open.values()):
            self._retire(served)
        while self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)


def unknown_collection() -> UnknownNameError:
    """What a request for a collection that is not there meets."""
    return UnknownNameError(
        "there is no such collection",
        where="path.name",
        hint="GET /v1/collections lists those that are there",
        code="unknown_collection",
    )


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
