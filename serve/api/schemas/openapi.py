"""The OpenAPI document: what FastAPI finds, with the service's own errors, limits and keys."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from lexhound.core.version import __version__
from lexhound.encoders.bm25.encoder import KIND as BM25
from lexhound.retrieval.collection.default_encoders import NO_DENSE
from lexhound.serve.api.http.tenancy import CONFINED
from lexhound.serve.settings import Settings

from .base import Error
from .document_models import DocumentBody

DESCRIPTION = """Search your documents.

A *collection* holds documents and their index. Documents that have been acknowledged are durable, and searchable within
a second (or at once with `?refresh=true`). Every answer with a status from 400 on has one shape: the schema `Error`.
"""
TAGS = [
    {"name": "search", "description": "Find documents."},
    {"name": "documents", "description": "Put documents in, get them, delete them."},
    {"name": "collections", "description": "Make, describe and delete collections."},
    {"name": "service", "description": "Is it alive, is it ready, how is it doing?"},
]

_REASONS = {
    400: "The request cannot mean anything: no JSON, a filter that does not parse, a mode the collection lacks.",
    401: "No API key, or an unknown one.",
    403: "The key lacks the right.",
    404: "No such collection or document.",
    409: "What is there does not allow it.",
    413: "The body is too large.",
    415: "A type of body that the service does not read.",
    422: "The request does not fit its schema.",
    429: "More requests than can wait; see Retry-After.",
    500: "The service failed; its log has the reason under the request id.",
    503: "Not ready, or not now; see Retry-After.",
    504: "Given up after the time that the service takes for a request.",
    507: "The disk is full.",
}
_CODES = {
    400: "bad_request", 401: "unauthorised", 403: "forbidden", 404: "unknown_collection", 409: "conflict",
    413: "too_large", 415: "unsupported_media_type", 422: "invalid_request", 429: "too_many_requests",
    500: "internal", 503: "starting", 504: "deadline", 507: "storage_full",
}  # fmt: skip

Responses = dict[int | str, dict[str, Any]]


def errors(*statuses: int) -> Responses:
    """Document the statuses from 400 on that a route may answer, beside those that every route may."""
    return {status: _error(status) for status in sorted({401, 403, 422, 429, 500, 503, *statuses})}


def _error(status: int) -> dict[str, Any]:
    response: dict[str, Any] = {"model": Error, "description": _REASONS[status]}
    example = {
        "code": _CODES[status],
        "message": _REASONS[status].partition(":")[0].rstrip(".").lower(),
        "where": None,
        "hint": None,
        "request_id": "6f1d2c3b4a596877",
    }
    response["content"] = {"application/json": {"example": {"error": example}}}
    if status in (429, 503):
        response["headers"] = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
    if status == 401:
        response["headers"] = {"WWW-Authenticate": {"description": "`Bearer`.", "schema": {"type": "string"}}}
    return response


def describe_api(app: FastAPI, settings: Settings) -> None:
    """Make the application tell its OpenAPI document with the limits and keys of these settings."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            openapi = get_openapi(
                title="Lexhound",
                version=__version__,
                description=DESCRIPTION,
                routes=app.routes,
                tags=TAGS,
                license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
            )
            schemas = openapi["components"]["schemas"]
            schemas["DocumentBody"] = DocumentBody.model_json_schema()  # read as it streams, so FastAPI knows it not
            _limit(schemas, settings)
            _limit_parameters(openapi["paths"], settings)
            _link(openapi["paths"])
            _tell_tenants(openapi["paths"])
            _secure(openapi, settings)
            app.openapi_schema = openapi
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _limit(schemas: dict[str, Any], settings: Settings) -> None:
    """Put the limits of the settings into the schemas."""
    for name in ("TextSearch", "VectorSearch", "BatchRequest"):
        properties = schemas[name]["properties"]
        properties["k"]["maximum"] = settings.max_k
        if "offset" in properties:
            properties["offset"]["maximum"] = settings.max_depth - settings.max_k
        _limit_text(properties["filter"]["anyOf"][0], settings)
    _limit_text(schemas["CountRequest"]["properties"]["filter"]["anyOf"][0], settings)
    _limit_text(schemas["DeleteByFilter"]["properties"]["filter"], settings)
    _limit_text(schemas["TextSearch"]["properties"]["query"], settings)
    schemas["VectorSearch"]["properties"]["vector"]["maxProperties"] = settings.max_vector_terms
    schemas["BatchRequest"]["properties"]["queries"]["maxItems"] = settings.max_batch
    _limit_text(schemas["BatchRequest"]["properties"]["queries"]["items"], settings)
    schemas["DeleteByIds"]["properties"]["ids"]["maxItems"] = settings.max_batch
    made = schemas["CollectionRequest"]["properties"]
    made["encoder"]["enum"] = list(settings.offered_encoders)
    made["dense"]["anyOf"][0]["enum"] = [NO_DENSE, *(name for name in settings.offered_encoders if name != BM25)]


def _limit_parameters(paths: dict[str, Any], settings: Settings) -> None:
    """Limit the parameters of searches by address likewise."""
    for parameter in paths["/v1/collections/{name}/search"]["get"]["parameters"]:
        schema = parameter["schema"]
        if parameter["name"] == "k":
            schema["maximum"] = settings.max_k
        elif parameter["name"] == "offset":
            schema["maximum"] = settings.max_depth - settings.max_k
        elif parameter["name"] == "q":
            _limit_text(schema, settings)
        elif parameter["name"] == "filter":
            _limit_text(schema["anyOf"][0], settings)


def _tell_tenants(paths: dict[str, Any]) -> None:
    """Tell of the header that names a tenant, which operations take that are about documents."""
    parameter = {
        "name": "X-Tenant",
        "in": "header",
        "required": False,
        "description": "Whose documents, of a collection with tenants; percent-encoded where it is not ASCII. A key"
        " that is bound to a tenant says it already.",
        "schema": {"type": "string"},
        "example": "acme",
    }
    refused = paths["/v1/collections/{name}/search"]["post"]["responses"]
    for operations in paths.values():
        for operation in operations.values():
            if operation.get("operationId") in CONFINED:
                operation.setdefault("parameters", []).append(parameter)
                for status in ("400", "404"):
                    operation["responses"].setdefault(status, refused[status])


def _link(paths: dict[str, Any]) -> None:
    """Say where an answer leads: a collection that was made can be filled, a document that was put can be got."""
    name = {"name": "$response.body#/name"}
    same = {"name": "$request.path.name"}
    document = same | {"id": "$response.body#/items/0/id"}
    hit = same | {"id": "$response.body#/hits/0/id"}
    links = {
        ("/v1/collections", "post", "201"): {
            "describe_collection": name,
            "put_documents": name,
            "search_by_address": name,
            "facets": name,
            "compact": name,
            "discard_unfinished": name,
            "delete_collection": name,
        },
        ("/v1/collections/{name}", "delete", "200"): {"describe_collection": {"name": "$response.body#/deleted"}},
        ("/v1/collections/{name}/documents", "post", "200"): {"get_document": document, "delete_document": document},
        ("/v1/collections/{name}/documents/{id}", "delete", "200"): {"get_document": same | {"id": "$request.path.id"}},
        ("/v1/collections/{name}/search", "post", "200"): {"get_document": hit},
        ("/v1/collections/{name}/search", "get", "200"): {"get_document": hit},
    }
    for (path, verb, status), targets in links.items():
        paths[path][verb]["responses"][status]["links"] = {
            target: {"operationId": target, "parameters": parameters} for target, parameters in targets.items()
        }


def _limit_text(schema: dict[str, Any], settings: Settings) -> None:
    schema["maxLength"] = min(settings.max_query_characters, schema.get("maxLength", settings.max_query_characters))


def _secure(document: dict[str, Any], settings: Settings) -> None:
    """Say that keys are needed, where they are."""
    if not settings.has_keys:
        return
    document["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key."},
    }
    for path, operations in document["paths"].items():
        if path.startswith("/v1") or (path == "/metrics" and not settings.open_metrics):
            for operation in operations.values():
                operation["security"] = [{"bearer": []}, {"header": []}]
