"""The service as a process: stopped, killed under load, several at once."""

from __future__ import annotations

import json
import os
import pty
import random
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from command import COMMAND, environment, run
from service import PATIENCE, ServiceProcess, document, running_process, start

from lexhound.retrieval import Collection
from lexhound.serve.client.errors import ClientError

KILLS = 20


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.mkdir()
    return path


def eventually(check: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not check():
        assert time.monotonic() < end
        time.sleep(0.02)


class Writers:
    """Clients that write and delete as fast as they are answered, and remember what they were told."""

    def __init__(self, service: ServiceProcess, round_number: int, clients: int = 3) -> None:
        self.present: set[str] = set()
        self.gone: set[str] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=(service, f"{round_number}-{number}"))
            for number in range(clients)
        ]
        for thread in self._threads:
            thread.start()

    def _write(self, service: ServiceProcess, name: str) -> None:
        with service.client(retries=0) as client:
            for number in range(100_000):
                if self._stop.is_set():
                    return
                ids = [f"{name}-{number}-{each}" for each in range(5)]
                try:
                    result = client.put("my", [{**document(number), "id": each} for each in ids])
                    assert result.added == 5
                    with self._lock:
                        self.present.update(ids)
                    client.delete("my", ids[:1])
                    with self._lock:
                        self.present.remove(ids[0])
                        self.gone.add(ids[0])
                except ClientError:  # killed: what was under way was not acknowledged, and may be there or not
                    with self._lock:
                        self.present.discard(ids[0])
                    return

    def join(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def stop(self) -> None:
        self._stop.set()
        self.join()


@pytest.mark.slow
def test_killed_under_load_twenty_times_and_every_acknowledged_document_is_there(data: Path, tmp_path: Path) -> None:
    rng = random.Random(4)
    present: set[str] = set()
    gone: set[str] = set()
    for number in range(KILLS):
        service = start(data, log=tmp_path / f"{number}.log")
        try:
            with service.client() as client:
                if number == 0:
                    client.create_collection("my")
                count = client.count("my")
                assert count >= len(present)
                for identifier in rng.sample(sorted(present), min(50, len(present))):
                    assert client.get("my", identifier) is not None
                for identifier in rng.sample(sorted(gone), min(10, len(gone))):
                    assert client.get("my", identifier) is None
                writers = Writers(service, number)
                eventually(lambda writers=writers: len(writers.present) >= 20)  # type: ignore[misc]
                if number % 3 == 2:
                    client.compact("my")
                time.sleep(rng.uniform(0.0, 0.3))
        finally:
            service.kill()
        writers.join()
        present |= writers.present
        gone |= writers.gone
        with Collection.open(data / "my.index") as collection:
            missing = [each for each in sorted(writers.present) if collection.get(each) is None]
            assert not missing, f"acknowledged and lost: {missing[:5]}"
            back = [each for each in sorted(writers.gone) if collection.get(each) is not None]
            assert not back, f"deleted and back again: {back[:5]}"
    with Collection.open(data / "my.index") as collection:
        assert collection.verify() == []
        assert not [each for each in present if collection.get(each) is None]
    assert len(present) > 20 * KILLS


def test_terminating_finishes_what_is_under_way_and_loses_nothing(data: Path) -> None:
    """A load that has begun is finished, writers are answered or refused, and nothing acknowledged is lost."""
    service = start(data)
    with service.client() as client:
        client.create_collection("my")
    begun, told = threading.Event(), {}

    def lines() -> Iterator[bytes]:
        for number in range(2000):
            if number == 1000:
                begun.set()
                time.sleep(0.5)
            yield json.dumps({**document(number), "id": f"long-{number}"}).encode() + b"\n"

    def load() -> None:
        told["answer"] = httpx.post(
            f"{service.url}/v1/collections/my/documents?items=errors",
            content=lines(),
            headers={"content-type": "application/x-ndjson"},
            timeout=PATIENCE,
        )

    loading = threading.Thread(target=load)
    loading.start()
    writers = Writers(service, 0)
    assert begun.wait(PATIENCE)
    eventually(lambda: len(writers.present) > 0)
    assert service.request("POST", "/v1/collections/my/compact").status_code == 202
    code = service.terminate()
    loading.join(PATIENCE)
    writers.join()
    assert code == 0, service.log.read_text()
    assert told["answer"].json()["added"] == 2000
    assert service.lines()[-1]["event"] == "stopped"
    assert not [line for line in service.lines() if line["level"] == "error"]
    with Collection.open(data / "my.index") as collection:
        assert not [each for each in sorted(writers.present) if collection.get(each) is None]
        assert collection.get("long-1999") is not None
        assert collection.verify() == []
        # In good order: waiting documents have become a segment, and the writer's lock is free.
        assert collection.info().segments
    with Collection.open(data / "my.index", writable=True) as collection:
        assert collection.count() >= 2000


def test_searches_go_on_while_documents_come_and_segments_are_merged(data: Path) -> None:
    with running_process(data) as service, service.client() as client:
        client.create_collection("my")
        client.put("my", [document(number) for number in range(2000)], refresh=True)
        whole = [(hit.id, hit.score) for hit in client.search("my", "heat flow", k=1000, highlight=False).hits]
        assert len(whole) > 200
        writers = Writers(service, 0, clients=2)
        client.compact("my")
        slowest = 0.0
        for _ in range(100):
            started = time.monotonic()
            hits = client.search("my", "heat flow", k=20).hits
            slowest = max(slowest, time.monotonic() - started)
            assert len({hit.id for hit in hits}) == 20
        writers.stop()
        client.put("my", [], refresh=True)
        assert client.count("my") == 2000 + len(writers.present)


def pids(service: ServiceProcess) -> dict[int, bool]:
    """The processes that are ready, and whether they write; later ones of the same place included."""
    return {line["pid"]: line["writes"] for line in service.lines() if line["event"] == "ready"}


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return status != "Z"


@pytest.fixture
def several(data: Path) -> Iterator[ServiceProcess]:
    service = start(data, "--workers", "3")
    try:
        # Once one says that the service is ready, all are: whichever is asked, and the one that writes.
        with service.client(retries=0) as client:
            client.create_collection("my")
        for _ in range(20):  # a connection each
            assert service.request("POST", "/v1/collections/my/documents", json=[]).status_code == 200
        assert len(pids(service)) == 3
        yield service
    finally:
        if service.process.poll() is None:
            assert service.terminate() == 0, service.log.read_text()
        eventually(lambda: not any(alive(pid) for pid in pids(service)))


def test_one_of_several_processes_writes_and_all_see_it_at_once(several: ServiceProcess) -> None:
    for number in range(30):  # a connection each, so that every process gets some
        answer = several.request(
            "POST", "/v1/collections/my/documents?refresh=true", json=[{"id": str(number), "text": f"heat n{number}"}]
        )
        assert answer.json()["added"] == 1
        found = several.request("GET", f"/v1/collections/my/search?q=n{number}").json()["hits"]
        assert [hit["id"] for hit in found] == [str(number)]
    assert several.request("DELETE", "/v1/collections/my/documents/7?refresh=true").status_code == 200
    for _ in range(10):
        assert several.request("POST", "/v1/collections/my/count").json() == {"count": 29}
    # Figures are those of all processes, whichever answers.
    text = several.request("GET", "/metrics").text
    place = 'route="/v1/collections/{name}/search",status="200"'
    (line,) = [
        each for each in text.splitlines() if each.startswith("lexhound_http_request_seconds_count") and place in each
    ]
    assert float(line.rpartition(" ")[2]) == 30
    # An error of the writing process is passed on as it is.
    answer = several.request("POST", "/v1/collections/none/documents", json=[], headers={"x-request-id": "through"})
    assert (answer.status_code, answer.json()["error"]["request_id"]) == (404, "through")
    several.request("DELETE", "/v1/collections/my")
    for _ in range(10):
        assert several.request("GET", "/v1/collections/my/search?q=heat").status_code == 404


def test_a_bulk_load_is_streamed_through_to_the_writing_process(several: ServiceProcess) -> None:
    def lines() -> Iterator[bytes]:
        for number in range(3000):
            yield json.dumps(document(number)).encode() + b"\n"

    for _ in range(4):
        answer = httpx.post(
            f"{several.url}/v1/collections/my/documents?refresh=true",
            content=lines(),
            headers={"content-type": "application/x-ndjson"},
            timeout=PATIENCE,
        )
        assert len(answer.json()["items"]) == 3000
    assert several.request("POST", "/v1/collections/my/count").json() == {"count": 3000}


def test_a_process_that_dies_is_replaced_and_searches_go_on(several: ServiceProcess) -> None:
    several.request("POST", "/v1/collections/my/documents?refresh=true", json=[{"id": "a", "text": "heat"}])
    (writer,) = [pid for pid, writes in pids(several).items() if writes]
    os.kill(writer, signal.SIGKILL)
    statuses = set()
    with several.client(retries=0) as client:
        end = time.monotonic() + PATIENCE
        while True:
            assert time.monotonic() < end
            answer = several.request("GET", "/v1/collections/my/search?q=heat")
            assert answer.status_code == 200, answer.text
            assert answer.json()["hits"][0]["id"] == "a"
            try:
                client.put("my", [{"id": "b", "text": "heat"}], refresh=True)
                break
            except ClientError as error:
                statuses.add(error.status)
                time.sleep(0.05)
    assert statuses <= {503, 500}, "refused with a reason, or cut off in the middle"
    assert several.request("GET", "/v1/collections/my/documents/b").status_code == 200
    reader = next(pid for pid, writes in pids(several).items() if not writes)
    os.kill(reader, signal.SIGKILL)
    eventually(lambda: len(pids(several)) == 5)


def test_processes_end_with_their_parent_however_it_ends(several: ServiceProcess) -> None:
    several.request("POST", "/v1/collections/my/documents", json=[{"id": "a", "text": "heat"}])
    children = list(pids(several))
    several.kill()
    eventually(lambda: not any(alive(pid) for pid in children))


def test_interrupted_like_terminated(data: Path) -> None:
    service = start(data)
    service.process.send_signal(signal.SIGINT)
    assert service.process.wait(PATIENCE) == 0
    assert service.lines()[-1]["event"] == "stopped"


def test_an_address_that_is_taken(data: Path, tmp_path: Path) -> None:
    with running_process(data) as service:
        outcome = run("serve", data, "--port", service.url.rpartition(":")[2])
    assert outcome.code == 2
    assert "cannot listen" in outcome.err
    missing = run("serve", tmp_path / "missing", "--port", "0")
    assert missing.code == 2
    assert "there is no folder" in missing.err


def test_who_writes_is_named_by_its_address(data: Path, tmp_path: Path) -> None:
    (tmp_path / "more.jsonl").write_text('{"id": "x", "text": "heat"}\n', "utf-8")
    with running_process(data) as service:
        with service.client() as client:
            client.create_collection("my")
            client.put("my", [document(0)], refresh=True)
        refused = run("add", data / "my.index", tmp_path / "more.jsonl")
        assert refused.code == 1
        assert (
            f"the service at {service.url} writes to this collection (pid {service.process.pid}, since" in refused.err
        )
        assert f"POST {service.url}/v1/collections/NAME/documents" in refused.err
    assert run("add", data / "my.index", tmp_path / "more.jsonl").code == 0
    assert (data / "my.index" / "write.lock").read_text().count("\n") == 1, "a command has no address"


def test_on_a_terminal_it_says_where_the_page_is(data: Path) -> None:
    leader, follower = pty.openpty()
    command = [*COMMAND, "serve", data, "--host", "0.0.0.0", "--port", "0", "--insecure"]  # noqa: S104
    with subprocess.Popen(command, stderr=follower, stdout=subprocess.DEVNULL, env=environment()) as process:
        os.close(follower)
        try:
            told = ""
            while "stop: Ctrl-C" not in told:
                told += os.read(leader, 65536).decode()
            found = re.search(r"search page: (http://127\.0\.0\.1:\d+)/   REST: \1/docs", told)
            assert found is not None, told
            eventually(lambda: httpx.get(f"{found[1]}/healthz").status_code == 200)
            assert "<title>" in httpx.get(f"{found[1]}/").text
        finally:
            process.terminate()
            os.close(leader)
