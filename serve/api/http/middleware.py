"""Around every request: an id, a log line, the figures, and an answer whatever happens."""

from __future__ import annotations

import logging
import re
import secrets
import time
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lexhound.core.errors import CollectionGoneError, CollectionLockedError
from lexhound.retrieval.errors import DeadlineError, StaleSnapshotError
from lexhound.serve.api.schemas.base import UNKNOWN_FIELD

from .exceptions import ServiceError
from .metrics import Metrics
from .statuses import INTERNAL, Answer, answer_for

REQUEST_ID = "x-request-id"
# The client went away before it had its answer; nginx's number for it, seen in logs and figures only.
GONE = 499

_GIVEN_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_log = logging.getLogger("lexhound.request")
_PASSING = (CollectionGoneError, CollectionLockedError, DeadlineError, StaleSnapshotError)


class RequestMiddleware:
    """Outermost middleware."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; everything but HTTP is passed on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        header = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = header if _GIVEN_ID.fullmatch(header) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        try:
            await self._app(scope, receive, answer)
        except ClientDisconnect:
            pass
        except Exception as error:
            failure = answer_for(error)
            if failure is INTERNAL:
                _log.exception("request failed", extra={"fields": {"request_id": request_id}})
            if status:  # too late for another answer: the connection is cut, so that nobody takes it for whole
                raise
            await respond(failure, request_id)(scope, receive, answer)
        finally:
            self._account(scope, request_id, status or GONE, time.perf_counter() - started)

    def _account(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.observe_request(route, method, status, seconds)
        if _log.isEnabledFor(logging.INFO):
            caller = scope["state"].get("caller")
            fields: dict[str, Any] = {
                "request_id": request_id,
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "ms": round(seconds * 1000, 3),
                "client": (scope.get("client") or ("",))[0],
            }
            if caller is not None and caller.name is not None:
                fields["key"] = caller.name
            _log.info("request", extra={"fields": fields})


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def respond(answer: Answer, request_id: str) -> Response:
    """Return an error in the one shape that errors have."""
    error = {
        "code": answer.code,
        "message": answer.message,
        "where": answer.where,
        "hint": answer.hint,
        "request_id": request_id,
    }
    return Response(orjson.dumps({"error": error}), answer.status, answer.headers, "application/json")


async def tell_service_error(request: Request, error: Exception) -> Response:
    """Answer exceptions of ours that a route raised."""
    answer = answer_for(error)
    if answer.status >= 500 and not isinstance(error, ServiceError):
        # What comes and goes by itself is no fault; of what nobody expected, the log has the traceback.
        level = logging.WARNING if isinstance(error, _PASSING) else logging.ERROR
        trace = error if answer is INTERNAL else None
        _log.log(level, "request failed: %s", error, exc_info=trace, extra={"fields": {"request_id": _id(request)}})
    return respond(answer, _id(request))


async def tell_http_error(request: Request, error: Exception) -> Response:
    """Return what routing itself refuses, and what a body raised while FastAPI read it."""
    if not isinstance(error, HTTPException):
        raise error
    if isinstance(error.__cause__, ServiceError):
        return await tell_service_error(request, error.__cause__)
    if error.status_code == 404:
        answer = Answer(
            404, "not_found", "there is nothing at this address", "path", "GET /docs tells what there is", {}
        )
    elif error.status_code == 405:
        allowed = ", ".join(sorted(_allowed(request)))
        answer = Answer(
            405, "method_not_allowed", f"{request.method} is not possible here", "method", f"use {allowed}",
            {"allow": allowed},
        )  # fmt: skip
    else:
        headers = dict(error.headers or {})
        answer = Answer(error.status_code, "bad_request", "the request cannot be read", "body", None, headers)
    return respond(answer, _id(request))


async def tell_invalid(request: Request, error: Exception) -> Response:
    """Return a request that does not fit the schema (422), or is no JSON at all (400)."""
    if not isinstance(error, RequestValidationError):
        raise error
    problems: list[dict[str, Any]] = list(error.errors())
    first: dict[str, Any] = problems[0] if problems else {"loc": (), "msg": "invalid", "type": "invalid"}
    if first["type"] == "json_invalid":
        reason = str(first.get("ctx", {}).get("error", "")).lower()
        answer = Answer(400, "not_json", f"the body is not JSON: {reason}".rstrip(": "), "body", "check its syntax", {})
    else:
        message = str(first["msg"]).removeprefix("Value error, ")
        location, hint = tuple(first["loc"]), "the schema of the request is in /openapi.json"
        if first["type"] == UNKNOWN_FIELD:
            location, hint = (*location, first["ctx"]["name"][:60]), first["ctx"]["hint"]
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        answer = Answer(
            422,
            "invalid_request",
            f"{message[:1].lower()}{message[1:]}{more}",
            _field_path(location),
            hint,
            {},
        )
    return respond(answer, _id(request))


# Of the alternatives in `models` that a body is checked against.
_TAGS = frozenset({"text", "vector", "ids", "filter"})


def _field_path(location: tuple[int | str, ...]) -> str:
    """Return a field's path, as `body.fields[2]`; names of alternatives that a schema chose from are left out."""
    path = ""
    for number, part in enumerate(location):
        if isinstance(part, int):
            path += f"[{part}]"
        elif number != 1 or location[0] != "body" or part not in _TAGS or (part == "filter" and len(location) == 2):
            path += f".{part}" if path else part
    return path or "body"


def _allowed(request: Request) -> set[str]:
    """Return every method that this address knows."""
    for pattern, methods in request.app.state.addresses:
        if pattern.match(request.scope["path"]):
            return set(methods)
    return set()


def _id(request: Request) -> str:
    return str(request.scope["state"]["request_id"])
