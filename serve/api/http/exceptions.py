"""What the service tells a caller when a request cannot be answered; needs no web framework.

ServiceError
├── RequestError           the request is wrong in itself: not JSON, a contradiction, beyond a limit
├── UnknownNameError       there is no such collection or document
├── ConflictError          the collection's state does not allow it: it exists already, another process writes
├── AccessError            no key, a wrong key, or one that lacks the right
├── TooLargeError          a body beyond the limit
├── MediaTypeError         a body of a type that the service does not read
├── BusyError              more requests than can wait: try again
├── UnavailableError       the service or the collection is not ready, or no longer
└── ClientError            what our own client raises (`serve/client/errors.py`)
"""

from __future__ import annotations

from collections.abc import Mapping

from lexhound.core.errors import LexhoundError


class ServiceError(LexhoundError):
    """Root of the service's own answers; `where` names the part of the request."""

    http_status = 500
    code = "internal"

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        hint: str | None = None,
        code: str | None = None,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, hint, where=where)
        self.headers = dict(headers or {})
        if code is not None:
            self.code = code
        if status is not None:
            self.http_status = status

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.http_status


class RequestError(ServiceError):
    """The request cannot mean anything: not JSON, a contradiction, a value beyond a limit."""

    http_status = 400
    code = "bad_request"


class UnknownNameError(ServiceError):
    """The collection, document or address that the request names is not there."""

    http_status = 404
    code = "not_found"


class ConflictError(ServiceError):
    """What is there does not allow the request."""

    http_status = 409
    code = "conflict"


class AccessError(ServiceError):
    """There is no key, it is wrong (401), or it lacks the right (403)."""

    http_status = 403
    code = "forbidden"


class TooLargeError(ServiceError):
    """The body is larger than the service reads."""

    http_status = 413
    code = "too_large"


class MediaTypeError(ServiceError):
    """The body's type is none that the service reads."""

    http_status = 415
    code = "unsupported_media_type"


class BusyError(ServiceError):
    """More requests than can wait."""

    http_status = 429
    code = "too_many_requests"

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        super().__init__(
            message, hint="try again after the time in Retry-After", headers={"retry-after": str(retry_after)}
        )


class UnavailableError(ServiceError):
    """The service, or the collection, cannot answer now."""

    http_status = 503
    code = "unavailable"

    def __init__(self, message: str, *, hint: str | None = None, code: str | None = None, retry_after: int = 1) -> None:
        super().__init__(message, hint=hint, code=code, headers={"retry-after": str(retry_after)})
