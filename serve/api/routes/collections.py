"""Collections: listed, made, described, compacted, deleted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from lexhound.core.errors import LexhoundError
from lexhound.core.progress import Step
from lexhound.encoders.bm25.encoder import KIND as BM25
from lexhound.encoders.bm25.settings import LexicalSettings
from lexhound.encoders.errors import SettingsError
from lexhound.retrieval.collection.capability import Capability
from lexhound.retrieval.collection.default_encoders import NO_DENSE, choose_encoders
from lexhound.retrieval.collection.settings import CollectionSettings
from lexhound.retrieval.documents.passages import parse_passages
from lexhound.retrieval.engines.protocol import require_capability
from lexhound.retrieval.errors import EngineError, NotACollectionError, TenantError
from lexhound.retrieval.tenants.keys import check_field
from lexhound.serve.api.http.dependencies import ReadRoute, WriteRoute, caller_of
from lexhound.serve.api.http.exceptions import RequestError, ServiceError, UnknownNameError
from lexhound.serve.api.http.tenancy import confined, opens, tenant_of
from lexhound.serve.api.registry.names import NAME_PATTERN
from lexhound.serve.api.registry.refusals import unknown_collection
from lexhound.serve.api.schemas import collection_models
from lexhound.serve.api.schemas.answers import description_answer, json_response, summary_answer, unavailable_answer
from lexhound.serve.api.schemas.openapi import errors
from lexhound.serve.api.state import service_of

reading = APIRouter(prefix="/v1/collections", tags=["collections"], route_class=ReadRoute)
writing = APIRouter(prefix="/v1/collections", tags=["collections"], route_class=WriteRoute)

Name = Annotated[str, Path(pattern=NAME_PATTERN, description="The collection.", examples=["my"])]
_PATIENCE_SECONDS = 5.0
_log = logging.getLogger("lexhound.serve")


@reading.get(
    "",
    operation_id="list_collections",
    summary="List collections",
    responses={200: {"model": collection_models.CollectionList}, **errors()},
)
async def list_collections(request: Request) -> Response:
    """Every collection that the key opens, by name, and every alias."""
    service = service_of(request)
    caller = caller_of(request)
    names = sorted([*await service.registry.names(), *service.registry.aliases.current()])
    summaries = await asyncio.gather(*(_summary(request, name) for name in names if caller.may("read", name)))
    return json_response({"collections": [each for each in summaries if each is not None]})


async def _summary(request: Request, name: str) -> dict[str, Any] | None:
    service = service_of(request)
    # One that is being opened, made or deleted may take long: its line then says that it is not available.
    patience = None if service.registry.is_at_hand(name) else _PATIENCE_SECONDS
    try:
        async with asyncio.timeout(patience), service.registry.use(name) as served:
            if not opens(request, served.reader):
                return None
            reader = served.reader
            if tenant_of(request) is not None and reader.manifest.tenant_field is not None:
                reader = confined(request, reader)
            info = await service.registry.run(reader.info)
            collection = service.registry.aliases.resolve(name)
            return summary_answer(name, info) | ({} if collection == name else {"alias_of": collection})
    except TimeoutError:
        return unavailable_answer(name)
    except UnknownNameError:  # deleted since the names were read
        return None
    except TenantError:  # the tenant that is asked for has nothing here
        return None
    except Exception as error:  # noqa: BLE001  one collection's trouble is not the others'
        expected = isinstance(error, EngineError | NotACollectionError | ServiceError | FileNotFoundError)
        level = logging.WARNING if expected else logging.ERROR
        _log.log(level, "collection %s cannot be described: %s", name, error)
        return unavailable_answer(name)


@writing.post(
    "",
    operation_id="create_collection",
    summary="Make a collection",
    status_code=201,
    responses={201: {"model": collection_models.CollectionDescription}, **errors(400, 409, 413, 415, 507)},
)
async def create_collection(body: collection_models.CollectionRequest, request: Request) -> Response:
    """Make an empty collection; its encoder and settings stay for good."""
    service = service_of(request)
    caller_of(request).check("write", body.name)
    await service.registry.create(body.name, settings_of(body, service.settings.offered_encoders))
    return json_response(await _description(request, body.name), 201)


def settings_of(body: collection_models.CollectionRequest, offered: Mapping[str, str]) -> CollectionSettings:
    """Return what a collection is made with.

    Args:
        offered: the encoders that the service offers, by the names that callers know.

    Raises:
        RequestError: an encoder is not offered, or an option does not belong to it.
    """
    default = next(iter(offered))
    if body.encoder is None and body.settings is not None and BM25 in offered:
        default = BM25
    encoder = _offered(body.encoder or default, offered, "body.encoder")
    lexical = None
    if encoder == BM25:
        lexical = LexicalSettings(**(body.settings or collection_models.LexicalOptions()).model_dump())
    elif body.settings is not None:
        raise RequestError(
            "settings are for the encoder bm25 only", where="body.settings", hint="leave them out", code="settings"
        )
    if body.dense not in (None, NO_DENSE):
        dense = _offered(body.dense, offered, "body.dense")
        if dense == BM25:
            raise RequestError("bm25 makes no dense vectors", where="body.dense", hint="name a model", code="dense")
    elif body.dense is None and body.encoder is None:
        dense = choose_encoders(default=encoder).dense or NO_DENSE
    else:
        dense = NO_DENSE
    if body.passages is not None:
        try:
            parse_passages(body.passages)
        except SettingsError as error:
            raise RequestError(error.message, where="body.passages", hint=error.hint, code="passages") from error
    if body.tenant_field is not None:
        try:
            check_field(body.tenant_field)
        except TenantError as error:
            raise RequestError(error.message, where="body.tenant_field", hint=error.hint, code="tenant") from error
    return CollectionSettings(
        encoder, lexical, dense=dense, passages=body.passages, tenant_field=body.tenant_field, late=body.late
    )


def _offered(name: str, offered: Mapping[str, str], where: str) -> str:
    """Return the path, hub name or `bm25` of an encoder; raises RequestError where the service does not offer it."""
    if name in offered:
        return offered[name]
    raise RequestError(
        "the service does not offer this encoder",
        where=where,
        hint=f"it offers {', '.join(offered)}",
        code="unknown_encoder",
        status=422,
    )


@reading.get(
    "/{name}",
    operation_id="describe_collection",
    summary="Describe a collection",
    responses={200: {"model": collection_models.CollectionDescription}, **errors(404)},
)
async def describe_collection(name: Name, request: Request) -> Response:
    """Counts, sizes, encoder and health; of a tenant, where the request is about one, what is its own alone."""
    return json_response(await _description(request, name))


async def _description(request: Request, name: str) -> dict[str, Any]:
    service = service_of(request)
    async with service.registry.use(name) as served:
        try:
            reader = served.reader if tenant_of(request) is None else confined(request, served.reader)
            return description_answer(name, await service.registry.run(reader.info))
        except FileNotFoundError:  # removed by others a moment ago
            raise unknown_collection() from None


@writing.delete(
    "/{name}",
    operation_id="delete_collection",
    summary="Delete a collection",
    responses={200: {"model": collection_models.Deleted}, **errors(404, 409)},
)
async def delete_collection(name: Name, request: Request) -> Response:
    """Remove a collection with all its documents. Loads that are under way are waited for; searches are not."""
    await service_of(request).registry.delete(name)
    return json_response({"deleted": name})


@writing.post(
    "/{name}/discard-unfinished",
    operation_id="discard_unfinished",
    summary="Drop what an unfinished run holds",
    responses={200: {"model": collection_models.Discarded}, **errors(400, 404, 409, 507)},
)
async def discard_unfinished(name: Name, request: Request) -> Response:
    """Drop the documents of a run that was interrupted; none of them has been visible."""
    service = service_of(request)
    async with service.registry.use(name) as served:
        dropped = await served.writes.call(
            lambda opened: require_capability(opened, Capability.INGEST_JOBS).discard_unfinished()
        )
    return json_response({"discarded": dropped})


@writing.post(
    "/{name}/compact",
    operation_id="compact",
    summary="Merge segments, drop deleted documents, refresh statistics",
    status_code=202,
    responses={202: {"model": collection_models.CompactStarted}, **errors(400, 404, 409, 507)},
)
async def compact(name: Name, request: Request) -> Response:
    """Begin a compaction; searches and writes go on meanwhile. While one runs, the answer says how far it is."""
    service = service_of(request)
    async with service.registry.write(name) as served:
        if served.compacting is not None:
            return json_response({"status": "running", "progress": asdict(served.compacting)}, 202)
        served.compacting = Step("waiting")
        try:
            collection = require_capability(await served.writes.call(lambda opened: opened), Capability.COMPACTION)
        except BaseException:
            served.compacting = None
            raise
        served.users += 1  # it stays open, and where it is, until the compaction has ended
        served.loads += 1

    def tell(step: Step) -> None:
        served.compacting = step

    def done(task: asyncio.Future[Any]) -> None:
        served.compacting = None
        service.registry.finish(served)
        service.registry.release(served)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, LexhoundError | OSError):
            _log.error("compaction of %s failed: %s", name, error)
        elif error is not None:
            _log.error("compaction of %s failed", name, exc_info=error)

    running = asyncio.get_running_loop().run_in_executor(service.compacting, collection.compact, tell)
    running.add_done_callback(done)
    return json_response({"status": "started", "progress": None}, 202)
