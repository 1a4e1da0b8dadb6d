"""Errors have one shape, carry a request id, and tell nothing about the server."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from command import kept_loggers
from our_exceptions import our_exceptions
from service import Service, running

from lexhound.core.errors import LexhoundError, StorageFullError
from lexhound.retrieval.errors import CollectionError, NotACollectionError
from lexhound.serve.api.app import create_app
from lexhound.serve.api.http import exceptions as problems
from lexhound.serve.api.http.statuses import INTERNAL, answer_for
from lexhound.serve.settings import Settings

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    data = tmp_path_factory.mktemp("errors") / "data"
    data.mkdir()
    with running(data) as started:
        with started.client() as client:
            client.create_collection("my")
        yield started


@pytest.mark.parametrize(
    ("method", "path", "content", "headers", "status", "code"),
    [
        ("GET", "/nowhere", None, {}, 404, "not_found"),
        ("GET", "/v1", None, {}, 404, "not_found"),
        ("GET", "/v1/collections/none", None, {}, 404, "unknown_collection"),
        ("GET", "/v1/collections/none/documents/a", None, {}, 404, "unknown_collection"),
        ("GET", "/v1/collections/my/documents/a", None, {}, 404, "unknown_document"),
        ("PUT", "/v1/collections/my", None, {}, 405, "method_not_allowed"),
        ("GET", "/v1/collections/my/search/batch", None, {}, 405, "method_not_allowed"),
        ("POST", "/v1/collections/my/search", b"{}", {"content-type": "text/plain"}, 415, "unsupported_media_type"),
        ("POST", "/v1/collections/my/search", b"{}", {}, 415, "unsupported_media_type"),
        ("POST", "/v1/collections/my/documents", b"[]", {"content-type": "text/csv"}, 415, "unsupported_media_type"),
        ("POST", "/v1/collections/my/search", b"{", JSON, 400, "not_json"),
        ("POST", "/v1/collections/my/search", b"\xff", JSON, 400, None),
        ("POST", "/v1/collections/my/search", b"[" * 100_000, JSON, 400, None),
        ("POST", "/v1/collections/my/documents", b"{}", JSON, 400, "not_json"),
        ("POST", "/v1/collections/my/search", b"{}", JSON, 422, "invalid_request"),
        ("GET", "/v1/collections/my/search", None, {}, 422, "invalid_request"),
        ("GET", "/v1/collections/my/search?q=a&k=x", None, {}, 422, "invalid_request"),
        ("GET", "/v1/collections/.my", None, {}, 422, "invalid_request"),
    ],
)
def test_every_error_has_the_same_shape(
    service: Service, method: str, path: str, content: bytes | None, headers: dict[str, str], status: int, code: str
) -> None:
    answer = service.request(method, path, content=content, headers={**headers, "x-request-id": "id-of-mine"})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"] == "id-of-mine"
    assert set(answer.json()) == {"error"}
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "where", "hint", "request_id"}
    assert error["request_id"] == "id-of-mine"
    assert code is None or error["code"] == code
    assert error["message"]
    assert not error["message"].endswith(".")
    if status == 405:
        assert answer.headers["allow"]


HALF = "half of a surrogate pair"
TWICE = "occurs twice in one object"


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("/my/search", r'{"query": "\ud800"}', HALF),
        ("/my/search", r'{"query": "a", "filter": "b = \"\udfff\""}', HALF),
        ("/my/search", r'{"query": "a", "fields": ["metadata.\ud800"]}', HALF),
        ("/my/search", r'{"vector": {"\ud800": 1}}', HALF),
        ("/my/search", '{"vector": {"a": 1, "a": 2}}', TWICE),
        ("/my/search", '{"query": "a", "query": "b"}', TWICE),
        ("/my/search", '{"query": "a", "recall": 1e400}', "infinity"),
        ("/my/search/batch", r'{"queries": ["\ud800"]}', HALF),
        ("/my/count", r'{"filter": "\ud800"}', HALF),
        ("/my/count", '{"filter": "a = 12345678901234567890123"}', "an integer of more than 64 bits"),
        ("/my/documents/delete", r'{"ids": ["\ud800"]}', HALF),
        ("/my/documents/delete", '{"ids": ["a"], "ids": ["b"]}', TWICE),
        ("", r'{"name": "\ud800"}', HALF),
        ("", r'{"name": "other", "encoder": "\ud800"}', HALF),
        ("", r'{"name": "other", "settings": {"language": "\ud800"}}', HALF),
        ("", '{"name": "other", "settings": {"b": 0, "b": 1}}', TWICE),
    ],
)
def test_what_would_be_altered_is_refused(service: Service, path: str, body: str, says: str) -> None:
    answer = service.request("POST", f"/v1/collections{path}", content=body, headers=JSON)
    assert answer.status_code == 400, answer.text
    assert says in answer.json()["error"]["message"]
    if path.startswith("/my/search") and "query" in body and "queries" not in body:
        # Of a document the same is an error of its row, and the others are stored.
        first, second = (
            f'{{"id": "1", "text": "a", "extra": {body}}}',
            '{"id": "2", "text": "b", "n": 9007199254740993}',
        )
        rows = f"[{first}, {second}]"
        told = service.request("POST", "/v1/collections/my/documents", content=rows, headers=JSON).json()
        assert says in told["items"][0]["error"]["message"]
        assert told["items"][1]["status"] in ("added", "unchanged")
        assert b'"n":9007199254740993' in service.request("GET", "/v1/collections/my/documents/2").content


def test_request_ids_that_are_none_are_replaced(service: Service) -> None:
    for given in ("", "a b", "x" * 200, "ä".encode().decode("latin-1"), "<script>"):
        answer = service.request("GET", "/healthz", headers={"x-request-id": given.encode("latin-1")})
        assert answer.headers["x-request-id"] != given
        assert len(answer.headers["x-request-id"]) == 16


def test_every_request_is_logged_with_its_id(service: Service) -> None:
    service.request("GET", "/v1/collections/my/search?q=secret+words", headers={"x-request-id": "logged-1"})
    line = service.logged("logged-1")
    assert (line["method"], line["path"], line["status"]) == ("GET", "/v1/collections/my/search", 200)
    assert line["ms"] > 0
    assert "secret" not in json.dumps(line)  # what people search for is their own business


def test_what_is_no_http_is_refused_in_the_same_shape(service: Service) -> None:
    host, port = service.url.removeprefix("http://").split(":")
    for sent in (b"GARBAGE\r\n\r\n", b"GET /healthz?" + b"a" * 70_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n"):
        told = b""
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(sent)
            with contextlib.suppress(ConnectionResetError):  # what it had not read is thrown away
                while piece := connection.recv(4096):
                    told += piece
        head, _, body = told.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400")
        assert json.loads(body)["error"]["code"] == "not_http"


def test_nothing_tells_what_the_server_is_made_of(service: Service) -> None:
    headers = service.request("GET", "/healthz").headers
    assert "server" not in headers
    assert "x-powered-by" not in headers


def test_no_cors_unless_asked_for(service: Service, tmp_path: Path) -> None:
    asking = {"origin": "https://page.example", "access-control-request-method": "POST"}
    assert "access-control-allow-origin" not in service.request("GET", "/healthz", headers=asking).headers
    with running(tmp_path, "--cors-origins", "https://page.example,https://b.example") as open_service:
        allowed = open_service.request("OPTIONS", "/v1/collections/my/search", headers=asking)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == "https://page.example"
        answer = open_service.request("GET", "/nowhere", headers=asking)
        assert answer.headers["access-control-allow-origin"] == "https://page.example"
        other = {**asking, "origin": "https://evil.example"}
        assert "access-control-allow-origin" not in open_service.request("GET", "/healthz", headers=other).headers


def test_a_failure_that_nobody_expected_tells_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(Settings(data=tmp_path))

    async def broken() -> None:
        raise ZeroDivisionError(f"secret {tmp_path}")

    async def half() -> Any:
        from starlette.responses import StreamingResponse

        def pieces() -> Iterator[bytes]:
            yield b"half"
            raise ZeroDivisionError("secret")

        return StreamingResponse(pieces())

    app.add_api_route("/broken", broken)
    app.add_api_route("/half", half)

    async def ask() -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer = await client.get("/broken")
            assert answer.status_code == 500
            error = answer.json()["error"]
            assert error["code"] == "internal"
            assert error["request_id"] == answer.headers["x-request-id"]
            assert "secret" not in answer.text
            assert str(tmp_path) not in answer.text
            with pytest.raises(ZeroDivisionError):  # too late to say anything else: the connection is cut
                await client.get("/half")
            answer = await client.get("/v1/collections")
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "starting")
            assert answer.headers["retry-after"] == "1"
            answer = await client.get("/readyz")
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "starting")
            assert answer.headers["retry-after"] == "1"
            assert (await client.get("/healthz")).status_code == 200

    with kept_loggers() as loggers, caplog.at_level(logging.ERROR, "lexhound.request"):
        for logger in loggers:  # else the log of the service that runs in this process has the errors too
            logger.handlers.clear()
            logger.propagate = True
        asyncio.run(ask())
    assert "secret" in caplog.text, "the log has the reason"


@pytest.mark.parametrize("kind", our_exceptions().values(), ids=lambda kind: kind.__name__)
def test_failures_of_the_server_s_side_never_carry_a_path(kind: type[LexhoundError]) -> None:
    if issubclass(kind, problems.ServiceError):  # these are made to be told
        return
    error = kind.__new__(kind)
    error.args = ("/srv/data/my.index is broken",)
    for name in ("message", "where", "hint", "path", "reason", "text"):
        setattr(error, name, "/srv/data/my.index")
    told = answer_for(error)
    assert told.status == kind.http_status
    if told.status >= 500 or kind in (NotACollectionError,):
        assert "/srv" not in f"{told.message}{told.where}{told.hint}"
    if told.status == 503:
        assert told.headers["retry-after"]


def test_unknown_and_inherited_exceptions() -> None:
    class NewError(CollectionError):
        pass

    assert answer_for(NewError("x", where="/srv")) == INTERNAL
    assert answer_for(ZeroDivisionError("x")) == INTERNAL
    assert answer_for(MemoryError()).status == 503
    full = answer_for(OSError(errno.ENOSPC, "No space left on device", "/srv"))
    assert (full.status, full.code, full.where) == (507, "storage_full", None)
    assert answer_for(OSError(errno.EMFILE, "Too many open files", "/srv")).status == 503
    assert answer_for(StorageFullError("x", where="/srv")).status == 507
