"""Traces of requests for OpenTelemetry: a span a request, and within it what a search spent its time on.

A span holds what the log holds: method, route, status, request id, the id of the key; never a query or a document. A
caller's `traceparent` makes it part of the caller's trace. Spans are sent in the background, by OTLP over HTTP.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lexhound.core.extras import extra
from lexhound.core.version import made_by

from .statuses import answer_for

if TYPE_CHECKING:
    from lexhound.retrieval.collection.result import SearchResult
    from lexhound.serve.settings import Settings

_NAME = "lexhound"
_PARENT = ("traceparent", "tracestate")


class Traces:
    """The spans of a service.

    Args:
        endpoint: the base address of a collector, such as `http://localhost:4318`.

    Raises:
        MissingExtraError: OpenTelemetry is not installed.
    """

    def __init__(self, endpoint: str) -> None:
        with extra("otel", "sending traces"):
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        name = os.environ.get("OTEL_SERVICE_NAME", _NAME)
        resource = Resource.create({"service.name": name, "service.version": made_by(), "process.pid": os.getpid()})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self.tracer = self._provider.get_tracer(_NAME)

    def add_search(self, result: SearchResult) -> None:
        """Add the spans of a search that has just ended to that of its request."""
        end = time.time_ns()
        encoded = end - int((result.seconds - result.encoding) * 1e9)
        start = end - int(result.seconds * 1e9)
        attributes: dict[str, Any] = {"lexhound.mode": result.mode, "lexhound.hits": len(result.hits)}
        if result.stats is not None:
            attributes["lexhound.postings_read"] = result.stats.postings_read
        nothing: dict[str, Any] = {}
        for name, begins, ends, more in (
            ("encode query", start, encoded, nothing),
            ("search index", encoded, end, attributes),
        ):
            self.tracer.start_span(name, start_time=begins, attributes=more).end(ends)

    def headers(self) -> dict[str, str]:
        """Return the headers by which another process of the service adds its spans to this request's."""
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier)
        return carrier

    def close(self) -> None:
        """Send what is left, for some seconds at most."""
        self._provider.shutdown()


def open_traces(settings: Settings) -> Traces | None:
    """Return the spans of a service, None where no traces are asked for. Raises MissingExtraError."""
    return None if settings.traces is None else Traces(settings.traces)


class TracingMiddleware:
    """Middleware that makes a span of each request."""

    def __init__(self, app: ASGIApp, traces: Traces) -> None:
        self._app = app
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request within a span; everything but HTTP is passed on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        from opentelemetry.trace import SpanKind, Status, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        headers = Headers(scope=scope)
        carrier = {name: headers[name] for name in _PARENT if name in headers}
        parent = TraceContextTextMapPropagator().extract(carrier)
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        span = self._traces.tracer.start_as_current_span(
            scope["method"], parent, SpanKind.SERVER, record_exception=False, set_status_on_exception=False
        )
        with span as current:
            try:
                await self._app(scope, receive, answer)
            except Exception as error:
                status = status or answer_for(error).status
                raise
            finally:
                for name, value in _attributes(scope, status).items():
                    current.set_attribute(name, value)
                route = getattr(scope.get("route"), "path", None)
                if route is not None:
                    current.update_name(f"{scope['method']} {route}")
                if status >= 500:
                    current.set_status(Status(StatusCode.ERROR))


def _attributes(scope: Scope, status: int) -> dict[str, Any]:
    state = scope.get("state", {})
    attributes = {
        "http.request.method": scope["method"],
        "http.route": getattr(scope.get("route"), "path", "unmatched"),
        "http.response.status_code": status,
        "url.path": scope["path"],
        "lexhound.request_id": state.get("request_id", ""),
    }
    caller = state.get("caller")
    if caller is not None and caller.name is not None:
        attributes["lexhound.key"] = caller.name
    return attributes
