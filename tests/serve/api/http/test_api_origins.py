"""Whom a service without keys listens to: the names it goes by, and the pages that may change something."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from service import PATIENCE, Service, running

from lexhound.serve.api.app import create_app
from lexhound.serve.settings import Settings

CHANGES = (
    ("POST", "/v1/collections", {"name": "other"}),
    ("DELETE", "/v1/collections/my", None),
    ("POST", "/v1/collections/my/compact", None),
    ("POST", "/v1/collections/my/documents", [{"id": "b", "text": "heat"}]),
    ("POST", "/v1/collections/my/documents/delete", {"ids": ["a"]}),
    ("DELETE", "/v1/collections/my/documents/a", None),
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    data = tmp_path_factory.mktemp("origins") / "data"
    data.mkdir()
    with running(data, "--cors-origins", "https://friend.example") as started:
        with started.client() as client:
            client.create_collection("my")
            client.put("my", [{"id": "a", "text": "heat"}], refresh=True)
        yield started


def port_of(service: Service) -> str:
    return service.url.rpartition(":")[2]


@pytest.mark.parametrize(
    "host",
    ["rebound.example", "rebound.example:{port}", "127.0.0.1.nip.example", "localhost.example", "192.168.1.7", "[::2]",
     "", "localhost:80:80", "user@localhost", "a b", "169.254.169.254", "0x7f000001"],
)  # fmt: skip
def test_names_that_are_not_the_services_are_refused(service: Service, host: str) -> None:
    for method, path in (
        ("GET", "/"),
        ("GET", "/healthz"),
        ("GET", "/v1/collections"),
        ("GET", "/v1/collections/my/documents/a"),
        ("GET", "/metrics"),
        ("DELETE", "/v1/collections/my"),
        ("GET", "/nothing/here"),
    ):
        answer = service.request(method, path, headers={"host": host.format(port=port_of(service))})
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "foreign_host"
    assert service.request("GET", "/v1/collections/my/documents/a").status_code == 200


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:{port}", "localhost.:{port}", "127.0.0.1", "127.0.0.2:1", "[::1]:{port}", "[::1]"]
)
def test_the_names_of_this_machine_are_the_services(service: Service, host: str) -> None:
    own = host.format(port=port_of(service))
    assert service.request("GET", "/", headers={"host": own}).status_code == 200
    # And its own page may write.
    headers = {"host": own, "origin": f"http://{own}", "content-type": "application/json"}
    answer = service.request("POST", "/v1/collections/my/count", headers=headers, content=b"{}")
    assert answer.json() == {"count": 1}


def test_a_second_host_does_not_hide_the_first(service: Service) -> None:
    host, _, port = service.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: rebound.example\r\n\r\n")
        assert connection.recv(65536).split(b"\r\n")[0].split()[1] in (b"400", b"403")


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://localhost:1"},
        {"origin": "http://127.0.0.1"},
        {"origin": "null"},
        {"origin": "http://[", "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "http://localhost:3000"},
        {"origin": "https://friend.example.evil.example"},
    ],
)
def test_foreign_pages_change_nothing(
    service: Service, method: str, path: str, body: Any, headers: dict[str, str]
) -> None:
    answer = service.request(method, path, json=body, headers=headers)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "foreign_origin"
    assert service.request("GET", "/v1/collections/my/documents/a").status_code == 200
    assert service.request("GET", "/v1/collections/my/documents/b").status_code == 404
    assert [each["name"] for each in service.request("GET", "/v1/collections").json()["collections"]] == ["my"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "https://friend.example", "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-origin", "origin": "https://behind-a-proxy.example"},
        {"sec-fetch-site": "none"},
    ],
)
def test_own_pages_named_pages_and_programs_write(service: Service, headers: dict[str, str]) -> None:
    answer = service.request(
        "POST", "/v1/collections/my/documents", json=[{"id": "a", "text": "heat"}], headers=headers
    )
    assert answer.json()["unchanged"] == 1


def test_no_route_changes_anything_by_get(service: Service) -> None:
    """So a picture or a link on a foreign page, which browsers fetch without an Origin, changes nothing."""
    paths = service.request("GET", "/openapi.json").json()["paths"]
    reads = {path for path, methods in paths.items() if "get" in methods}
    assert reads == {
        "/healthz", "/readyz", "/metrics", "/v1/collections", "/v1/collections/{name}",
        "/v1/collections/{name}/documents/{id}", "/v1/collections/{name}/facets", "/v1/collections/{name}/search",
        "/v1/collections/{name}/backups", "/v1/collections/{name}/suggest", "/v1/collections/{name}/synonyms",
        "/v1/aliases",
    }  # fmt: skip


def statuses(tmp_path: Path, requests: list[tuple[str, str, dict[str, str]]], **settings: Any) -> list[int]:
    """What the application answers a client of another machine."""
    app = create_app(Settings(data=tmp_path, **settings))

    async def ask() -> list[int]:
        transport = httpx.ASGITransport(app, client=("10.0.0.9", 4000))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return [
                (await client.request(method, path, headers=headers)).status_code for method, path, headers in requests
            ]

    return asyncio.run(ask())


def test_with_keys_any_name_and_page_may_ask_unless_names_are_given(tmp_path: Path) -> None:
    key = "a-key-of-these-tests-0123456789"
    foreign = {"host": "search.example", "origin": "https://evil.example", "authorization": f"Bearer {key}"}
    requests = [("GET", "/healthz", foreign), ("DELETE", "/v1/collections/my", foreign)]
    # 503: the application is not started here, so what is let through meets that it is starting.
    assert statuses(tmp_path, requests, api_key=key) == [200, 503]
    named = {"api_key": key, "allowed_hosts": ("search.example",)}
    assert statuses(tmp_path, requests, **named) == [200, 503]
    assert statuses(tmp_path, [("GET", "/healthz", foreign | {"host": "other.example"})], **named) == [403]


def test_beyond_this_machine_names_are_checked_where_they_are_given(tmp_path: Path) -> None:
    requests = [("GET", "/healthz", {"host": "search.example"}), ("GET", "/healthz", {"host": "other.example"})]
    open_to_all = {"host": "0.0.0.0", "insecure": True}  # noqa: S104
    assert statuses(tmp_path, requests, **open_to_all) == [200, 200]
    assert statuses(tmp_path, requests, allowed_hosts="search.example", **open_to_all) == [200, 403]
    assert statuses(tmp_path, requests, allowed_hosts="search.example") == [200, 403]
    assert statuses(tmp_path, requests, allowed_hosts="*") == [200, 200]
    # Pages of other origins are held off all the same.
    foreign = [("DELETE", "/v1/collections/my", {"host": "search.example", "origin": "https://evil.example"})]
    assert statuses(tmp_path, foreign, **open_to_all) == [403]
    assert statuses(tmp_path, foreign, cors_origins="*", **open_to_all) == [503]
