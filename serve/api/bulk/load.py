"""A bulk load: from a body that streams in to documents that are durable, and a report of each."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from lexhound.retrieval.collection.write.writer import Status
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.documents.encoded_document import is_wordless
from lexhound.retrieval.errors import InvalidDocumentError, UnsupportedError
from lexhound.retrieval.tenants.keys import claimed
from lexhound.serve.api.http.dependencies import NDJSON_TYPES, media_type_of
from lexhound.serve.api.http.exceptions import RequestError
from lexhound.serve.api.http.metrics import Metrics
from lexhound.serve.api.registry.registry import CollectionRegistry
from lexhound.serve.api.registry.served import ServedCollection

from .body import Elements, Lines, Rejected, Splitter, parse_document

# Bytes of a body that are taken apart together, in a thread: small enough that a load shares the processors.
PIECE = 128 * 1024
# Documents committed together; several loads at once may share a commit.
CHUNK = 256
# Reports longer than this go to a temporary file until they are sent.
_IN_MEMORY = 4 * 2**20

Parsed = Document | Rejected


class Report:
    """What became of each document, written as JSON while the load goes on."""

    def __init__(self, *, errors_only: bool) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  closed with the answer
        self._errors_only = errors_only
        self._position = 0
        self._listed = 0
        self.counts = {"added": 0, "replaced": 0, "unchanged": 0, "errors": 0}
        self._wordless = 0

    def add(self, parsed: Sequence[Parsed], statuses: Iterator[Status]) -> None:
        """Report a chunk; `statuses` are those of its documents, in order."""
        lines: list[bytes] = []
        for each in parsed:
            item: dict[str, Any] = {"place": self._position, "id": each.id}
            self._position += 1
            if isinstance(each, Rejected):
                self.counts["errors"] += 1
                item |= {
                    "status": "error",
                    "error": {"code": each.code, "message": each.message, "hint": each.hint},
                }
            else:
                self._wordless += is_wordless(each)
                status = next(statuses)
                self.counts[status] += 1
                if self._errors_only:
                    continue
                item["status"] = status
            lines.append(orjson.dumps(item))
        if lines:
            self._file.write((b"," if self._listed else b"") + b",".join(lines))
            self._listed += len(lines)

    @property
    def stored(self) -> int:
        """Documents that are durable."""
        return self.counts["added"] + self.counts["replaced"] + self.counts["unchanged"]

    def close(self) -> None:
        """Drop a report that is not sent."""
        self._file.close()

    def answer(self) -> Response:
        """Return the whole report."""
        tail = b"]," + orjson.dumps(self.counts | {"wordless": self._wordless})[1:]
        size = self._file.tell()
        self._file.seek(0)
        if size <= _IN_MEMORY:
            with self._file:
                return Response(b'{"items":[' + self._file.read() + tail, media_type="application/json")
        return StreamingResponse(self._pieces(tail), media_type="application/json")

    def _pieces(self, tail: bytes) -> Iterator[bytes]:
        yield b'{"items":['
        with self._file:
            while piece := self._file.read(64 * 1024):
                yield piece
        yield tail


class Load:
    """One bulk load into one collection."""

    def __init__(
        self,
        registry: CollectionRegistry,
        served: ServedCollection,
        limit: int,
        metrics: Metrics,
        tenant: str | None = None,
    ) -> None:
        """`tenant`: whose all the documents are; without it each says so itself where the collection has tenants."""
        self._tenant = tenant
        self._registry = registry
        self._served = served
        self._limit = limit
        self._metrics = metrics

    async def run(self, request: Request, *, errors_only: bool) -> Report:
        """Store the documents of a request's body as they come.

        While a chunk is being made durable the next one is read; no more than that is held.

        Raises:
            RequestError: the body is no JSON array. The documents before the break are stored.
            StorageFullError and others of the writer's: what was reported before is stored.
        """
        splitter: Splitter = Lines(self._limit) if media_type_of(request) in NDJSON_TYPES else Elements(self._limit)
        report = Report(errors_only=errors_only)
        waiting: list[Parsed] = []
        storing: asyncio.Task[None] | None = None
        broken: RequestError | None = None
        try:
            async for piece in _pieces(request):
                parsed, broken = await self._parse(splitter, piece)
                waiting += parsed
                while len(waiting) >= CHUNK or (broken and waiting):
                    chunk, waiting = waiting[:CHUNK], waiting[CHUNK:]
                    if storing is not None:
                        await storing
                    storing = asyncio.create_task(self._store(chunk, report))
                if broken:
                    break
            if storing is not None:
                await storing
            if waiting:
                await self._store(waiting, report)
            if broken:
                raise broken
        except BaseException:
            # What is being stored still writes to the report.
            if storing is None or storing.done():
                report.close()
            else:
                storing.add_done_callback(lambda _: report.close())
            raise
        return report

    async def _parse(self, splitter: Splitter, piece: bytes | None) -> tuple[list[Parsed], RequestError | None]:
        """Return the documents that end in a piece of the body (None: the body has ended), and what is wrong with
        it.
        """

        def work() -> tuple[list[Parsed], RequestError | None]:
            parsed: list[Parsed] = []
            try:
                for line in splitter.end() if piece is None else splitter.feed(piece):
                    parsed.append(self._fitting(parse_document(line, self._limit)))
            except RequestError as error:
                return parsed, error
            return parsed, None

        if piece is None or len(piece) < 4096:  # quicker than a way to a thread and back
            return work()
        return await self._registry.run(work)

    def _fitting(self, parsed: Parsed) -> Parsed:
        """Return the document, or why the collection cannot hold it."""
        if isinstance(parsed, Document):
            try:
                field = self._served.reader.manifest.tenant_field
                if field is not None and self._tenant is not None:
                    parsed = claimed(parsed, field, self._tenant)
                self._served.reader.check([parsed])
            except UnsupportedError as error:
                return Rejected(parsed.id, "unsupported", error.message, error.hint)
            except InvalidDocumentError as error:
                return Rejected(parsed.id, "invalid_document", error.message, error.hint)
        return parsed

    async def _store(self, chunk: Sequence[Parsed], report: Report) -> None:
        documents = [each for each in chunk if isinstance(each, Document)]
        statuses: list[Status] = await self._served.writes.put(documents) if documents else []
        before = dict(report.counts)
        report.add(chunk, iter(statuses))
        for status, count in report.counts.items():
            if count > before[status]:
                self._metrics.documents_written.labels(status).inc(count - before[status])


async def _pieces(request: Request) -> AsyncIterator[bytes | None]:
    """Return the body in pieces of about PIECE bytes, then None."""
    gathered = bytearray()
    async for part in request.stream():
        gathered += part
        if len(gathered) >= PIECE:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)
    yield None
