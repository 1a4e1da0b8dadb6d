"""The synonyms of a collection of BM25."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from lexhound.retrieval.collection.capability import Capability
from lexhound.retrieval.engines.protocol import Backend, require_capability
from lexhound.serve.api.http.dependencies import ReadRoute, WriteRoute
from lexhound.serve.api.registry.names import NAME_PATTERN
from lexhound.serve.api.schemas import collection_models
from lexhound.serve.api.schemas.answers import json_response
from lexhound.serve.api.schemas.openapi import errors
from lexhound.serve.api.state import service_of

reading = APIRouter(prefix="/v1/collections/{name}/synonyms", tags=["collections"], route_class=ReadRoute)
writing = APIRouter(prefix="/v1/collections/{name}/synonyms", tags=["collections"], route_class=WriteRoute)

Name = Annotated[str, Path(pattern=NAME_PATTERN, description="The collection.", examples=["my"])]


@reading.get(
    "",
    operation_id="list_synonyms",
    summary="List the synonyms of a collection",
    responses={200: {"model": collection_models.SynonymRules}, **errors(400, 404)},
)
async def list_synonyms(name: Name, request: Request) -> Response:
    """The rules that queries of BM25 follow."""
    service = service_of(request)
    async with service.registry.use(name) as served:
        able = require_capability(served.reader, Capability.SYNONYMS)
        return json_response({"rules": await service.registry.run(lambda: able.synonyms)})


@writing.post(
    "",
    operation_id="set_synonyms",
    summary="Set the synonyms of a collection",
    responses={200: {"model": collection_models.SynonymRules}, **errors(400, 404, 409, 413, 415, 507)},
)
async def set_synonyms(name: Name, body: collection_models.SynonymRequest, request: Request) -> Response:
    """The rules take the place of those that were there; the next search follows them."""
    service = service_of(request)

    def keep(collection: Backend) -> tuple[str, ...]:
        able = require_capability(collection, Capability.SYNONYMS)
        able.keep_synonyms(body.rules)
        return able.synonyms

    async with service.registry.write(name) as served:
        kept = await served.writes.call(keep)
        await service.registry.announce(served)
    return json_response({"rules": kept})
