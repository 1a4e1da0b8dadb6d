"""The client: everything the service does, sync and async; trying again; bulk loads that stream."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from service import Service, document, running

import lexhound.serve.client
from lexhound.serve.client import client as module
from lexhound.serve.client.answers import BulkResult, Document
from lexhound.serve.client.async_client import AsyncClient
from lexhound.serve.client.client import Client
from lexhound.serve.client.errors import ApiError, ClientError, UnreachableError
from lexhound.serve.client.transport import CHUNK


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    data = tmp_path_factory.mktemp("client") / "data"
    data.mkdir()
    with running(data) as started:
        yield started


def test_everything(service: Service) -> None:
    with service.client() as client:
        info = client.create_collection("sync", settings={"k1": 1.2})
        assert (info.name, info.documents, info.settings["k1"], info.modes) == ("sync", 0, 1.2, ("lexical",))
        told: list[BulkResult] = []
        rows: list[Any] = [document(number) for number in range(2500)]
        rows[1700] = {"id": "bad"}
        rows[2400] = Document("own", "zeppelin", "Airships", {"year": 1900})
        result = client.put("sync", iter(rows), refresh=True, progress=told.append)
        assert (result.added, result.total, len(told)) == (2499, 2500, 3)
        assert [(each.place, each.id, each.code) for each in result.rejected] == [(1700, "bad", "invalid_document")]
        assert told[-1] == result
        assert client.count("sync") == 2499
        assert client.count("sync", "year = 1900") == 1
        assert client.get("sync", "own") == rows[2400]
        assert client.get("sync", "nothing") is None
        found = client.search("sync", "zeppelin", explain=True, stats=True, fields=["text", "title", "metadata"])
        (hit,) = found.hits
        assert (hit.rank, hit.id, hit.title, hit.text, hit.metadata) == (
            1,
            "own",
            "Airships",
            "zeppelin",
            {"year": 1900},
        )
        assert hit.snippet is not None
        assert hit.snippet.marks == ((0, 8),)
        assert hit.contributions is not None
        assert sum(part.score for part in hit.contributions) == hit.score
        assert found.stats is not None
        assert found.stats.documents_scored == 1
        last = client.search(
            "sync", "heat wing", k=2, filter="year < 1970", total=True, sort="year:desc", collapse="year"
        )
        assert last.total is not None
        every = client.search("sync", "heat wing", k=1000, filter="year < 1970")
        assert last.total.value == len(every)
        years = sorted({hit.metadata["year"] for hit in every if hit.metadata}, reverse=True)
        assert [hit.metadata["year"] for hit in last if hit.metadata] == years[:2]
        (among,) = client.facets("sync", ["year"], query="zeppelin", filter="year < 1950", matching=True)
        assert among.values == ((1900, 1),)
        assert client.search("sync", {"zeppelin": 1.0, "unknown": 1.0}).unknown_terms == ("unknown",)
        assert client.search_many("sync", ["zeppelin", "x"], k=3)[0][0][0] == "own"
        (lang,) = client.facets("sync", ["lang"])
        assert lang.values[0][0] == "en"
        assert client.delete("sync", ["own", "nothing"]).missing == ("nothing",)
        assert client.delete_where("sync", 'lang = "de"', refresh=True).deleted > 100
        client.compact("sync")
        assert "sync" in [each.name for each in client.collections()]
        client.delete_collection("sync")
        with pytest.raises(ApiError) as caught:
            client.collection("sync")
        assert (caught.value.status, caught.value.code) == (404, "unknown_collection")
        assert caught.value.request_id


def test_everything_asynchronous(service: Service) -> None:
    async def rows() -> AsyncIterator[dict[str, Any]]:
        for number in range(1500):
            yield document(number)

    async def use() -> None:
        async with AsyncClient(service.url) as client:
            await client.wait_until_ready()
            assert await client.is_ready()
            await client.create_collection("async")
            told: list[BulkResult] = []
            result = await client.put("async", rows(), refresh=True, progress=told.append)
            assert (result.added, len(told)) == (1500, 2)
            await client.put("async", [{"id": "own", "text": "zeppelin"}], refresh=True)
            assert await client.count("async") == 1501
            found = await client.search("async", "zeppelin")
            assert [hit.id for hit in found.hits] == ["own"]
            assert (await client.get("async", "own")) == Document("own", "zeppelin")
            assert (await client.get("async", "none")) is None
            assert len((await client.search_many("async", ["heat", "flow"], k=5))[1]) == 5
            assert (await client.facets("async", ["year"]))[0].minimum == 1950
            assert (await client.delete("async", ["own"])).deleted == 1
            assert (await client.delete_where("async", "year < 1960")).deleted > 100
            assert (await client.collection("async")).name == "async"
            assert "async" in [each.name for each in await client.collections()]
            await client.compact("async")
            await client.delete_collection("async")
            with pytest.raises(ApiError, match="unknown_collection"):
                await client.search("async", "x")

    asyncio.run(use())


def test_what_json_has_no_form_for_is_not_sent(service: Service) -> None:
    with service.client() as client:
        client.create_collection("unsent")
        for value in (float("nan"), [float("inf")], 2**64, "\ud800", {1: 2}, object()):
            with pytest.raises(ClientError, match="this cannot be sent as JSON"):
                client.put("unsent", [{"id": "wrong", "text": "t", "value": value}])
        assert client.count("unsent") == 0


def test_the_synchronous_client_is_what_the_asynchronous_one_gives(root: Path, tmp_path: Path) -> None:
    """`make client` writes it."""
    subprocess.run([sys.executable, "tools/sync_client.py", str(tmp_path / "client.py")], cwd=root, check=True)
    assert (tmp_path / "client.py").read_text() == (root / "serve" / "client" / "client.py").read_text()


def test_the_package_has_the_names_of_the_documentation() -> None:
    assert lexhound.serve.client.Client is Client
    assert lexhound.serve.client.AsyncClient is AsyncClient
    assert {name for name in lexhound.serve.client.__all__ if getattr(lexhound.serve.client, name) is not None} >= {
        "ApiError",
        "UnreachableError",
    }


class Flaky(BaseHTTPRequestHandler):
    """A server that answers as it is told, one status after the other."""

    script: ClassVar[list[tuple[int, dict[str, str], bytes]]] = []
    seen: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        Flaky.seen.append(self.rfile.read(int(self.headers.get("content-length", 0))))
        status, headers, body = Flaky.script.pop(0) if Flaky.script else (200, {}, b'{"count": 7}')
        if status == 0:  # cut the connection
            self.connection.close()
            return
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def flaky() -> Iterator[str]:
    Flaky.script, Flaky.seen = [], []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Flaky)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


BUSY = (429, {"retry-after": "0"}, b'{"error": {"code": "too_many_requests", "message": "busy"}}')
STARTING = (503, {"retry-after": "0"}, b"<html>a proxy's own page</html>")


@pytest.mark.parametrize("script", [[BUSY], [STARTING, BUSY], [(0, {}, b"")], [(503, {}, b"")]])
def test_overload_and_broken_connections_are_tried_again(
    flaky: str, script: list[tuple[int, dict[str, str], bytes]]
) -> None:
    Flaky.script = list(script)
    with Client(flaky) as client:
        assert client.count("my") == 7
    assert len(Flaky.seen) == len(script) + 1
    assert len(set(Flaky.seen)) == 1, "the same request each time"
    Flaky.script, Flaky.seen = list(script), []

    async def ask() -> int:
        async with AsyncClient(flaky) as client:
            return await client.count("my")

    assert asyncio.run(ask()) == 7
    assert len(Flaky.seen) == len(script) + 1


@pytest.mark.parametrize("status", [400, 401, 404, 409, 413, 422, 500, 507])
def test_other_errors_are_not_tried_again(flaky: str, status: int) -> None:
    Flaky.script = [
        (status, {}, b'{"error": {"code": "c", "message": "m", "where": "w", "hint": "h", "request_id": "r"}}')
    ]
    with Client(flaky) as client, pytest.raises(ApiError) as caught:
        client.count("my")
    assert len(Flaky.seen) == 1
    error = caught.value
    assert (error.status, error.code, error.message, error.where, error.hint, error.request_id) == (
        status, "c", "m", "w", "h", "r",
    )  # fmt: skip
    assert str(error) == f"{status} c: m (w). h"


def test_it_gives_up_in_the_end(flaky: str) -> None:
    Flaky.script = [BUSY] * 10
    with Client(flaky, retries=3) as client, pytest.raises(ApiError) as caught:
        client.count("my")
    assert (caught.value.status, len(Flaky.seen)) == (429, 4)


def test_a_service_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    with Client("http://127.0.0.1:9", retries=2) as client:
        with pytest.raises(UnreachableError, match="cannot be reached"):
            client.count("my")
        assert not client.is_ready()


def test_a_long_load_is_sent_in_chunks_and_never_held_as_a_whole(service: Service) -> None:
    held = {"now": 0, "most": 0}

    def rows() -> Iterator[dict[str, Any]]:
        for number in range(5000):
            held["now"] += 1
            held["most"] = max(held["most"], held["now"])
            yield document(number)

    def done(result: BulkResult) -> None:
        held["now"] = 0

    with service.client() as client:
        client.create_collection("long")
        assert client.put("long", rows(), progress=done).added == 5000
    assert held["most"] == CHUNK


def test_names_and_ids_are_written_so_that_they_stay_in_their_place(service: Service, tmp_path: Path) -> None:
    with service.client() as client:
        for name in ("../x", "a/b", "..", "a?b", "a#b"):
            with pytest.raises(ApiError) as caught:
                client.count(name)
            assert caught.value.status in (404, 405, 422)
