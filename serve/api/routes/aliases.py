"""Aliases: second names of collections, changed all at once."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from lexhound.serve.api.http.dependencies import ReadRoute, WriteRoute, caller_of
from lexhound.serve.api.schemas import collection_models
from lexhound.serve.api.schemas.answers import json_response
from lexhound.serve.api.schemas.openapi import errors
from lexhound.serve.api.state import service_of

reading = APIRouter(prefix="/v1/aliases", tags=["collections"], route_class=ReadRoute)
writing = APIRouter(prefix="/v1/aliases", tags=["collections"], route_class=WriteRoute)


@reading.get(
    "",
    operation_id="list_aliases",
    summary="List aliases",
    responses={200: {"model": collection_models.Aliases}, **errors()},
)
async def list_aliases(request: Request) -> Response:
    """Every alias that the key opens, and the collection that it leads to."""
    caller = caller_of(request)
    aliases = service_of(request).registry.aliases.current()
    return json_response({"aliases": {alias: name for alias, name in aliases.items() if caller.may("read", alias)}})


@writing.post(
    "",
    operation_id="change_aliases",
    summary="Let aliases lead to other collections",
    responses={200: {"model": collection_models.Aliases}, **errors(400, 404, 409, 413, 415, 507)},
)
async def change_aliases(body: collection_models.AliasChanges, request: Request) -> Response:
    """Set and remove aliases, all at once: a new index takes the place of an old one without a request that fails.

    A request finds the old collection or the new one. The key needs the right to write to each alias and collection.
    """
    registry, caller = service_of(request).registry, caller_of(request)
    for name in (*body.put, *body.put.values(), *body.remove):
        caller.check("write", name)
    for name in body.put.values():  # it is open before requests come to it by its alias
        async with registry.use(name):
            pass
    aliases = await registry.run(lambda: registry.aliases.change(body.put, body.remove))
    return json_response({"aliases": {alias: name for alias, name in aliases.items() if caller.may("write", alias)}})
