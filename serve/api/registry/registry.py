"""The collections that the service has open: found by name, refreshed as they change, created and deleted."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from lexhound.core.atomic_files import move_directory
from lexhound.core.errors import CollectionGoneError, LexhoundError
from lexhound.encoders.bm25.encoder import KIND as BM25
from lexhound.encoders.sparse.settings import LearnedSettings
from lexhound.retrieval.collection.collection import Collection
from lexhound.retrieval.collection.settings import CollectionSettings
from lexhound.retrieval.errors import CorruptCollectionError, EngineError
from lexhound.serve.api.http.exceptions import ConflictError
from lexhound.serve.api.http.metrics import Metrics
from lexhound.serve.api.signals import RefreshSignal
from lexhound.serve.settings import Settings

from .names import DataFolder
from .refusals import single_collection, unknown_collection
from .served import ServedCollection
from .sources import ENGINE_SECONDS, DirectorySource, open_source
from .write_queue import WriteQueue

T = TypeVar("T")

_log = logging.getLogger("lexhound.serve")


class CollectionRegistry:
    """Open collections by name. Its methods run on the event loop, what takes time in background threads.

    Attributes:
        aliases: second names of collections; whoever uses a collection may say either.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        background: ThreadPoolExecutor,
        opening: ThreadPoolExecutor,
        signal: RefreshSignal,
    ) -> None:
        self._source = open_source(settings, metrics)
        self.aliases = self._source.aliases
        self._settings = settings
        self._metrics = metrics
        self._background = background
        self._opening = opening
        self._signal = signal
        self._open: dict[str, ServedCollection] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._closing: set[asyncio.Task[None]] = set()
        # Why another engine's collections could not be opened, and when that is to be tried again.
        self._failures: dict[str, tuple[float, LexhoundError]] = {}
        self._damaged: set[str] = set()  # collections that cannot be opened, because they are damaged

    # Using

    @asynccontextmanager
    async def write(self, name: str) -> AsyncIterator[ServedCollection]:
        """Open as `use` does, for a request that writes: a deletion of the collection waits for it, and it for none.

        Raises:
            ConflictError: the collection is being deleted.
        """
        async with self.use(name) as served:
            if served.deleting:
                raise ConflictError("the collection is being deleted", code="deleting", where="path.name")
            served.loads += 1
            try:
                yield served
            finally:
                self.finish(served)

    def finish(self, served: ServedCollection) -> None:
        """Say that what wrote to a collection has finished."""
        served.loads -= 1
        if not served.loads:
            served.quiet.set()

    @asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[ServedCollection]:
        """Yield the collection of this name or alias, open while the block runs, as fresh as `?refresh=true` asked for.

        Raises:
            UnknownNameError: there is none.
            UnavailableError and what `Collection.open` raises: it cannot be opened.
        """
        served = await self._current(name)
        served.users += 1
        try:
            yield served
        except CollectionGoneError:
            if not served.retired:
                self._retire(served)
            raise
        finally:
            self.release(served)

    def release(self, served: ServedCollection) -> None:
        """Say that a user of a collection has finished."""
        served.users -= 1
        if served.retired and not served.users:
            self._close_later(served)

    async def _current(self, name: str) -> ServedCollection:
        name = self.aliases.resolve(name)
        served = self._open.get(name)
        if served is None or served.retired:
            served = await self._opened(name)
        signal = self._signal.value()
        if served.seen != signal:
            if not await self._catch_up(served, announced=True):
                return await self._opened(name)
            served.seen = signal
        return served

    async def run(self, function: Callable[[], T]) -> T:
        """Run what takes some time, but never waits for others, in a background thread."""
        return await asyncio.get_running_loop().run_in_executor(self._background, function)

    async def _run_long(self, function: Callable[[], T]) -> T:
        """Run what may load a model or wait for a writer in a thread that nothing short waits for."""
        return await asyncio.get_running_loop().run_in_executor(self._opening, function)

    async def announce(self, served: ServedCollection) -> None:
        """Make what has been written searchable at once, here and in the processes beside this one."""
        await self.run(served.follower.refresh)
        served.seen = self._signal.raise_it()

    async def _opened(self, name: str) -> ServedCollection:
        async with self._locks.setdefault(name, asyncio.Lock()):
            served = self._open.get(name)
            if served is not None and not served.retired:
                return served
            until, failure = self._failures.get(name, (0.0, None))
            if failure is not None and time.monotonic() < until:
                raise failure.with_traceback(None)
            try:
                served = await self._run_long(lambda: self._load(name))
            except LexhoundError as error:
                if self._source.remote:  # nobody is to wait for an engine that has just failed to answer another
                    self._failures[name] = time.monotonic() + ENGINE_SECONDS, error
                if isinstance(error, CorruptCollectionError):
                    self._damaged.add(name)
                raise
            self._failures.pop(name, None)
            self._damaged.discard(name)
            if served is None:
                self._locks.pop(name, None)
                raise unknown_collection()
            self._open[name] = served
            return served

    def _load(self, name: str) -> ServedCollection | None:
        opened = self._source.open(name, self._running)
        if opened is None:
            return None
        limit = self._settings.search_threads + self._settings.max_waiting
        writes = WriteQueue(opened.writer, self._metrics, limit)
        return ServedCollection(name, opened.reader, writes, opened.follower, seen=self._signal.value())

    @property
    def _running(self) -> LearnedSettings | None:
        """How the encoders of collections run: as always, unless the settings let their code run."""
        return LearnedSettings(trust_remote_code=True) if self._settings.trust_remote_code else None

    # Changing

    async def create(self, name: str, settings: CollectionSettings) -> None:
        """Make an empty collection; of `settings.learned`, how models run is the registry's own.

        Raises:
            ConflictError: there is one of this name, or the service serves a single collection.
            UnsupportedError: the engine behind the service cannot keep such a collection.
        """
        if self._source.single and not self._source.remote:
            raise single_collection("create")
        if self.aliases.resolve(name) != name:
            raise ConflictError(f"{name!r} is an alias of a collection", where="body.name", code="exists")
        async with self._locks.setdefault(name, asyncio.Lock()):
            running = settings if settings.encoder == BM25 else replace(settings, learned=self._running)
            await self._run_long(lambda: self._source.create(name, running))
            self._failures.pop(name, None)

    async def new_directory(self, name: str) -> Path:
        """Return where a collection of this name would be.

        Raises:
            ConflictError: there is one, or an alias, or the service serves a single collection.
        """
        if self._source.single or not isinstance(self._source, DirectorySource):
            raise single_collection("make")
        folder = self._source.folder
        if self.aliases.resolve(name) != name or await self.run(lambda: folder.find(name)) is not None:
            raise ConflictError(f"there is a collection {name!r} already", where="body.into", code="exists")
        return folder.new_directory(name)

    async def delete(self, name: str) -> None:
        """Remove a collection and its files.

        What is being written to it is waited for, and while that is so the collection stays as it was; no further
        writes are taken. Searches that are under way go on with the files that they have open.

        Raises:
            UnknownNameError: there is none.
            ConflictError: the service serves a single collection, this one is an alias, has one, or is a link to a
                directory elsewhere, or what writes to it has not ended in time.
            CollectionLockedError: another process is writing to it.
        """
        folder = self._folder_of_many()
        self.aliases.check_deletable(name)
        path = await self.run(lambda: folder.find(name))
        if path is None:
            raise unknown_collection()
        if path.is_symlink():
            raise ConflictError(
                "the collection is a link to a directory elsewhere, and the service deletes none of those",
                where="path.name",
                hint="whoever runs the service has to remove the link, and what it leads to",
                code="linked",
            )
        served = self._open.get(name)
        if served is None or served.retired:
            async with self._locks.setdefault(name, asyncio.Lock()):
                # Take the writer's lock at least, so that nothing is deleted under a process that writes.
                await self._run_long(lambda: Collection.open(path, writable=True).close())
                await self._remove(path)
                self._damaged.discard(name)
            return
        if served.deleting:
            raise ConflictError("the collection is being deleted", code="deleting", where="path.name")
        served.deleting = True
        try:
            await self._quieten(served)
            await served.writes.call(lambda collection: None)
        except BaseException:
            served.deleting = False
            raise
        try:
            await self._run_long(served.writes.close)  # nothing of it may be written to the directory any more
        except BaseException:
            self._retire(served)
            raise
        async with self._locks.setdefault(name, asyncio.Lock()):  # so that nobody opens it again before it is gone
            self._retire(served)
            await self._remove(path)

    async def _quieten(self, served: ServedCollection) -> None:
        """Wait until nothing writes to a collection."""
        served.quiet.clear()
        if not served.loads:
            return
        try:
            await asyncio.wait_for(served.quiet.wait(), self._settings.delete_seconds)
        except TimeoutError:
            raise ConflictError(
                "documents are still being written to the collection",
                where="path.name",
                hint="try again when the load or the compaction has ended; nothing was deleted",
                code="in_use",
            ) from None

    async def _remove(self, path: Path) -> None:
        removed = path.with_name(f".{path.name}.deleting-{time.time_ns()}")
        try:
            await self.run(lambda: move_directory(path, removed))
        except FileNotFoundError:  # another process was quicker
            raise unknown_collection() from None
        self._signal.raise_it()
        self._opening.submit(shutil.rmtree, removed, ignore_errors=True)

    def _folder_of_many(self) -> DataFolder:
        if self._source.single or not isinstance(self._source, DirectorySource):
            raise single_collection("delete")
        return self._source.folder

    # Looking after

    async def names(self) -> list[str]:
        """Return the names of all collections, in ascending order; `aliases` has their second names."""
        names = await self.run(self._source.names)
        return [name for name in names if self.aliases.resolve(name) == name]

    def is_at_hand(self, name: str) -> bool:
        """Return whether a collection is open, so that using it waits for nobody."""
        served = self._open.get(self.aliases.resolve(name))
        return served is not None and not served.retired

    def trouble(self) -> EngineError | None:
        """Return why the engine behind the service does not answer, if that is so."""
        failed = [error for _, error in self._failures.values()]
        for error in (*failed, *(served.follower.trouble for served in self._open.values())):
            if isinstance(error, EngineError):
                return error
        return None

    def damaged(self) -> int:
        """Return how many collections are known to be damaged so that searches of them are refused.

        Raises:
            CorruptCollectionError: all of them are.
        """
        count = len(self._damaged) + sum(served.follower.damaged for served in self._open.values())
        if count and count == len(self._damaged) + len(self._open):
            raise CorruptCollectionError("every collection is damaged")
        return count

    async def open_all(self) -> None:
        """Open every collection; one that cannot be opened is logged and keeps the others from nothing."""
        for name in await self.names():
            try:
                await self._opened(name)
            except Exception as error:  # noqa: BLE001  told again to whoever asks for the collection
                # What is in another engine may not have been made yet, or may answer later.
                level = logging.WARNING if self._source.remote else logging.ERROR
                _log.log(level, "collection %s cannot be opened: %s", name, error)

    async def maintain(self) -> None:
        """Refresh readers that are behind and let go of collections that are gone, for as long as the service runs."""
        while True:
            await asyncio.sleep(self._settings.refresh_seconds)
            for served in list(self._open.values()):
                try:
                    await self._catch_up(served)
                except Exception as error:  # noqa: BLE001  one collection's trouble is not the others'
                    _log.error("collection %s cannot be refreshed: %s", served.name, error)
            if self._source.remote:
                await self._try_again()

    async def _try_again(self) -> None:
        """Open what could not be opened before, when its time has come."""
        for name in self._source.names():
            until, failure = self._failures.get(name, (0.0, None))
            if failure is None or time.monotonic() < until:
                continue
            try:
                await self._opened(name)
            except Exception as error:  # noqa: BLE001  told to whoever asks for the collection
                _log.warning("collection %s cannot be opened yet: %s", name, error)

    async def _catch_up(self, served: ServedCollection, *, announced: bool = False) -> bool:
        """Bring a reader up to date; where its collection is gone or another one, let go of it and return false."""
        if served.retired:
            return False
        served.users += 1
        try:
            if await self.run(lambda: served.follower.catch_up(announced=announced)):
                return True
            self._retire(served)
            return False
        finally:
            self.release(served)

    def _retire(self, served: ServedCollection) -> None:
        served.retired = True
        if self._open.get(served.name) is served:
            del self._open[served.name]
        if not served.users:
            self._close_later(served)

    def _close_later(self, served: ServedCollection) -> None:
        async def close() -> None:
            try:
                await self._run_long(served.close)
            except (LexhoundError, OSError) as error:  # its files may be gone
                _log.warning("collection %s was not closed in order: %s", served.name, error)

        task = asyncio.get_running_loop().create_task(close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def open_now(self) -> Sequence[ServedCollection]:
        """Return the collections that are open."""
        return list(self._open.values())

    async def close(self) -> None:
        """Finish all writes and close all collections."""
        for served in list(self._open.values()):
            self._retire(served)
        while self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)
