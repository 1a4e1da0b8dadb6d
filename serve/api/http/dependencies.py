"""What every route does before its own work: is the service ready, who asks, is the body one that it reads?

FastAPI reads and checks bodies before it runs dependencies; here the order is the one a caller expects: 503, 401, 403,
415, 413, and then what is wrong with the contents.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

import orjson
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive

from lexhound.core.strict_json import json_fault, parse_json
from lexhound.serve.api.state import service_of
from lexhound.serve.keys import Scope

from .exceptions import MediaTypeError, RequestError, TooLargeError, UnavailableError
from .parameters import check_parameters, parameters_of
from .security import Caller
from .tenancy import check_operation

JSON_TYPE = "application/json"
NDJSON_TYPES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})


class StrictRequest(Request):
    """A request whose body is read as rows of documents are: nothing in it is altered in silence."""

    async def json(self) -> Any:
        """Return the body's value.

        Raises:
            RequestError: it is not JSON, or an object in it has a key twice.
        """
        try:
            return parse_json(await self.body())
        except orjson.JSONDecodeError as error:
            raise RequestError(json_fault(error), where="body", hint="check its syntax", code="not_json") from error


class ReadRoute(APIRoute):
    """A route that needs the right to read."""

    scope: ClassVar[Scope] = "read"
    media_types: ClassVar[frozenset[str]] = frozenset({JSON_TYPE})

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of FastAPI, with ours before it."""
        handle = super().get_route_handler()
        parameters = parameters_of(self.dependant)

        async def checked(request: Request) -> Response:
            service = service_of(request)
            if not service.ready:
                raise UnavailableError("the service is starting", code="starting")
            caller = service.guard.identify(request)
            request.state.caller = caller
            caller.check(self.scope, request.path_params.get("name"))
            check_operation(caller, self.operation_id)
            check_parameters(request, parameters)
            return await self.answer(request, handle)

        return checked

    async def answer(self, request: Request, handle: Callable[[Request], Coroutine[Any, Any, Response]]) -> Response:
        """Check the body's type and length where there is one, and handle the request."""
        if self.body_field is not None:
            if self.body_field.field_info.is_required() or "content-type" in request.headers:
                check_media_type(request, self.media_types)
            request = StrictRequest(
                request.scope, limited(request, service_of(request).settings.max_body_bytes), request._send
            )
        return await handle(request)


class WriteRoute(ReadRoute):
    """A route that needs the right to write; answered by the process that writes."""

    scope: ClassVar[Scope] = "write"

    async def answer(self, request: Request, handle: Callable[[Request], Coroutine[Any, Any, Response]]) -> Response:
        """Hand the request on where another process writes."""
        write_proxy = service_of(request).write_proxy
        if write_proxy is not None:
            return await write_proxy(request)
        return await super().answer(request, handle)


class BulkRoute(WriteRoute):
    """A route whose body is read as it comes, without a limit on its whole."""

    media_types: ClassVar[frozenset[str]] = frozenset({JSON_TYPE}) | NDJSON_TYPES

    async def answer(self, request: Request, handle: Callable[[Request], Coroutine[Any, Any, Response]]) -> Response:
        """Check the body's type alone."""
        if service_of(request).write_proxy is None:
            check_media_type(request, self.media_types)
        return await super().answer(request, handle)


def media_type_of(request: Request) -> str:
    """Return the body's type, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def check_media_type(request: Request, known: frozenset[str]) -> None:
    """Raise MediaTypeError (415) unless the body is of a type that is read."""
    media_type = media_type_of(request)
    if media_type not in known:
        raise MediaTypeError(
            f"the body is {media_type}" if media_type else "the request does not say what type its body has",
            where="header content-type",
            hint=f"send {' or '.join(sorted(known))}",
        )


def limited(request: Request, limit: int) -> Receive:
    """Return the request's messages, up to a number of bytes of body.

    Raises (when it is called): TooLargeError (413).
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    receive = request.receive
    size = 0

    async def count() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            raise _too_large(limit)
        return message

    return count


def caller_of(request: Request) -> Caller:
    """Return who sent the request."""
    caller = request.state.caller
    if not isinstance(caller, Caller):
        raise AssertionError("the route did not identify its caller")
    return caller


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(
        f"the body has more than {limit:,} bytes", where="body", hint="documents in bulk may be of any number: NDJSON"
    )
