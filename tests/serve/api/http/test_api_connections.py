"""Connections that stand still: heads, bodies and answers that never come to an end, and too many at once."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest
from service import PATIENCE, ServiceProcess, document, running_process

SLOW = 190
ROUTE = "/v1/collections/my"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    data = tmp_path_factory.mktemp("connections") / "data"
    data.mkdir()
    flags = {
        "header-seconds": 1, "body-seconds": 1, "idle-seconds": 1, "delete-seconds": 0.2,
        "max-connections": 240, "max-connections-per-address": 220,
    }  # fmt: skip
    arguments = (part for name, value in flags.items() for part in (f"--{name}", str(value)))
    with running_process(data, *arguments) as started:
        with started.client() as client:
            client.create_collection("my")
            client.put("my", [document(number) for number in range(300)], refresh=True)
        yield started


def connect(service: ServiceProcess, *, source: str = "127.0.0.1") -> socket.socket:
    port = int(service.url.rpartition(":")[2])
    return socket.create_connection(("127.0.0.1", port), PATIENCE, source_address=(source, 0))


def rest(connection: socket.socket) -> bytes:
    """All that comes until the other side ends the connection."""
    connection.settimeout(PATIENCE)
    found = b""
    try:
        while piece := connection.recv(65536):
            found += piece
    except ConnectionResetError:
        pass
    return found


def told(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["code"]


HEAD = f"POST {ROUTE}/documents HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
STARTS: dict[str, tuple[bytes, int | None]] = {
    "nothing": (b"", None),
    "half a head": (b"GET /healthz HTTP/1.1\r\nHost: local", 408),
    "blank lines": (b"\r\n\r\n", 408),
    "no body": (f"{HEAD}Content-Length: 1000\r\n\r\n".encode(), 408),
    "half a body": (f"{HEAD}Content-Length: 1000\r\n\r\n".encode() + b'{"id": "half', 408),
    "a chunk": (f"{HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\n".encode() + b'{"id"', 408),
    "half a search": (
        f"POST {ROUTE}/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        "Content-Length: 99\r\n\r\n{".encode(),
        408,
    ),
    "second head": (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HT", None),
}


@pytest.mark.parametrize("start", STARTS)
def test_what_does_not_come_on_is_ended_with_the_reason(service: ServiceProcess, start: str) -> None:
    sent, status = STARTS[start]
    with connect(service) as connection:
        connection.sendall(sent)
        answer = rest(connection)
    if start == "second head":
        first, _, second = answer.partition(b'{"status":"ok"}')
        assert first.startswith(b"HTTP/1.1 200")
        assert told(second) == (408, "timeout")
    elif status is None:
        assert answer == b""
    else:
        assert told(answer) == (status, "timeout")


@pytest.mark.parametrize("start", ["half a head", "half a body", "a chunk"])
def test_a_byte_now_and_then_is_not_enough(service: ServiceProcess, start: str) -> None:
    with connect(service) as connection:
        connection.sendall(STARTS[start][0])
        connection.settimeout(0.2)
        answer = b""
        for _ in range(300):
            try:
                connection.sendall(b"\r\n1\r\nx" if start == "a chunk" else b"x")
                answer += connection.recv(65536)
            except TimeoutError:
                continue
            except (ConnectionResetError, BrokenPipeError):
                break
            answer += rest(connection)
            break
        else:
            raise AssertionError("it went on for a minute")
    assert not answer or told(answer) == (408, "timeout")


def test_a_body_that_comes_on_may_take_as_long_as_it_takes(service: ServiceProcess) -> None:
    def lines() -> Iterator[bytes]:
        for number in range(10):  # three times the seconds of the setting
            yield b"".join(json.dumps(document(1000 + number * 10 + each)).encode() + b"\n" for each in range(10))
            time.sleep(0.3)

    answer = httpx.post(
        f"{service.url}{ROUTE}/documents?items=errors",
        content=lines(),
        headers={"content-type": "application/x-ndjson"},
        timeout=PATIENCE,
    )
    assert (answer.status_code, answer.json()["added"]) == (200, 100)


def test_a_body_that_is_not_asked_for_does_not_keep_the_connection(service: ServiceProcess) -> None:
    """Refused before its body was read; what still comes of it is dropped, and only for so long."""
    with connect(service) as connection:
        head = f"POST {ROUTE}/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
        connection.sendall(f"{head}Content-Length: 100000000\r\n\r\n".encode())
        assert b" 415 " in connection.recv(65536)
        sent = 0
        try:
            while sent < 100_000_000:
                sent += connection.send(b"x" * 1000)
                time.sleep(0.01)
        except (ConnectionResetError, BrokenPipeError):
            pass
    assert sent < 100_000_000


def test_a_client_that_does_not_read_its_answers_is_let_go(service: ServiceProcess) -> None:
    question = (
        f"GET {ROUTE}/search?q=heat&k=300&fields=text,title,metadata HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    )
    with connect(service) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        ended = threading.Event()

        def ask() -> None:
            try:
                while True:
                    connection.sendall(question)
            except OSError:
                ended.set()

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        assert ended.wait(PATIENCE)
        asking.join(PATIENCE)


@contextmanager
def slow_connections(service: ServiceProcess, count: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        found = [stack.enter_context(connect(service)) for _ in range(count)]
        starts = list(STARTS.values())
        for number, connection in enumerate(found):
            connection.sendall(starts[number % len(starts)][0])
        yield found


def test_slow_connections_are_gone_and_others_were_answered_meanwhile(service: ServiceProcess) -> None:
    with slow_connections(service, SLOW) as connections:
        assert service.request("GET", f"{ROUTE}/search?q=heat").status_code == 200
        names = [each["name"] for each in service.request("GET", "/v1/collections").json()["collections"]]
        assert names == ["my"]
        for connection in connections:
            rest(connection)
    assert service.request("GET", "/healthz").status_code == 200


def test_connections_of_one_address_are_limited_and_others_still_come_in(service: ServiceProcess) -> None:
    with slow_connections(service, 220), ExitStack() as stack:
        refused = [stack.enter_context(connect(service)) for _ in range(5)]
        answers = [rest(connection) for connection in refused]
        assert {told(answer) for answer in answers if answer} == {(429, "too_many_connections")}
        # From elsewhere there is room for 20 more.
        others = [stack.enter_context(connect(service, source="127.0.0.2")) for _ in range(20)]
        for other in others:
            other.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert all(b" 200 " in other.recv(65536) for other in others)
        # And one that only waits for its next request makes room.
        with connect(service, source="127.0.0.3") as another:
            another.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert b" 200 " in rest(another)


def test_an_endless_head_is_refused(service: ServiceProcess) -> None:
    with connect(service) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        try:
            for number in range(2000):
                connection.sendall(f"X-{number}: {'x' * 1000}\r\n".encode())
        except (ConnectionResetError, BrokenPipeError):
            pass
        answer = rest(connection)
    assert not answer or told(answer) == (431, "too_large")


class Upload:
    """A bulk load that has begun and goes on only as it is told to."""

    def __init__(self, service: ServiceProcess, name: str) -> None:
        self._connection = connect(service)
        self._connection.sendall(
            f"POST /v1/collections/{name}/documents?refresh=true HTTP/1.1\r\nHost: localhost\r\n"
            "Connection: close\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )

    def send(self, content: bytes) -> None:
        self._connection.sendall(f"{len(content):x}\r\n".encode() + content + b"\r\n")

    def end(self) -> bytes:
        with self._connection:
            self._connection.sendall(b"0\r\n\r\n")
            return rest(self._connection)


def test_a_load_under_way_and_a_deletion_hold_up_nobody_else(tmp_path_factory: pytest.TempPathFactory) -> None:
    data = tmp_path_factory.mktemp("stalled") / "data"
    data.mkdir()
    with running_process(data, "--delete-seconds", "3") as service:
        with service.client() as client:
            for name in ("my", "other"):
                client.create_collection(name)
                client.put(name, [document(number) for number in range(20)], refresh=True)
        upload = Upload(service, "my")
        upload.send(json.dumps(document(100)).encode() + b"\n")
        done: dict[str, httpx.Response] = {}

        def delete() -> None:
            done["answer"] = service.request("DELETE", "/v1/collections/my")

        deleting = threading.Thread(target=delete)
        deleting.start()
        eventually(lambda: _code(service.request("POST", "/v1/collections/my/documents", json=[])) == "deleting")
        # While it waits, all else goes on.
        names = [each["name"] for each in service.request("GET", "/v1/collections").json()["collections"]]
        assert names == ["my", "other"]
        assert service.request("GET", "/v1/collections/my").status_code == 200
        assert len(service.request("GET", "/v1/collections/my/search?q=heat").json()["hits"]) > 0
        assert service.request("POST", "/v1/collections/other/documents", json=[document(7)]).status_code == 200
        assert _code(service.request("DELETE", "/v1/collections/my")) == "deleting"
        deleting.join(PATIENCE)
        assert (done["answer"].status_code, _code(done["answer"])) == (409, "in_use")
        # It was not deleted, and the load ends as if nothing had been.
        assert b'"added":1' in upload.end()
        assert service.request("GET", "/v1/collections/my/documents/d100").status_code == 200
        # With a load that ends in time the deletion goes through.
        upload = Upload(service, "my")
        upload.send(json.dumps(document(101)).encode() + b"\n")
        deleting = threading.Thread(target=delete)
        deleting.start()
        eventually(lambda: _code(service.request("POST", "/v1/collections/my/documents", json=[])) == "deleting")
        assert b'"added":1' in upload.end()
        deleting.join(PATIENCE)
        assert done["answer"].json() == {"deleted": "my"}
        names = [each["name"] for each in service.request("GET", "/v1/collections").json()["collections"]]
        assert names == ["other"]
        # The name is free again.
        assert service.request("POST", "/v1/collections", json={"name": "my"}).status_code == 201


def _code(answer: httpx.Response) -> str | None:
    found: dict[str, Any] = answer.json()
    return found["error"]["code"] if "error" in found else None


def eventually(check: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not check():
        assert time.monotonic() < end
        time.sleep(0.02)
