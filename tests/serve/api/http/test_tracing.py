"""Traces, as a collector of OpenTelemetry receives them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from command import run
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from service import document, running

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector:
    """A collector that keeps the spans it is sent."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.services: set[str] = set()
        self.bodies = b""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.bodies += body
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    collector.services |= {
                        each.value.string_value for each in resource.resource.attributes if each.key == "service.name"
                    }
                    for scope in resource.scope_spans:
                        collector.spans += scope.spans
                self.send_response(200)
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


def test_requests_are_spans_and_searches_tell_what_took_their_time(collector: Collector, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with running(data, "--traces", collector.url) as service:
        with service.client() as client:
            client.create_collection("my", encoder="bm25")
            client.put("my", [document(number) for number in range(20)], refresh=True)
            assert client.search("my", "heat secretword").hits
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "mine"}
        service.request("GET", "/v1/collections/my/search?q=heat", headers=headers)
        service.request("GET", "/v1/collections/nowhere/search?q=heat")
    search, read = collector.named("POST /v1/collections/{name}/search"), collector.named("encode query")
    assert len(search) == 1
    assert len(read) == 2
    told = attributes(search[0])
    assert told["http.response.status_code"] == 200
    assert told["url.path"] == "/v1/collections/my/search"
    (within,) = [span for span in collector.named("search index") if span.parent_span_id == search[0].span_id]
    assert attributes(within)["lexhound.mode"] == "lexical"
    assert search[0].start_time_unix_nano <= within.start_time_unix_nano <= within.end_time_unix_nano
    by_address = {attributes(span)["http.response.status_code"]: span for span in
                  collector.named("GET /v1/collections/{name}/search")}  # fmt: skip
    assert set(by_address) == {200, 404}
    mine = by_address[200]
    assert (mine.trace_id.hex(), mine.parent_span_id.hex()) == (TRACE, PARENT)
    assert attributes(mine)["lexhound.request_id"] == "mine"
    assert collector.services == {"lexhound"}
    assert b"secretword" not in collector.bodies


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    outcome = run("serve", tmp_path, "--port", "0", "--traces", "http://127.0.0.1:1")
    assert outcome.code == 1
    assert "pip install 'lexhound[otel]'" in outcome.err
    assert run("serve", tmp_path, "--traces", "localhost:4318").code == 2
