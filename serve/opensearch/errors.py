"""Errors in the shape that OpenSearch gives them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import orjson
from starlette.responses import Response

from lexhound.core.errors import as_sentence
from lexhound.core.suggestions import nearest
from lexhound.serve.api.http.exceptions import ServiceError, UnknownNameError
from lexhound.serve.api.http.statuses import INTERNAL, Answer, answer_for

_TYPES = {
    400: "illegal_argument_exception",
    401: "security_exception",
    403: "security_exception",
    404: "resource_not_found_exception",
    405: "illegal_argument_exception",
    409: "conflict_exception",
    413: "content_too_long_exception",
    415: "media_type_header_exception",
    429: "rejected_execution_exception",
    503: "unavailable_exception",
    504: "timeout_exception",
}

MISSING = "index_not_found_exception"
EXISTS = "resource_already_exists_exception"

_log = logging.getLogger("lexhound.request")


class OpenSearchError(ServiceError):
    """A refusal of the endpoint's own; `kind` is what OpenSearch calls it."""

    http_status = 400
    code = "opensearch"

    def __init__(self, message: str, *, kind: str = "", hint: str | None = None, status: int = 400) -> None:
        super().__init__(message, hint=hint, status=status)
        self.kind = kind


def unsupported(what: str, hint: str | None = None) -> OpenSearchError:
    """Return the refusal of what OpenSearch has and this endpoint has not."""
    return OpenSearchError(f"{what} is not supported", hint=hint or "docs/opensearch.md lists what is")


def malformed(message: str, hint: str | None = None) -> OpenSearchError:
    """Return the refusal of what nobody can read."""
    return OpenSearchError(message, kind="parsing_exception", hint=hint)


def missing_index(name: str) -> OpenSearchError:
    """Return what a request for an index that is not there meets."""
    return OpenSearchError(f"no such index [{name}]", kind=MISSING, status=404)


@contextmanager
def suppress_kind(kind: str) -> Iterator[None]:
    """Pass over refusals of one kind."""
    try:
        yield
    except OpenSearchError as error:
        if error.kind != kind:
            raise


def check_keys(given: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Refuse keys of an object that the endpoint does not read, by name.

    Raises:
        OpenSearchError: there is one.
    """
    names = tuple(known)
    for key in given:
        if key not in names:
            close = nearest(key, names)
            hint = f"did you mean {' or '.join(close)}?" if close else None
            raise unsupported(f"[{key}] of [{where}]", hint)


def an_object(value: Any, where: str) -> dict[str, Any]:
    """Return a value that must be an object.

    Raises:
        OpenSearchError: it is none.
    """
    if not isinstance(value, dict):
        raise malformed(f"[{where}] must be an object")
    return value


def failure(error: BaseException, request_id: str, index: str | None = None) -> Response:
    """Return the answer to a request that met an error; what nobody expected is logged."""
    answer = answer_for(error)
    if answer.status == 422:  # which OpenSearch does not know
        answer = replace(answer, status=400)
    if answer.status >= 500 and not isinstance(error, ServiceError):
        trace = error if answer is INTERNAL else None
        _log.error("request failed: %s", error, exc_info=trace, extra={"fields": {"request_id": request_id}})
    cause = cause_of(error, answer, index)
    body = {"error": {"root_cause": [cause], **cause}, "status": answer.status}
    return Response(orjson.dumps(body), answer.status, answer.headers, "application/json")


def cause_of(error: BaseException, answer: Answer | None = None, index: str | None = None) -> dict[str, Any]:
    """Return an error's `type` and `reason`, for a whole request or one document of it."""
    answer = answer or answer_for(error)
    kind = error.kind if isinstance(error, OpenSearchError) and error.kind else _TYPES.get(answer.status, "exception")
    message = answer.message if answer.where is None else f"{answer.where}: {answer.message}"
    if isinstance(error, UnknownNameError) and error.where == "path.name" and index is not None:
        kind, message = MISSING, f"no such index [{index}]"
        return {"type": kind, "reason": message, "index": index}
    reason = f"{message}. {as_sentence(answer.hint)}" if answer.hint else message
    return {"type": kind, "reason": reason} | ({} if index is None else {"index": index})
