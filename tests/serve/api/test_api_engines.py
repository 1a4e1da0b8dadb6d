"""The service over a collection in another engine: the real engines, the real process, the same routes.

What an engine cannot do is answered by one sentence and a status of the caller's side, never by a 500.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the extra neural")
pytest.importorskip("transformers", reason="needs the extra neural")

from command import ids_of, run
from installed_engines import needs_lucene, needs_milvus
from page_server import free_port
from service import PATIENCE, ServiceProcess, running_process, start
from tiny_checkpoints import build_tiny_embedding_model, build_tiny_masked_lm

from lexhound.retrieval.engines.address import read_address
from lexhound.serve.api.registry.sources import check_source
from lexhound.serve.api.schemas import base, collection_models, search_models
from lexhound.serve.client.client import Client
from lexhound.serve.client.errors import ApiError
from lexhound.serve.errors import UsageError
from lexhound.serve.settings import Settings, load_settings

TEXTS = {
    "a": ("heat transfer in flow", {"year": 1990}),
    "b": ("the wing of an aircraft", {"year": 2000, "lang": "en"}),
    "c": ("boundary layer heat", {"year": 2010}),
    "d": ("shock wave", {}),
}
MODELS = ("--device", "cpu", "--precision", "float32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("engines")
    build_tiny_masked_lm(path / "sparse")
    build_tiny_embedding_model(path / "dense")
    rows = [{"_id": key, "text": text, "metadata": values} for key, (text, values) in TEXTS.items()]
    (path / "corpus.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    return path


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[ServiceProcess]:
    """The service over a file of milvus-lite that `index` has filled."""
    address = f"milvus-lite:{folder}/data.db/my"
    made = run(
        "index", folder / "corpus.jsonl", "--into", address, "--encoder", folder / "sparse", "--dense",
        folder / "dense", *MODELS,
    )  # fmt: skip
    assert made.code == 0, made.err
    with running_process(address) as service:
        yield service


@pytest.fixture(scope="module")
def client(served: ServiceProcess) -> Iterator[Client]:
    with served.client(retries=0, timeout=PATIENCE) as found:
        yield found


def refusal(service: ServiceProcess, method: str, path: str, **options: Any) -> dict[str, Any]:
    """The error of a request that has to be refused, in the shape and by the manners of every error."""
    answer = service.request(method, f"/v1/collections/my{path}", **options)
    assert 400 <= answer.status_code < 500, answer.text
    error: dict[str, Any] = base.Error.model_validate_json(answer.content).error.model_dump()
    told = f"{error['message']} {error['where']} {error['hint']}"
    assert "milvus-lite:" not in told, "an address is no business of callers"
    assert "lucene:/" not in told
    assert "--" not in told, "callers have no command line"
    return error | {"status": answer.status_code}


@needs_milvus
def test_searches_in_every_mode_are_those_of_the_command_line(
    folder: Path, served: ServiceProcess, client: Client
) -> None:
    own = folder / "own"
    made = run(
        "index", folder / "corpus.jsonl", "--into", own, "--encoder", folder / "sparse", "--dense", folder / "dense",
        *MODELS,
    )  # fmt: skip
    assert made.code == 0, made.err
    for mode in ("sparse", "dense", "hybrid"):
        expected = run("search", own, "heat wing", "--mode", mode, "--json").json["hits"]
        found = client.search("my", "heat wing", mode=mode, explain=True)  # type: ignore[arg-type]
        assert [hit.id for hit in found.hits] == ids_of(expected), mode
        for hit, other in zip(found.hits, expected, strict=True):
            assert hit.score == pytest.approx(other["score"], rel=2e-2, abs=1e-3)  # 8 bits there, floats here
            assert sum(each.score for each in hit.contributions or ()) == pytest.approx(hit.score, rel=1e-4, abs=1e-4)
    raw = served.request("POST", "/v1/collections/my/search", json={"query": "heat", "k": 2})
    assert raw.status_code == 200
    search_models.SearchAnswer.model_validate_json(raw.content)
    assert raw.json()["hits"][0]["snippet"]["marks"]
    address = served.request("GET", "/v1/collections/my/search?q=heat&k=2")
    assert address.json()["hits"] == raw.json()["hits"]


@needs_milvus
def test_filters_counts_and_batches(client: Client) -> None:
    assert client.count("my") == 4
    assert client.count("my", filter="year >= 2000") == 2
    for mode in ("sparse", "dense", "hybrid"):
        found = client.search("my", "heat", filter="year >= 2000", mode=mode)  # type: ignore[arg-type]
        assert {hit.id for hit in found.hits} == {"b", "c"}, mode
    assert client.search("my", {"heat": 1.0}).hits
    many = client.search_many("my", ["heat", "wing"], k=2, mode="sparse")
    for query, ranking in zip(("heat", "wing"), many, strict=True):
        alone = client.search("my", query, k=2, mode="sparse").hits
        assert [each for each, _ in ranking] == [hit.id for hit in alone]


@needs_milvus
def test_what_is_told_of_a_collection(served: ServiceProcess) -> None:
    listed = served.request("GET", "/v1/collections")
    collection_models.CollectionList.model_validate_json(listed.content)
    (one,) = listed.json()["collections"]
    assert (one["name"], one["documents"], one["segments"], one["health"]) == ("my", 4, None, "ok")
    assert one["modes"] == ["hybrid", "sparse", "dense"]
    answer = served.request("GET", "/v1/collections/my")
    collection_models.CollectionDescription.model_validate_json(answer.content)
    told = answer.json()
    assert told["engine"]["name"].startswith("milvus-lite ")
    assert any("bm25" in sentence for sentence in told["engine"]["refused"])
    assert (told["dense"]["width"] > 0, told["segments"], told["deleted"]) == (True, None, None)
    assert "milvus-lite:" not in answer.text
    assert served.request("GET", "/readyz").status_code == 200
    figures = served.request("GET", "/metrics").text
    assert 'lexhound_documents{collection="my"} 4.0' in figures


@needs_milvus
def test_what_milvus_cannot_do_is_refused_in_one_sentence(served: ServiceProcess) -> None:
    search = "/search"
    for path, body, named in (
        (search, {"query": "heat", "recall": 0.9}, "recall"),
        (search, {"query": "heat", "mode": "hybrid", "fusion": {"method": "fixed"}}, "sparse_high"),
        (search, {"query": "heat", "stats": True}, "reads"),
        (search, {"query": "heat", "mode": "lexical"}, "lexical"),
        (search, {"query": "heat", "filter": "year >= 9007199254740993"}, "number"),
        (search, {"query": "heat", "filter": "year >="}, "filter"),
        ("/search/batch", {"queries": ["heat"], "recall": 0.5}, "recall"),
        ("/compact", None, "compact"),
    ):
        error = refusal(served, "POST", path, json=body)
        assert named in error["message"], (path, body, error)
        assert error["status"] == 400
    assert "counts" in refusal(served, "GET", "/facets")["message"]
    assert refusal(served, "DELETE", "")["status"] == 409
    other = served.request("POST", "/v1/collections", json={"name": "other"})
    assert (other.status_code, "'my'" in other.text) == (409, True)
    assert served.request("GET", "/v1/collections/other").status_code == 404


@needs_milvus
def test_documents_are_put_replaced_and_deleted(served: ServiceProcess, client: Client) -> None:
    rows = [
        {"id": "n1", "text": "cold water", "year": 1},
        {"id": "n2", "text": "cold river"},
        {"id": "n1", "text": "warm water", "year": 2},
        {"id": "a", "text": TEXTS["a"][0], "metadata": TEXTS["a"][1]},
        {"id": "long", "text": "x" * 70_000},
        {"text": "no id"},
    ]
    answer = served.request("POST", "/v1/collections/my/documents?refresh=true", json=rows)
    assert answer.status_code == 200, answer.text
    statuses = [item["status"] for item in answer.json()["items"]]
    assert statuses == ["added", "added", "replaced", "unchanged", "error", "error"]
    assert answer.json()["items"][4]["error"]["code"] == "unsupported"
    assert "65,535" in answer.json()["items"][4]["error"]["message"]
    stored = client.get("my", "n1")
    assert stored is not None
    assert (stored.text, client.get("my", "long")) == ("warm water", None)
    found = {hit.id for hit in client.search("my", "water river", mode="sparse").hits}
    assert {"n1", "n2"} <= found
    assert served.request("DELETE", "/v1/collections/my/documents/n2").status_code == 200
    assert served.request("DELETE", "/v1/collections/my/documents/n2").status_code == 404
    assert client.delete_where("my", "year < 100").deleted == 1
    gone = client.delete("my", ["n1", "zz"])
    assert (gone.deleted, gone.missing) == (0, ("n1", "zz"))
    assert client.count("my") == 4


@needs_milvus
def test_a_collection_is_made_over_rest_where_there_is_none(folder: Path) -> None:
    address = f"milvus-lite:{folder}/empty.db/fresh"
    with running_process(address, "--encoders", f"tiny={folder / 'sparse'},bm25") as service:
        listed = service.request("GET", "/v1/collections").json()["collections"]
        assert [(each["name"], each["health"]) for each in listed] == [("fresh", "unavailable")]
        assert service.request("POST", "/v1/collections/fresh/search", json={"query": "x"}).status_code == 404
        with service.client(retries=0, timeout=PATIENCE) as client:
            with pytest.raises(ApiError) as caught:
                client.create_collection("fresh", encoder="bm25")
            assert (caught.value.status, caught.value.code) == (400, "unsupported")
            client.create_collection("fresh", encoder="tiny", passages="24/6")
            long = "The wing of an aircraft. " * 30 + "Heat transfer in flow. " * 3
            assert client.put("fresh", [{"id": "1", "text": "heat transfer"}, {"id": "2", "text": long}]).added == 2
            found = client.search("fresh", "heat", k=5).hits
            assert sorted(hit.id for hit in found) == ["1", "2"]
            (passage,) = [hit.passage for hit in found if hit.id == "2"]
            assert passage is not None
            assert long[passage.start : passage.end] == passage.text
            rows = client.search("fresh", "heat", k=100, group="none").hits
            told = client.collection("fresh").details
            assert (told["documents"], told["passages"], told["split"], told["cut"]) == (2, "24/6", 1, 0)
            assert len(rows) == told["rows"] > 5
            with pytest.raises(ApiError) as caught:
                client.create_collection("fresh", encoder="tiny")
            assert caught.value.status == 409


@needs_lucene
def test_lucene_is_searched_and_refuses_the_rest(folder: Path) -> None:
    address = f"lucene:{folder}/my.lucene"
    made = run("index", folder / "corpus.jsonl", "--into", address, "--encoder", "bm25")
    assert made.code == 0, made.err
    expected = run("search", address, "heat flow", "--explain", "--json").json["hits"]
    with running_process(address) as service, service.client(retries=0) as client:
        found = client.search("my", "heat flow", explain=True)
        assert [hit.id for hit in found.hits] == ids_of(expected)
        assert [hit.score for hit in found.hits] == [hit["score"] for hit in expected]
        assert all(hit.contributions for hit in found.hits)
        assert client.count("my") == 4
        assert [[each for each, _ in one] for one in client.search_many("my", ["wing"])] == [["b"]]
        stored = client.get("my", "b")
        assert stored is not None
        assert stored.metadata == {"year": 2000, "lang": "en"}
        collection_models.CollectionDescription.model_validate(client.collection("my").details)
        for path, body, named in (
            ("/search", {"query": "heat", "mode": "dense"}, "dense"),
            ("/search", {"query": "heat", "mode": "hybrid"}, "hybrid"),
            ("/search", {"query": "heat", "filter": "year = 1990"}, "filters"),
            ("/count", {"filter": "year = 1990"}, "filters"),
            ("/documents/delete", {"ids": ["a"]}, "deleting"),
            ("/documents/delete", {"filter": "year = 1990"}, "filters"),
            ("/documents", [{"id": "z", "text": "new"}], "adding"),
        ):
            error = refusal(service, "POST", path, json=body)
            assert (error["status"], named in error["message"]) == (400, True), (path, body, error)
        assert "deleting" in refusal(service, "DELETE", "/documents/a")["message"]
        assert client.count("my") == 4


@needs_milvus
def test_an_engine_that_does_not_answer_is_a_503_and_the_service_is_not_ready(tmp_path: Path) -> None:
    port = free_port()
    service = start(f"milvus://127.0.0.1:{port}/my", log=tmp_path / "log", ready=False, LEXHOUND_MILVUS_TIMEOUT="1")
    try:
        for path in ("/readyz", "/v1/collections/my"):
            answer = service.request("GET", path)
            assert answer.status_code == 503, answer.text
            assert "engine" in answer.json()["error"]["message"]
            assert answer.headers["retry-after"]
            assert str(port) not in answer.text
        assert service.request("GET", "/healthz").status_code == 200
        listed = service.request("GET", "/v1/collections").json()["collections"]
        assert [(each["name"], each["health"]) for each in listed] == [("my", "unavailable")]
    finally:
        assert service.terminate() == 0


def test_addresses_that_cannot_be_served_are_refused_at_the_start(tmp_path: Path) -> None:
    for data, workers, says in (
        ("redis://host/my", 1, "not an engine"),
        ("milvus://host:19530", 1, "cannot be read"),
        (f"lucene:{tmp_path}/nothing", 1, "no folder"),
        (f"milvus-lite:{tmp_path}/x.db/my", 2, "one process"),
    ):
        outcome = run("serve", data, "--workers", str(workers))
        assert (outcome.code, says in outcome.err) == (2, True), (data, outcome.err)


def test_the_setting_holds_an_address_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for data in ("milvus://host:19530/my", "milvus-lite:a/b.db/my", "lucene:x"):
        monkeypatch.setenv("LEXHOUND_DATA", data)
        settings = load_settings({})
        assert settings.data == data
        again = Settings.model_validate(settings.revealed())
        assert again.data == data
        assert settings.shown()["data"] == data
    monkeypatch.delenv("LEXHOUND_DATA")
    file = tmp_path / "lexhound.toml"
    for data, expected in (
        ("milvus://host:19530/my", "milvus://host:19530/my"),
        ("lucene:x", f"lucene:{tmp_path}/x"),
        ("milvus-lite:b.db/my", f"milvus-lite:{tmp_path}/b.db/my"),
        ("x", tmp_path / "x"),
    ):
        file.write_text(f"data = {json.dumps(data)}\n")
        assert load_settings({}, file).data == expected
    (tmp_path / "lucene:y").mkdir()
    monkeypatch.chdir(tmp_path)
    assert read_address("./lucene:y").is_native
    with pytest.raises(UsageError, match="no folder"):
        check_source(Settings(data=tmp_path / "nothing"))
