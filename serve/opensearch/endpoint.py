"""The endpoint: OpenSearch's addresses below a prefix of the service, with the service's own keys and limits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from lexhound.core.version import __version__
from lexhound.serve.api.http.exceptions import UnavailableError
from lexhound.serve.api.http.tenancy import check_operation
from lexhound.serve.api.state import Service, service_of

from . import documents, indices, searching
from .calls import Call, answered
from .errors import failure, unsupported

VERSION = "2.19.0"
"""The version of OpenSearch whose API this is: what programs look at before they choose how to ask."""

Handler: TypeAlias = Callable[[Call], Awaitable[Response]]
Right: TypeAlias = Literal["read", "write"]


def mount_opensearch(app: Starlette, service: Service, prefix: str) -> None:
    """Answer OpenSearch's API below a prefix."""
    inner = Starlette(routes=_routes(), exception_handlers={HTTPException: _no_address})
    inner.state.service = service
    inner.router.redirect_slashes = False
    app.router.routes.insert(0, Mount(prefix, inner))


async def _root(call: Call) -> Response:
    """Tell what answers, as clients ask first."""
    call.parameters()
    return answered(
        {
            "name": "lexhound",
            "cluster_name": "lexhound",
            "version": {"distribution": "opensearch", "number": VERSION, "lexhound": __version__},
            "tagline": "OpenSearch's API, answered by Lexhound; docs/opensearch.md says how much of it",
        }
    )


async def _health(call: Call) -> Response:
    """Tell that the service answers."""
    call.parameters()
    return answered({"cluster_name": "lexhound", "status": "green", "timed_out": False, "number_of_nodes": 1})


def _routes() -> list[BaseRoute]:
    document = "/{index}/_doc/{id:path}"
    return [
        _route("/", ("GET",), "read", _root),
        _route("/_cluster/health", ("GET",), "read", _health),
        _route("/_bulk", ("POST", "PUT"), "write", documents.bulk),
        _route("/_search/scroll", ("POST", "GET"), "read", searching.scroll),
        _route("/_search/scroll", ("DELETE",), "read", searching.clear_scroll),
        _route("/_aliases", ("POST",), "write", indices.update_aliases),
        _route("/_alias", ("GET",), "read", indices.get_aliases),
        _route("/_aliases", ("GET",), "read", indices.get_aliases),
        _route("/_alias/{alias}", ("GET",), "read", indices.get_aliases),
        _route("/{index}/_alias", ("GET",), "read", indices.get_aliases),
        _route("/{index}/_alias/{alias}", ("GET",), "read", indices.get_aliases),
        _route("/{index}/_alias/{alias}", ("PUT", "POST"), "write", indices.put_alias),
        _route("/{index}/_alias/{alias}", ("DELETE",), "write", indices.delete_alias),
        _route("/{index}/_bulk", ("POST", "PUT"), "write", documents.bulk),
        _route("/{index}/_search", ("POST", "GET"), "read", searching.search),
        _route("/{index}/_count", ("POST", "GET"), "read", searching.count),
        _route("/{index}/_refresh", ("POST", "GET"), "read", indices.refresh),
        _route("/{index}/_mapping", ("GET",), "read", indices.get_mapping),
        _route("/{index}/_mapping", ("PUT", "POST"), "write", indices.put_mapping),
        _route("/{index}/_settings", ("GET",), "read", indices.get_settings),
        _route("/{index}/_doc", ("POST",), "write", documents.put),
        _route(document, ("PUT", "POST"), "write", documents.put),
        _route(document, ("GET",), "read", documents.get),
        _route(document, ("DELETE",), "write", documents.delete),
        _route("/{index}/_create/{id:path}", ("PUT", "POST"), "write", documents.create),
        _route("/{index}/_source/{id:path}", ("GET",), "read", documents.get_source),
        _route("/{index}", ("PUT",), "write", indices.create),
        _route("/{index}", ("DELETE",), "write", indices.delete),
        _route("/{index}", ("GET",), "read", indices.describe),
    ]


def _route(path: str, methods: tuple[str, ...], right: Right, handler: Handler) -> Route:
    """Return a route: HEAD answers as GET does, without the body."""

    async def answer(request: Request) -> Response:
        try:
            return await _answered(request, right, handler)
        except ClientDisconnect:
            raise
        except Exception as error:  # noqa: BLE001  told to the caller, in the shape that OpenSearch's clients read
            return failure(error, str(request.scope["state"]["request_id"]), request.path_params.get("index"))

    return Route(path, answer, methods=list(methods), include_in_schema=False)


async def _answered(request: Request, right: Right, handler: Handler) -> Response:
    service = service_of(request)
    if not service.ready:
        raise UnavailableError("the service is starting", code="starting")
    caller = service.guard.identify(request)
    request.state.caller = caller
    caller.check(right, None)
    check_operation(caller, None)  # nothing here is of one tenant alone
    if request.headers.get("content-encoding", "identity") != "identity":
        raise unsupported(f"[content-encoding: {request.headers['content-encoding']}]", "send bodies as they are")
    if right == "write" and service.write_proxy is not None:
        return await service.write_proxy(request)
    return await handler(Call(request, service, caller))


async def _no_address(request: Request, error: Exception) -> Response:
    """Answer a request for what the endpoint does not have, as OpenSearch does for an unknown address."""
    return failure(
        unsupported(f"[{request.method}] at [{request.url.path}]"), str(request.scope["state"]["request_id"])
    )
