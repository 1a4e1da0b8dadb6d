"""`_bulk`: lines of actions and documents, in any number, read as they come."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from lexhound.core.errors import LexhoundError
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.engines.protocol import Backend
from lexhound.serve.api.bulk.body import Lines
from lexhound.serve.api.bulk.load import CHUNK, PIECE
from lexhound.serve.api.http.metrics import Metrics
from lexhound.serve.api.http.statuses import answer_for
from lexhound.serve.api.registry.served import ServedCollection

from .calls import Call, read_json
from .errors import OpenSearchError, an_object, cause_of, check_keys, malformed, unsupported
from .filters import one_entry
from .mapping import IndexMapping
from .sources import document_of

_WRITTEN = {"added": ("created", 201), "replaced": ("updated", 200), "unchanged": ("updated", 200)}
ACTIONS = ("index", "create", "delete")


@dataclass(slots=True)
class Action:
    """One action: what is to be done with which document.

    Attributes:
        source: of the document, None for a deletion; error: why nothing is done.
    """

    kind: str
    index: str
    id: str
    source: Any = None
    error: BaseException | None = None
    document: Document | None = None
    outcome: dict[str, Any] = field(default_factory=dict)

    def item(self) -> dict[str, Any]:
        """Return the item that reports it."""
        told: dict[str, Any] = {"_index": self.index, "_id": self.id} | self.outcome
        if self.error is not None:
            answer = answer_for(self.error)
            told |= {"status": answer.status, "error": cause_of(self.error, answer)}
        return {self.kind: told}


class ActionReader:
    """The actions in the lines of a body.

    Args:
        index: of actions that name none; None where the address has none.
    """

    def __init__(self, call: Call, index: str | None) -> None:
        self._call = call
        self._index = index
        self._open: Action | None = None
        self._line = 0

    def feed(self, line: bytes | None) -> Iterator[Action]:
        """Yield the action that ends with a line (None: one that is too long).

        Raises:
            OpenSearchError: the line is no action.
        """
        self._line += 1
        if self._open is not None:
            action, self._open = self._open, None
            action.source, action.error = _source_of(line)
            yield action
            return
        if line is None:
            raise malformed(f"line {self._line} of the body is too long for an action")
        kind, options = one_entry(read_json(line), f"line {self._line}")
        if kind not in ACTIONS:
            raise unsupported(f"the action [{kind}] in line {self._line}", f"actions are {', '.join(ACTIONS)}")
        check_keys(an_object(options, kind), ("_index", "_id"), f"{kind}, line {self._line}")
        index = options.get("_index", self._index)
        if index is None:
            raise malformed(f"the action in line {self._line} names no [_index], and neither does the address")
        identifier = options.get("_id")
        if identifier is None and kind == "delete":
            raise malformed(f"the action in line {self._line} names no [_id]")
        action = Action(kind, self._call.named(index), uuid4().hex if identifier is None else str(identifier))
        if kind == "delete":
            yield action
        else:
            self._open = action

    def end(self) -> None:
        """Raise OpenSearchError where an action has no document."""
        if self._open is not None:
            raise malformed(f"the action in line {self._line} has no document after it")


def _source_of(line: bytes | None) -> tuple[Any, BaseException | None]:
    if line is None:
        return None, OpenSearchError("the document is too long", kind="content_too_long_exception", status=413)
    try:
        return read_json(line), None
    except OpenSearchError as error:
        error.kind = "mapper_parsing_exception"
        return None, error


class Writer:
    """Writes of one request.

    Args:
        find: returns a collection and its mapping by the name of an index, and makes one where there is none.
        metrics: count what is written.
    """

    def __init__(
        self, find: Callable[[str], Awaitable[tuple[ServedCollection, IndexMapping]]], metrics: Metrics
    ) -> None:
        self._find = find
        self._metrics = metrics

    async def run(self, actions: list[Action]) -> None:
        """Do what actions say, in their order, and note in each what became of it."""
        run: list[Action] = []
        for action in actions:
            if run and (action.kind, action.index) != (run[0].kind, run[0].index):
                await self._run_of_one_kind(run)
                run = []
            run.append(action)
        if run:
            await self._run_of_one_kind(run)

    async def _run_of_one_kind(self, actions: list[Action]) -> None:
        try:
            served, mapping = await self._find(actions[0].index)
        except LexhoundError as error:
            for action in actions:
                action.error = action.error or error
            return
        for action in actions:
            if action.error is None and action.kind != "delete":
                try:
                    action.document = document_of(action.id, action.source, mapping)
                except LexhoundError as error:
                    action.error = error
        right = [action for action in actions if action.error is None]
        if not right:
            return
        if actions[0].kind == "index":
            documents = [each.document for each in right if each.document is not None]
            for action, status in zip(right, await served.writes.put(documents), strict=True):
                self._metrics.documents_written.labels(status).inc()
                result, code = _WRITTEN[status]
                action.outcome = {"result": result, "status": code}
        else:
            await served.writes.call(_delete(right) if actions[0].kind == "delete" else _create(right))
            made = sum(action.outcome.get("result") == "created" for action in right)
            self._metrics.documents_written.labels("added").inc(made)


def _delete(actions: list[Action]) -> Callable[[Backend], None]:
    def work(collection: Backend) -> None:
        left = set(collection.delete([action.id for action in actions]))
        for action in actions:
            found = action.id in left
            left.discard(action.id)
            action.outcome = {"result": "deleted", "status": 200} if found else {"result": "not_found", "status": 404}

    return work


def _create(actions: list[Action]) -> Callable[[Backend], None]:
    def work(collection: Backend) -> None:
        seen: set[str] = set()
        for action in actions:
            if action.id in seen or collection.get(action.id, latest=True) is not None:
                action.error = OpenSearchError(
                    f"[{action.id}]: version conflict, document already exists",
                    kind="version_conflict_engine_exception",
                    status=409,
                )
            seen.add(action.id)
        right = [action for action in actions if action.error is None and action.document is not None]
        collection.put([action.document for action in right if action.document is not None])
        for action in right:
            action.outcome = {"result": "created", "status": 201}

    return work


async def run_bulk(call: Call, index: str | None, writer: Writer) -> dict[str, Any]:
    """Return the answer to a `_bulk`. What it reports as written is durable.

    Raises:
        OpenSearchError: the body is none; the actions before that are done.
    """
    started = time.perf_counter()
    lines, reader = Lines(call.service.settings.max_document_bytes), ActionReader(call, index)
    waiting: list[Action] = []
    done: list[Action] = []

    async def finish() -> None:
        await writer.run(waiting)
        for action in waiting:
            action.source = action.document = None
        done.extend(waiting)
        waiting.clear()

    async for piece in _pieces(call):
        for line in lines.end() if piece is None else lines.feed(piece):
            try:
                waiting += reader.feed(line)
            except OpenSearchError:
                await finish()
                raise
            if len(waiting) >= CHUNK:
                await finish()
    await finish()
    reader.end()
    if not done:
        raise OpenSearchError("request body is required", kind="parse_exception")
    items = [action.item() for action in done]
    took = round((time.perf_counter() - started) * 1000)
    return {"took": took, "errors": any(action.error is not None for action in done), "items": items}


async def _pieces(call: Call) -> AsyncIterator[bytes | None]:
    gathered = bytearray()
    async for part in call.request.stream():
        gathered += part
        if len(gathered) >= PIECE:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)
    yield None
