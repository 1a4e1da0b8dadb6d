"""MCP with the SDK's own client: over standard input and output, and over HTTP."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from command import environment, run
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from service import Service, running

from lexhound.retrieval import Collection
from lexhound.serve.api.mcp.library import OpenLibrary
from lexhound.serve.api.mcp.server import make_server

ODD = "a/../b c"


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("mcp")
    with Collection.create(folder / "notes.index", encoder="bm25") as notes:
        notes.add(
            [
                {"id": "n1", "title": "Wings", "text": "The flow separates from a wing.", "year": 2024, "lang": "en"},
                {"id": ODD, "text": "Heat flows from hot to cold.", "year": 1987},
            ]
        )
    with Collection.create(folder / "papers.index", encoder="bm25") as papers:
        papers.add([{"id": "p1", "text": "A shock tube."}])
    return folder / "notes.index", folder / "papers.index"


Session = Callable[[Client], Awaitable[None]]


def within(*places: Path, write: bool = False) -> Callable[[Session], None]:
    """Runs a session with a server in this process, without a transport."""

    def go(session: Session) -> None:
        async def whole() -> None:
            library = OpenLibrary([str(place) for place in places])
            try:
                async with Client(make_server(library, write=write)) as client:
                    await session(client)
            finally:
                library.close()

        asyncio.run(whole())

    return go


async def ask(client: Client, tool: str, **arguments: Any) -> Any:
    """What a tool answers: the object, which is the text, too."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert json.loads(result.content[0].text) == result.structured_content  # type: ignore[union-attr]
    return result.structured_content


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    """What a tool says that refuses a call."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return str(result.content[0].text)  # type: ignore[union-attr]


async def check_reading(client: Client) -> None:
    """What every transport has to do with the collection `notes`."""
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert {"search", "get", "list_collections"} <= set(tools)
    annotations = tools["search"].annotations
    assert annotations is not None
    assert annotations.read_only_hint
    found = await ask(client, "search", query="wing flow", collection="notes", k=2, fields=["year"])
    assert [hit["id"] for hit in found["hits"]] == ["n1", ODD]
    assert found["hits"][0] | {"score": 0} == {
        "rank": 1, "id": "n1", "title": "Wings", "score": 0, "passage": "The flow separates from a wing.",
        "whole": True, "uri": "lexhound://notes/n1", "metadata": {"year": 2024},
    }  # fmt: skip
    assert (await ask(client, "search", query="zeppelin", collection="notes"))["hits"] == []
    old = await ask(client, "search", query="flow", collection="notes", filter="year < 2000", mode="lexical")
    assert [hit["id"] for hit in old["hits"]] == [ODD]
    document = await ask(client, "get", id=ODD, collection="notes")
    assert (document["text"], document["metadata"]) == ("Heat flows from hot to cold.", {"year": 1987})
    listed = (await ask(client, "list_collections"))["collections"]
    notes = next(each for each in listed if each["name"] == "notes")
    assert (notes["documents"], notes["modes"]) == (2, ["auto", "lexical"])
    assert {field["field"]: (field["kind"], field["values"]) for field in notes["fields"]} == {
        "year": ("number", [1987, 2024]), "lang": ("text", ["en"]),
    }  # fmt: skip
    read = await client.read_resource(old["hits"][0]["uri"])
    assert read.contents[0].text == "Heat flows from hot to cold."  # type: ignore[union-attr]
    read = await client.read_resource("lexhound://notes/n1")
    assert read.contents[0].text == "Wings\n\nThe flow separates from a wing."  # type: ignore[union-attr]
    with pytest.raises(MCPError, match="there is no document"):
        await client.read_resource("lexhound://notes/none")
    assert "did you mean year?" in await refused(client, "search", query="x", collection="notes", filter="yaer > 1")
    assert "allow_unknown_fields" not in await refused(client, "search", query="x", collection="notes", filter="a = 1")
    assert "dense" in await refused(client, "search", query="x", collection="notes", mode="dense")
    assert "there is no document" in await refused(client, "get", id="none", collection="notes")
    assert "there is no collection" in await refused(client, "search", query="x", collection="none")
    assert "nonsense" in await refused(client, "search", query="x", collection="notes", nonsense=1)
    assert "k\n" in await refused(client, "search", query="x", collection="notes", k=51)


async def check_writing(client: Client) -> None:
    """What tools that write do to the only collection."""
    added = await ask(client, "add_documents", documents=[{"id": "x", "text": "A zeppelin.", "year": 1910}])
    assert added["added"] == 1
    assert [hit["id"] for hit in (await ask(client, "search", query="zeppelin"))["hits"]] == ["x"]
    message = await refused(client, "add_documents", documents=[{"id": "y", "text": "zeppelin"}, {"text": "no id"}])
    assert "document 2" in message
    assert len((await ask(client, "search", query="zeppelin"))["hits"]) == 1, "all of a call is written, or nothing"
    assert await ask(client, "delete_documents", ids=["x", "y"]) == {
        "collection": "notes", "deleted": 1, "missing": ["y"],
    }  # fmt: skip
    assert (await ask(client, "search", query="zeppelin"))["hits"] == []


def test_tools_and_resources(places: tuple[Path, Path]) -> None:
    within(*places)(check_reading)


def test_read_only_unless_asked_and_the_collection_must_be_named(places: tuple[Path, Path]) -> None:
    async def session(client: Client) -> None:
        assert {tool.name for tool in (await client.list_tools()).tools} == {"search", "get", "list_collections"}
        assert "add_documents" in await refused(client, "add_documents", documents=[{"id": "x", "text": "x"}])
        assert "name one of notes, papers" in await refused(client, "search", query="x")
        assert [hit["id"] for hit in (await ask(client, "search", query="tube", collection="papers"))["hits"]] == ["p1"]

    within(*places)(session)


def test_writing_and_what_others_write(places: tuple[Path, Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(places[0], tmp_path / "notes.index"))

    async def session(client: Client) -> None:
        await check_writing(client)
        with Collection.open(copy, writable=True) as other:
            assert "another process" in await refused(client, "delete_documents", ids=["n1"])
            other.add([{"id": "o", "text": "A zeppelin."}])
        assert [hit["id"] for hit in (await ask(client, "search", query="zeppelin"))["hits"]] == ["o"]

    within(copy, write=True)(session)


def test_an_unexpected_error_is_logged_and_not_told(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret")

    async def session(client: Client) -> None:
        monkeypatch.setattr(Collection, "search", broken)
        message = await refused(client, "search", query="x")
        assert "secret" not in message
        assert "log" in message

    within(places[0])(session)
    assert "ZeroDivisionError: secret" in caplog.text


@pytest.mark.process
def test_standard_input_and_output(places: tuple[Path, Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(places[0], tmp_path / "notes.index"))

    async def whole() -> None:
        arguments = ["-m", "lexhound", "mcp", str(copy), str(places[1])]
        server = StdioServerParameters(command=sys.executable, args=arguments, env=environment())
        async with Client(server) as client:
            await check_reading(client)
        only = StdioServerParameters(
            command=sys.executable, args=["-m", "lexhound", "mcp", str(copy), "--write"], env=environment()
        )
        async with Client(only, mode="legacy") as client:  # with the handshake of before
            await check_writing(client)

    asyncio.run(whole())


def test_the_command_refuses_what_it_cannot_serve(places: tuple[Path, Path], tmp_path: Path) -> None:
    for arguments, says in (
        ([tmp_path / "none"], "none"),
        ([places[0], places[0]], "both called notes"),
        ([], "Missing argument".lower()),
        ([places[0], "--characters", "3"], "characters"),
    ):
        outcome = run("mcp", *arguments)  # type: ignore[arg-type]
        assert outcome.code != 0
        assert says in outcome.err
        assert outcome.out == ""
    assert run("mcp", places[0]).code == 0, "its client has closed standard input"


# Over HTTP


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {}


@pytest.fixture(scope="module")
def service(
    places: tuple[Path, Path], keys: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("served")
    data = folder / "data"
    shutil.copytree(places[0], data / "notes.index")
    shutil.copytree(places[1], data / "papers.index")
    file = folder / "keys.json"
    for name, scopes, collections in (
        ("all", ["read", "write"], []), ("reader", ["read"], ["notes"]), ("author", ["read", "write"], ["notes"]),
    ):  # fmt: skip
        options = [f"--scope={scope}" for scope in scopes] + [f"--collection={each}" for each in collections]
        keys[name] = run("keys", "create", name, *options, "--file", file).out.strip().splitlines()[-1]
    with running(data, "--mcp-write", "--keys-file", file) as started:
        yield started


def over_http(service: Service, key: str | None, session: Session, mode: str = "auto") -> None:
    """Run a session over HTTP."""

    async def whole() -> None:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(httpx2.AsyncClient(headers=headers, timeout=60))
            transport = streamable_http_client(f"{service.url}/mcp", http_client=http)
            await session(await stack.enter_async_context(Client(transport, mode=mode)))

    asyncio.run(whole())


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_same_over_http(service: Service, keys: dict[str, str], mode: str) -> None:
    over_http(service, keys["all"], check_reading, mode)


def test_keys_open_what_they_open_elsewhere(service: Service, keys: dict[str, str]) -> None:
    async def reader(client: Client) -> None:
        assert [each["name"] for each in (await ask(client, "list_collections"))["collections"]] == ["notes"]
        assert (await ask(client, "search", query="wing"))["collection"] == "notes"
        assert "does not open" in await refused(client, "search", query="x", collection="papers")
        assert "does not open" in await refused(client, "delete_documents", ids=["n1"])
        with pytest.raises(MCPError, match="does not open"):
            await client.read_resource("lexhound://papers/p1")

    over_http(service, keys["reader"], reader)
    over_http(service, keys["author"], check_writing)


def test_without_a_key_or_with_a_wrong_one(service: Service) -> None:
    for headers in ({}, {"authorization": "Bearer lxh_wrong"}):
        answer = service.request("POST", "/mcp", json={}, headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "unauthorised"
        assert answer.headers["www-authenticate"] == "Bearer"


def test_no_stream_and_no_session(service: Service, keys: dict[str, str]) -> None:
    for method in ("GET", "DELETE"):
        answer = service.request(method, "/mcp", headers={"x-api-key": keys["all"]})
        assert answer.status_code == 405
        assert answer.headers["allow"] == "POST"


def test_limits_are_those_of_the_service(service: Service, keys: dict[str, str]) -> None:
    async def session(client: Client) -> None:
        assert "8,192" in await refused(client, "search", query="x" * 9000, collection="notes")

    over_http(service, keys["reader"], session)


def test_an_alias_stands_for_its_collection(places: tuple[Path, Path], tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(places[0], data / "notes-2.index")

    async def session(client: Client) -> None:
        assert [each["name"] for each in (await ask(client, "list_collections"))["collections"]] == ["notes"]
        found = await ask(client, "search", query="wing")
        assert (found["collection"], found["hits"][0]["uri"]) == ("notes", "lexhound://notes/n1")

    with running(data, "--mcp") as started:
        assert started.request("POST", "/v1/aliases", json={"put": {"notes": "notes-2"}}).status_code == 200
        over_http(started, None, session)


def test_off_unless_asked_and_foreign_pages_are_refused(places: tuple[Path, Path]) -> None:
    with running(places[0]) as plain:
        assert plain.request("POST", "/mcp", json={}).status_code == 404
    with running(places[0], "--mcp") as keyless:
        foreign = keyless.request("POST", "/mcp", json={}, headers={"origin": "https://evil.example"})
        assert foreign.status_code == 403

        async def session(client: Client) -> None:
            assert {tool.name for tool in (await client.list_tools()).tools} == {"search", "get", "list_collections"}

        over_http(keyless, None, session)


def test_a_collection_with_tenants_is_asked_of_one(places: tuple[Path, Path], tmp_path: Path) -> None:
    shared = tmp_path / "shared.index"
    with Collection.create(shared, encoder="bm25", tenant_field="org") as collection:
        collection.add([{"id": "1", "text": "heat", "org": "a"}, {"id": "2", "text": "heat pipe", "org": "b"}])

    async def without(client: Client) -> None:
        for tool, arguments in (("search", {"query": "heat"}), ("get", {"id": "1"})):
            assert "lexhound mcp DIR --tenant NAME" in await refused(client, tool, collection="shared", **arguments)
        listed = {each["name"]: each for each in (await ask(client, "list_collections"))["collections"]}
        assert "has tenants" in listed["shared"]["note"]
        assert ("documents" in listed["shared"], listed["notes"]["documents"]) == (False, 2)

    within(shared, places[0])(without)

    async def of_one(client: Client) -> None:
        assert [hit["id"] for hit in (await ask(client, "search", query="heat"))["hits"]] == ["1"]

    async def whole() -> None:
        library = OpenLibrary([str(shared)], "a")
        try:
            async with Client(make_server(library)) as client:
                await of_one(client)
        finally:
            library.close()

    asyncio.run(whole())
