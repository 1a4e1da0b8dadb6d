"""Collections over REST: made, listed, described, deleted; one alone; changed by others while the service runs."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command import lines, run
from service import Service, document, running, start

from lexhound.retrieval import Collection, Document
from lexhound.serve.api.schemas import collection_models


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.mkdir()
    return path


@pytest.fixture
def service(data: Path) -> Iterator[Service]:
    with running(data) as started:
        yield started


def eventually(check: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not check():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_run_that_was_cut_short_is_shown_and_can_be_dropped(data: Path, tmp_path: Path) -> None:
    (tmp_path / "good.jsonl").write_bytes(lines({"id": "a", "text": "heat"}))
    (tmp_path / "bad.jsonl").write_bytes(lines({"id": "b", "text": "heat"}) + b"broken\n")
    assert run("index", tmp_path / "good.jsonl", "--into", data / "my.index", "--encoder", "bm25").code == 0
    assert run("add", data / "my.index", tmp_path / "bad.jsonl").code == 1
    with running(data) as service:
        told = service.request("GET", "/v1/collections/my").json()
        collection_models.CollectionDescription.model_validate(told)
        hint = told["unfinished"].pop("hint")
        assert told["unfinished"] == {"source": str(tmp_path / "bad.jsonl"), "documents": 1, "running": None}
        assert "POST /v1/collections/my/discard-unfinished" in hint
        assert (told["documents"], told["health"], told["clipped"], told["far_average"]) == (1, "unfinished", 0, None)
        with service.client() as client:
            assert client.discard_unfinished("my") == 1
            eventually(lambda: service.request("GET", "/v1/collections/my").json()["unfinished"] is None)
            assert client.discard_unfinished("my") == 0
            assert client.collection("my").documents == 1


def test_make_list_describe_delete(service: Service, data: Path) -> None:
    settings = {"k1": 1.2, "b": 0.75, "language": "de", "stemming": False}
    answer = service.request("POST", "/v1/collections", json={"name": "my", "settings": settings})
    assert answer.status_code == 201
    collection_models.CollectionDescription.model_validate(answer.json())
    assert answer.json()["encoder"]["settings"] == settings | {"language": "german", "stop_words": True}
    assert (data / "my.index").is_dir()
    with service.client() as client:
        client.put("my", [document(number) for number in range(20)], refresh=True)
        told = service.request("GET", "/v1/collections").json()
        collection_models.CollectionList.model_validate(told)
        (only,) = client.collections()
        assert (only.name, only.documents, only.encoder, only.health, only.modes) == (
            "my", 20, "bm25", "ok", ("lexical",),
        )  # fmt: skip
        info = client.collection("my")
        assert (info.documents, info.pending, info.segments) == (20, 20, 0)
        assert info.bytes > 0
    assert service.request("DELETE", "/v1/collections/my").json() == {"deleted": "my"}
    assert service.request("GET", "/v1/collections/my").status_code == 404
    assert service.request("GET", "/v1/collections").json() == {"collections": []}
    eventually(lambda: not list(data.iterdir()))
    assert service.request("DELETE", "/v1/collections/my").status_code == 404
    assert service.request("POST", "/v1/collections", json={"name": "my"}).status_code == 201


IMPOSSIBLE: list[tuple[dict[str, object], int, str | None]] = [
    ({"name": "my"}, 409, "body.name"),
    ({"name": "../x"}, 422, "body.name"),
    ({"name": ".hidden"}, 422, "body.name"),
    ({"name": "a/b"}, 422, "body.name"),
    ({"name": "a\n"}, 422, "body.name"),
    ({"name": ""}, 422, "body.name"),
    ({"name": "x" * 200}, 422, "body.name"),
    ({"name": "new", "encoder": "/etc/passwd"}, 422, "body.encoder"),
    ({"name": "new", "encoder": "some/model"}, 422, "body.encoder"),
    ({"name": "new", "settings": {"k1": -1}}, 422, "body.settings.k1"),
    ({"name": "new", "settings": {"k2": 1}}, 422, "body.settings.k2"),
    ({"name": "new", "settings": {"language": "klingon"}}, 400, None),
]


def test_what_cannot_be_made(service: Service, data: Path) -> None:
    service.request("POST", "/v1/collections", json={"name": "my"})
    for body, status, where in IMPOSSIBLE:
        answer = service.request("POST", "/v1/collections", json=body)
        assert (answer.status_code, answer.json()["error"]["where"]) == (status, where), body
    assert [path.name for path in data.iterdir()] == ["my.index"]


OUTSIDE = (
    "../secret", "..%2Fsecret", "%2E%2E%2Fsecret", "..%5Csecret", "%2Fetc", "my.index%00", "%2e%2e", "my%0a",
    "....//secret", "my.index/../../secret.index", "secret.index%2F..%2F..%2Fsecret",
)  # fmt: skip


def test_names_cannot_leave_the_data_folder(service: Service, data: Path) -> None:
    with Collection.create(data.parent / "secret.index") as secret:
        secret.add([Document("secret", "secret")])
    for path in OUTSIDE:
        for method, place in (
            ("GET", f"/v1/collections/{path}"),
            ("DELETE", f"/v1/collections/{path}"),
            ("GET", f"/v1/collections/{path}/search?q=secret"),
            ("GET", f"/page/{path}"),
        ):
            answer = service.request(method, place)
            assert answer.status_code in (404, 405, 422), answer.text
            assert "secret.index" not in answer.text.replace(path, "")
    assert (data.parent / "secret.index").is_dir()


def test_others_may_make_replace_and_remove_collections(service: Service, data: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_bytes(lines(*({"id": f"a{n}", "text": f"heat {n}"} for n in range(5))))
    assert run("index", corpus, "--into", data / "other.index").code == 0
    with service.client() as client:
        assert [each.name for each in client.collections()] == ["other"]
        assert client.count("other") == 5
        corpus.write_bytes(lines({"id": "b", "text": "flow"}))
        assert run("add", data / "other.index", corpus).code == 0
        eventually(lambda: client.count("other") == 6)
        corpus.write_bytes(lines({"id": "c", "text": "wing"}))
        assert run("index", corpus, "--into", data / "other.index", "--overwrite").code == 0
        eventually(lambda: client.count("other") == 1)
        assert client.search("other", "wing").hits[0].id == "c"
        client.put("other", [{"id": "d", "text": "wing"}], refresh=True)
        assert client.count("other") == 2
        shutil.rmtree(data / "other.index")
        eventually(lambda: service.request("GET", "/v1/collections/other").status_code == 404)


def test_a_single_collection_by_its_name(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "my.index") as collection:
        collection.add([Document("a", "heat")])
    with running(tmp_path / "my.index") as service, service.client() as client:
        assert [each.name for each in client.collections()] == ["my"]
        assert client.search("my", "heat").hits[0].id == "a"
        client.put("my", [{"id": "b", "text": "heat"}], refresh=True)
        assert client.count("my") == 2
        for answer in (
            service.request("POST", "/v1/collections", json={"name": "other"}),
            service.request("DELETE", "/v1/collections/my"),
        ):
            assert answer.status_code == 409
            assert answer.json()["error"]["code"] == "single_collection"
        assert service.request("GET", "/v1/collections/my.index").status_code == 404
    with Collection.open(tmp_path / "my.index") as collection:
        assert collection.count() == 2


def test_another_process_that_writes_makes_writes_wait_and_nothing_else(service: Service, data: Path) -> None:
    with service.client(retries=0) as client:
        with Collection.create(data / "my.index") as collection:
            collection.add([Document("a", "heat")])
            assert client.search("my", "heat").hits[0].id == "a"
            answer = service.request("POST", "/v1/collections/my/documents", json=[{"id": "b", "text": "heat"}])
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
            assert answer.json()["error"]["code"] == "collection_locked"
            assert str(data) not in answer.text
            assert service.request("DELETE", "/v1/collections/my").status_code == 503
        client.put("my", [{"id": "b", "text": "heat"}], refresh=True)
        assert client.count("my") == 2


def test_a_damaged_collection_is_told_without_a_path_and_keeps_others_from_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("good", "bad"):
        with Collection.create(data / f"{name}.index") as collection:
            collection.add([Document("a", "heat")])
    (data / "bad.index" / "documents.sqlite").write_bytes(b"no database" * 1000)
    service_log = tmp_path / "service.log"
    service = start(data, log=service_log)
    try:
        with service.client(retries=0) as client:
            assert {each.name: each.health for each in client.collections()} == {"good": "ok", "bad": "unavailable"}
            assert client.count("good") == 1
            answer = service.request("GET", "/v1/collections/bad/search?q=heat")
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "corrupt_collection"
            assert str(tmp_path) not in answer.text
    finally:
        assert service.terminate() == 0
    assert "bad" in service_log.read_text()
