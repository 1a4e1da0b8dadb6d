"""How an exception ends a request: the HTTP status, and what of it a caller may read.

Messages of failures that are the caller's business are passed on without paths; of all others nothing is.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

from lexhound.core.disk_errors import FULL, full
from lexhound.core.errors import LexhoundError
from lexhound.retrieval.errors import UnsupportedError

from .exceptions import ServiceError


@dataclass(frozen=True, slots=True)
class Answer:
    """A failure as a caller is told of it."""

    status: int
    code: str
    message: str
    where: str | None
    hint: str | None
    headers: dict[str, str]


def answer_for(error: BaseException) -> Answer:
    """Return what a request that met `error` is answered; an unexpected one is told as `internal`, without its text."""
    if isinstance(error, ServiceError):
        return Answer(error.http_status, error.code, error.message, error.where, error.hint, error.headers)
    if isinstance(error, LexhoundError):
        return _known(error)
    if isinstance(error, OSError) and error.errno in FULL:
        return _known(full(error.filename))
    if isinstance(error, OSError) and error.errno == errno.EMFILE:
        return Answer(503, "unavailable", "the service has run out of a resource", None, "try again later", _LATER)
    if isinstance(error, MemoryError):
        return Answer(503, "unavailable", "the service has too little memory for this request", None, None, _LATER)
    return INTERNAL


_LATER = {"retry-after": "5"}
INTERNAL = Answer(
    500,
    "internal",
    "the service failed to answer this request",
    None,
    "whoever runs the service finds the reason in its log, under the request id",
    {},
)


def _known(error: LexhoundError) -> Answer:
    headers = _LATER if error.http_status == 503 else {}
    public = error.public_text()
    if public is not None:
        return Answer(error.http_status, error.code, public.message, None, public.hint, headers)
    if error.http_status >= 500:
        return INTERNAL
    # Of an engine's refusals it is the collection's address, and a caller has no business with that.
    where = None if isinstance(error, UnsupportedError) else error.where
    return Answer(error.http_status, error.code, error.message, where, error.hint, headers)
