"""The one thread that writes to a collection, and the queue before it.

Small writes that wait while a commit is under way are committed together in the next one: a lone write is committed at
once, and many concurrent ones share the cost of making them durable.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lexhound.core.errors import StorageError
from lexhound.retrieval.collection.capability import Capability
from lexhound.retrieval.engines.protocol import capable
from lexhound.retrieval.errors import RetrievalError
from lexhound.serve.api.http.exceptions import BusyError, UnavailableError

if TYPE_CHECKING:
    from lexhound.retrieval.collection.write.writer import Status
    from lexhound.retrieval.documents.document import Document
    from lexhound.retrieval.engines.protocol import Backend
    from lexhound.serve.api.http.metrics import Metrics

# Documents committed together at most: bounds how long one commit keeps the others waiting.
GROUP = 1024
# A segment is made of waiting documents when there are so many, so that refreshing stays cheap for readers.
SEGMENT = 8192
MAINTENANCE_SECONDS = 2.0
# A longer text is encoded in turns with other writes: it may take seconds.
LONG_CHARACTERS = 1024 * 1024

_log = logging.getLogger("lexhound.serve")


@dataclass(slots=True, eq=False)
class _Write:
    """A write that waits: documents to put, or else a function to call on the collection."""

    documents: Sequence[Document]
    function: Callable[[Backend], Any] | None
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


@dataclass(slots=True, eq=False)
class WriteQueue:
    """Writes to one collection, one after the other, in the order of their arrival.

    The collection is opened for writing at the first write and stays so until `close`: from then on no other process
    can write to it.
    """

    open: Callable[[], Backend]
    metrics: Metrics
    limit: int
    _waiting: deque[_Write] = field(default_factory=deque)
    _condition: threading.Condition = field(default_factory=threading.Condition)
    _thread: threading.Thread | None = None
    _maintenance: threading.Thread | None = None
    _collection: Backend | None = None
    _closing: bool = False
    _ended: threading.Event = field(default_factory=threading.Event)
    _written: bool = False

    async def put(self, documents: Sequence[Document]) -> list[Status]:
        """Store documents; returns what became of each when they are durable.

        What a long one asks for is done in turns with the writes of others.
        """
        for document in documents:
            if len(document.text) > LONG_CHARACTERS:
                await self._encode_ahead(document)
        statuses: list[Status] = await self._enqueue(documents, None)
        return statuses

    async def _encode_ahead(self, document: Document) -> None:
        def begin(opened: Backend) -> Iterator[None] | None:
            able = capable(opened, Capability.STEPWISE_WRITES)
            return None if able is None else able.encode_ahead(document)

        steps = await self.call(begin)
        while steps is not None and await self.call(lambda _: next(steps, steps)) is not steps:
            pass

    async def call(self, function: Callable[[Backend], Any]) -> Any:
        """Call `function` with the writable collection, in turn with the other writes."""
        return await self._enqueue((), function)

    def collection(self) -> Backend | None:
        """Return the collection as opened for writing, if any write has come."""
        return self._collection

    def _enqueue(self, documents: Sequence[Document], function: Callable[[Backend], Any] | None) -> Any:
        loop = asyncio.get_running_loop()
        write = _Write(documents, function, loop, loop.create_future())
        with self._condition:
            if self._closing:
                raise UnavailableError("the service is shutting down")
            if len(self._waiting) >= self.limit:
                raise BusyError("more writes wait than the service lets wait")
            self._waiting.append(write)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
                self._thread.start()
            self._condition.notify()
        return write.future

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._waiting and not self._closing:
                    self._condition.wait()
                if not self._waiting:
                    return
                group = [self._waiting.popleft()]
                size = len(group[0].documents)
                while (
                    group[0].function is None
                    and self._waiting
                    and self._waiting[0].function is None
                    and size + len(self._waiting[0].documents) <= GROUP
                ):
                    group.append(self._waiting.popleft())
                    size += len(group[-1].documents)
            self._write(group)

    def _write(self, group: Sequence[_Write]) -> None:
        started = time.perf_counter()
        try:
            if self._collection is None:
                self._collection = self.open()
                self._maintenance = threading.Thread(target=self._maintain, name="merging", daemon=True)
                self._maintenance.start()
            if group[0].function is not None:
                _resolve(group[0], group[0].function(self._collection))
            else:
                statuses = self._collection.put([document for write in group for document in write.documents])
                start = 0
                for write in group:
                    _resolve(write, statuses[start : start + len(write.documents)])
                    start += len(write.documents)
        except Exception as error:  # noqa: BLE001  told to whoever asked for the write
            if len(group) > 1 and not isinstance(error, RetrievalError | StorageError):
                for write in group:  # one write's documents must not sink the others'
                    self._write([write])
                return
            for write in group:
                _reject(write, error)
        finally:
            self._written = True
            self.metrics.write_seconds.observe(time.perf_counter() - started)

    def _maintain(self) -> None:
        """Make segments of what has been written, and merge those that pile up, beside the writes."""
        while True:
            if self._ended.wait(MAINTENANCE_SECONDS):
                return
            collection = self._collection
            if not self._written or collection is None:
                continue
            self._written = False
            try:
                collection.maintain(SEGMENT)
            except Exception:  # noqa: BLE001  nobody waits for it, and it comes again
                _log.exception("maintenance failed")

    def close(self) -> None:
        """Finish the writes that wait, then close the collection. Takes as long as they take."""
        with self._condition:
            self._closing = True
            self._ended.set()
            self._condition.notify()
        for thread in (self._thread, self._maintenance):
            if thread is not None:
                thread.join()
        if self._collection is not None:
            self._collection.close()
            self._collection = None


def _resolve(write: _Write, result: Any) -> None:
    write.loop.call_soon_threadsafe(_settle, write.future, result, None)


def _reject(write: _Write, error: Exception) -> None:
    write.loop.call_soon_threadsafe(_settle, write.future, None, error)


def _settle(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if future.done():  # the caller has gone away
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
