"""What a client raises.

ClientError
├── ApiError           the service answered with an error
└── UnreachableError   the service cannot be reached
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lexhound.serve.api.http.exceptions import ServiceError


class ClientError(ServiceError):
    """Root of what a client raises."""

    code = "internal"


class ApiError(ClientError):
    """The service answered with an error.

    Attributes:
        status: the HTTP status; code, message, where, hint, request_id: as the service told them.
    """

    def __init__(self, status: int, error: Mapping[str, Any], retry_after: float | None) -> None:
        message = str(error.get("message") or f"the service answered {status}")
        super().__init__(message, where=error.get("where"), hint=error.get("hint"), status=status)
        self.code = str(error.get("code") or "unknown")
        self.request_id = error.get("request_id")
        self.retry_after = retry_after

    def __str__(self) -> str:
        where = f" ({self.where})" if self.where else ""
        hint = f". {self.hint}" if self.hint else ""
        return f"{self.status} {self.code}: {self.message}{where}{hint}"


class UnreachableError(ClientError):
    """The service cannot be reached, or the connection broke before the answer."""

    code = "unreachable"
