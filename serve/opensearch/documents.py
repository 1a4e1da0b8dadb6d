"""Single documents, and many at once."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

from starlette.responses import Response

from lexhound.serve.api.registry.served import ServedCollection

from .answers import SHARDS
from .bulk import Action, Writer, run_bulk
from .calls import Call, answered, read_json
from .errors import EXISTS, MISSING, OpenSearchError, malformed, suppress_kind
from .indices import make
from .mapping import IndexMapping, mapping_of
from .sources import SourceFilter, source_of

_REFRESHES = {"true": True, "": True, "wait_for": True, "false": False}


async def put(call: Call) -> Response:
    """Insert or replace a document; with an `op_type` of create, only where there is none of its id."""
    return await _put(call, call.parameters("refresh", "op_type"))


async def create(call: Call) -> Response:
    """Insert a document; 409 where there is one of its id."""
    return await _put(call, call.parameters("refresh") | {"op_type": "create"})


async def _put(call: Call, parameters: dict[str, str]) -> Response:
    if parameters.get("op_type", "index") not in ("index", "create"):
        raise malformed(f"[op_type] is {parameters['op_type']!r}", "it is index or create")
    identifier = call.request.path_params.get("id") or uuid4().hex
    source = read_json(await call.raw())
    action = Action(parameters.get("op_type", "index"), call.index, identifier, source)
    return await _one(call, action, refresh=_refreshes(parameters))


async def delete(call: Call) -> Response:
    """Delete a document; 404 where there is none of its id."""
    parameters = call.parameters("refresh")
    action = Action("delete", call.index, call.request.path_params["id"])
    async with call.writing(call.index):  # a deletion makes none
        return await _one(call, action, refresh=_refreshes(parameters))


async def _one(call: Call, action: Action, *, refresh: bool) -> Response:
    async with AsyncExitStack() as stack:
        indices = _Indices(call, stack)
        await Writer(indices.find, call.service.metrics).run([action])
        if action.error is not None:
            raise action.error
        if refresh:
            await indices.announce()
        served, _ = indices.found[action.index]
    told = {"_index": served.name, "_id": action.id, "result": action.outcome["result"], "_shards": _WRITTEN}
    return answered(told, action.outcome["status"])


_WRITTEN = {key: value for key, value in SHARDS.items() if key != "skipped"}


async def bulk(call: Call) -> Response:
    """Do many actions; what becomes of each is told."""
    refresh = _refreshes(call.parameters("refresh"))
    index = call.index if "index" in call.request.path_params else None
    async with AsyncExitStack() as stack:
        indices = _Indices(call, stack)
        answer = await run_bulk(call, index, Writer(indices.find, call.service.metrics))
        if refresh:
            await indices.announce()
    return answered(answer)


class _Indices:
    """The indices that a request writes to, open until it is answered; one that is not there is made, as by OpenSearch.

    Attributes:
        found: collections and their mappings, by the names that the request gives them.
    """

    def __init__(self, call: Call, stack: AsyncExitStack) -> None:
        self.found: dict[str, tuple[ServedCollection, IndexMapping]] = {}
        self._call = call
        self._stack = stack

    async def find(self, index: str) -> tuple[ServedCollection, IndexMapping]:
        """Return a collection and its mapping.

        Raises:
            AccessError: the caller may not write to it.
        """
        if index not in self.found:
            try:
                await self._open(index)
            except OpenSearchError as error:
                if error.kind != MISSING:
                    raise
                with suppress_kind(EXISTS):  # somebody else was quicker
                    await make(self._call, index, IndexMapping(), {})
                await self._open(index)
        return self.found[index]

    async def _open(self, index: str) -> None:
        served, reader = await self._stack.enter_async_context(self._call.writing(index))
        self.found[index] = served, mapping_of(reader)

    async def announce(self) -> None:
        """Make what was written searchable."""
        for served, _ in self.found.values():
            await self._call.service.registry.announce(served)


def _refreshes(parameters: dict[str, str]) -> bool:
    given = parameters.get("refresh", "false")
    if given not in _REFRESHES:
        raise malformed(f"[refresh] is {given!r}", "it is true, false or wait_for")
    return _REFRESHES[given]


async def get(call: Call) -> Response:
    """Tell a document as it is stored, searchable already or not."""
    return await _get(call, bare=False)


async def get_source(call: Call) -> Response:
    """Tell the source of a document alone."""
    return await _get(call, bare=True)


async def _get(call: Call, *, bare: bool) -> Response:
    parameters = call.parameters("_source", "_source_includes", "_source_excludes")
    shown = SourceFilter(source_given(parameters, True))
    identifier = call.request.path_params["id"]
    async with call.reading(call.index) as (served, reader):
        document = await call.service.admission.run(lambda: reader.get(identifier, latest=True))
        told: dict[str, Any] = {"_index": served.name, "_id": identifier, "found": document is not None}
        if document is None:
            return answered(told, 404)
        source = source_of(document, mapping_of(reader))
    if bare:
        return answered(shown(source))
    return answered(told | ({"_source": shown(source)} if shown.shown else {}))


def source_given(parameters: dict[str, str], given: Any) -> Any:
    """Return the `_source` of a request: what its parameters say, or else its body."""
    names = {
        key: parameters[f"_source_{key}"].split(",")
        for key in ("includes", "excludes")
        if f"_source_{key}" in parameters
    }
    if names:
        return names
    text = parameters.get("_source")
    return given if text is None else {"true": True, "false": False}.get(text, text.split(","))
