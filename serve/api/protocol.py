"""HTTP as uvicorn reads it, except that what is no HTTP is refused in the shape that errors have."""

from __future__ import annotations

import secrets

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Protocol(HttpToolsProtocol):
    """One connection."""

    def send_400_response(self, msg: str) -> None:
        """Refuse a request that cannot be read, for instance because its address is longer than 64 KiB."""
        request_id = secrets.token_hex(8)
        error = {
            "code": "not_http",
            "message": "the request is not HTTP, or its address is too long",
            "where": "request",
            "hint": "long queries go by POST",
            "request_id": request_id,
        }
        body = orjson.dumps({"error": error})
        head = (
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
            f"x-request-id: {request_id}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()
