"""Documents: put in in bulk, got, deleted."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path, Query, Request
from starlette.responses import Response

from lexhound.retrieval.engines.protocol import Backend, matching_ids
from lexhound.serve.api.bulk.load import Load
from lexhound.serve.api.http.dependencies import BulkRoute, ReadRoute, WriteRoute
from lexhound.serve.api.http.exceptions import UnknownNameError
from lexhound.serve.api.http.limits import check_number, check_text
from lexhound.serve.api.http.tenancy import confined, tenant_of
from lexhound.serve.api.registry.names import NAME_PATTERN
from lexhound.serve.api.schemas import document_models
from lexhound.serve.api.schemas.answers import document_answer, json_response
from lexhound.serve.api.schemas.openapi import errors
from lexhound.serve.api.state import service_of

reading = APIRouter(prefix="/v1/collections/{name}/documents", tags=["documents"], route_class=ReadRoute)
listing = APIRouter(prefix="/v1/collections/{name}/documents", tags=["documents"], route_class=ReadRoute)
writing = APIRouter(prefix="/v1/collections/{name}/documents", tags=["documents"], route_class=WriteRoute)
bulk = APIRouter(prefix="/v1/collections/{name}/documents", tags=["documents"], route_class=BulkRoute)

Name = Annotated[str, Path(pattern=NAME_PATTERN, description="The collection.", examples=["my"])]
Id = Annotated[
    str,
    Path(max_length=512, description="The document's id; slashes may be written as they are.", examples=["heat-1"]),
]
Refresh = Annotated[bool, Query(description="Make the change searchable before this is answered.")]

_EXAMPLE = {"id": "heat-1", "title": "Heat transfer", "text": "Heat transfer in hypersonic flow.", "metadata": {"year": 1958}}  # fmt: skip  # noqa: E501
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "array", "items": {"$ref": "#/components/schemas/DocumentBody"}},
                "example": [_EXAMPLE],
            },
            "application/x-ndjson": {
                "schema": {"type": "string", "description": "A document a line, in any number."},
                "example": '{"id": "heat-1", "text": "Heat transfer in hypersonic flow."}\n',
            },
        },
    }
}


@bulk.post(
    "",
    operation_id="put_documents",
    summary="Insert or replace documents in bulk",
    responses={200: {"model": document_models.BulkAnswer}, **errors(400, 404, 409, 413, 415, 507)},
    openapi_extra=_BODY,
)
async def put_documents(
    name: Name,
    request: Request,
    refresh: Refresh = False,
    items: Annotated[
        Literal["all", "errors"], Query(description="Report every document, or only those that were not stored.")
    ] = "all",
) -> Response:
    """A JSON array or NDJSON of any length, read as it comes. A bad document is reported and does not sink the rest.

    What is reported as added, replaced or unchanged is durable. Where the answer is an error (the array breaks off, the
    disk is full), the documents before it are stored; sending them again does no harm.
    """
    service = service_of(request)
    async with service.registry.write(name) as served:
        tenant = tenant_of(request)
        if tenant is not None:
            confined(request, served.reader)  # refused where the collection has none
        load = Load(service.registry, served, service.settings.max_document_bytes, service.metrics, tenant)
        report = await load.run(request, errors_only=items == "errors")
        if refresh:
            await service.registry.announce(served)
    return report.answer()


@writing.post(
    "/delete",
    operation_id="delete_documents",
    summary="Delete documents by id or by filter",
    responses={200: {"model": document_models.DeleteAnswer}, **errors(400, 404, 409, 413, 415, 507)},
)
async def delete_documents(
    name: Name, body: document_models.DeleteRequest, request: Request, refresh: Refresh = False
) -> Response:
    """Deleted for good when it is answered. A filter sees every document that was acknowledged before."""
    service = service_of(request)
    settings = service.settings
    if isinstance(body, document_models.DeleteByIds):
        check_number(len(body.ids), settings.max_batch, "ids", "body.ids")
    else:
        check_text(body.filter, "body.filter", settings)
    async with service.registry.write(name) as served:
        if isinstance(body, document_models.DeleteByIds):
            requested = list(dict.fromkeys(body.ids))
            deleted: list[str] = await served.writes.call(lambda opened: confined(request, opened).delete(requested))
            present = set(deleted)
            missing = [each for each in requested if each not in present]
        else:
            chosen = body

            def delete(opened: Backend) -> list[str]:
                collection = confined(request, opened)
                found = collection.ids(chosen.filter, allow_unknown_fields=chosen.allow_unknown_fields)
                return collection.delete(found)

            deleted = await served.writes.call(delete)
            missing = []
        if refresh:
            await service.registry.announce(served)
    return json_response({"deleted": len(deleted), "missing": missing})


@listing.post(
    "/list",
    operation_id="list_documents",
    summary="List documents by a filter",
    responses={200: {"model": document_models.DocumentList}, **errors(400, 404, 413, 415, 504)},
)
async def list_documents(
    name: Name,
    request: Request,
    body: Annotated[document_models.ListRequest, Body(default_factory=document_models.ListRequest)],
) -> Response:
    """Documents that pass a filter, or all, in order of insertion, a page at a time."""
    service = service_of(request)
    check_text(body.filter, "body.filter", service.settings)
    async with service.registry.use(name) as served:
        reader = confined(request, served.reader)

        def work() -> bytes:
            found = matching_ids(reader, body.filter, allow_unknown_fields=body.allow_unknown_fields)
            page = (reader.get(each) for each in found[body.offset : body.offset + body.limit])
            documents = [document_answer(document) for document in page if document is not None]
            return bytes(json_response({"documents": documents, "total": len(found)}).body)

        return json_response(await service.admission.run(work, request=request, pool="wide"))


@reading.get(
    "/{id:path}",
    operation_id="get_document",
    summary="Get a document",
    responses={200: {"model": document_models.StoredDocument}, **errors(404)},
)
async def get_document(name: Name, id: Id, request: Request) -> Response:
    """The document as it is stored: the latest that was acknowledged, searchable already or not."""
    service = service_of(request)
    async with service.registry.use(name) as served:
        reader = confined(request, served.reader)
        document = await service.admission.run(lambda: reader.get(id, latest=True))
    if document is None:
        raise _no_document()
    return json_response(document_answer(document))


@writing.delete(
    "/{id:path}",
    operation_id="delete_document",
    summary="Delete a document",
    responses={200: {"model": document_models.DeleteAnswer}, **errors(400, 404, 409, 507)},
)
async def delete_document(name: Name, id: Id, request: Request, refresh: Refresh = False) -> Response:
    """Deleted for good when it is answered."""
    service = service_of(request)
    async with service.registry.write(name) as served:
        deleted = await served.writes.call(lambda opened: confined(request, opened).delete([id]))
        if refresh:
            await service.registry.announce(served)
    if not deleted:
        raise _no_document()
    return json_response({"deleted": 1, "missing": []})


def _no_document() -> UnknownNameError:
    return UnknownNameError(
        "there is no document with this id",
        where="path.id",
        hint="ids are compared character by character",
        code="unknown_document",
    )
