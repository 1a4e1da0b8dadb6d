"""Handing a write on to the process that writes, over its Unix socket: headers, body and answer as they are."""

from __future__ import annotations

from pathlib import Path

import httpx
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from .exceptions import UnavailableError
from .tracing import Traces

# Of one connection only, and not of the message.
_HOP_BY_HOP = frozenset({
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
    "upgrade", "host", "date", "x-request-id",
})  # fmt: skip


class WriteProxy:
    """A client of the writing process."""

    def __init__(self, socket: Path, traces: Traces | None = None) -> None:
        self._traces = traces
        self._client = httpx.AsyncClient(
            # As many as there are writes: one that stands still must not hold up another.
            transport=httpx.AsyncHTTPTransport(uds=str(socket), limits=httpx.Limits(max_connections=None)),
            base_url="http://writer",
            timeout=httpx.Timeout(None, connect=5.0),
        )

    async def __call__(self, request: Request) -> Response:
        """Return the writing process's answer to a request.

        Raises:
            UnavailableError: it does not answer, because it is being started again.
        """
        headers = [(name, value) for name, value in request.headers.items() if name not in _HOP_BY_HOP]
        headers.append(("x-request-id", request.scope["state"]["request_id"]))
        if self._traces is not None:
            own = self._traces.headers()
            headers = [each for each in headers if each[0] not in own] + list(own.items())
        target = request.scope["raw_path"].decode("latin-1")
        if request.scope["query_string"]:
            target += "?" + request.scope["query_string"].decode("latin-1")
        try:
            sent = self._client.build_request(request.method, target, headers=headers, content=request.stream())
            answer = await self._client.send(sent, stream=True)
        except ClientDisconnect:
            raise
        except httpx.TransportError as error:
            raise UnavailableError(
                "the process that writes does not answer",
                hint="it is being started again; what it acknowledged is not lost",
                code="writer_unavailable",
            ) from error
        answer_headers = {name: value for name, value in answer.headers.items() if name not in _HOP_BY_HOP}
        return StreamingResponse(
            answer.aiter_raw(), answer.status_code, answer_headers, background=BackgroundTask(answer.aclose)
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
