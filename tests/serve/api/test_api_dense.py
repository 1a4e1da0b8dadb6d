"""A collection with dense vectors behind the service."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the extra neural")
pytest.importorskip("transformers", reason="needs the extra neural")

from service import Service, running
from tiny_checkpoints import build_tiny_embedding_model

from lexhound.encoders.dense.settings import DenseSettings
from lexhound.retrieval import Collection, Document, Fusion
from lexhound.retrieval.collection.request import METHODS
from lexhound.serve.api.schemas import collection_models, search_models

TEXTS = {"a": "heat transfer in flow", "b": "the wing of an aircraft", "c": "boundary layer heat", "d": "shock tube"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dense")
    build_tiny_embedding_model(path / "model")
    settings = DenseSettings(device="cpu", precision="float32")
    with Collection.create(path / "data" / "both", dense=str(path / "model"), dense_settings=settings) as made:
        made.add([Document(key, text) for key, text in TEXTS.items()])
    Collection.create(path / "data" / "plain").close()
    return path


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Service]:
    with running(folder / "data") as started:
        yield started


def test_modes_and_model_are_told(service: Service, folder: Path) -> None:
    told = service.request("GET", "/v1/collections/both")
    collection_models.CollectionDescription.model_validate(told.json())
    assert told.json()["modes"] == ["hybrid", "lexical", "dense"]
    assert told.json()["dense"]["width"] == 32
    assert told.json()["dense"]["encoder"]["name"] == "model"
    assert str(folder) not in told.text
    plain = service.request("GET", "/v1/collections/plain").json()
    assert (plain["modes"], plain["dense"]) == (["lexical"], None)


@pytest.mark.parametrize("mode", ["auto", "lexical", "dense", "hybrid"])
def test_answers_are_those_of_the_library(service: Service, folder: Path, mode: str) -> None:
    own = "sparse" if mode == "lexical" else mode
    body = {"query": "heat flow", "mode": mode, "explain": True}
    answer = service.request("POST", "/v1/collections/both/search", json=body)
    search_models.SearchAnswer.model_validate(answer.json())
    with Collection.open(folder / "data" / "both") as collection:
        hits = collection.search("heat flow", mode=own).hits
        assert [hit["id"] for hit in answer.json()["hits"]] == [hit.id for hit in hits]
        for told, hit in zip(answer.json()["hits"], hits, strict=True):
            assert math.isclose(told["score"], hit.score, abs_tol=1e-5)
            assert math.isclose(sum(part["score"] for part in told["contributions"]), told["score"], abs_tol=1e-9)
            assert ("shares" in told) == (mode != "lexical")
    batch = service.request(
        "POST", "/v1/collections/both/search/batch", json={"queries": ["heat flow"], "mode": mode}
    ).json()
    assert [hit["id"] for hit in batch["results"][0]["hits"]] == [hit["id"] for hit in answer.json()["hits"]]


@pytest.mark.parametrize("method", METHODS)
def test_fusion_by_body_address_and_client(service: Service, folder: Path, method: str) -> None:
    fusion = {"method": method, "dense_weight": 0.8}
    body = {"query": "heat flow", "mode": "hybrid", "fusion": fusion}
    by_body = service.request("POST", "/v1/collections/both/search", json=body).json()["hits"]
    address = f"/v1/collections/both/search?q=heat%20flow&mode=hybrid&fusion={method}&dense_weight=0.8"
    assert service.request("GET", address).json()["hits"] == by_body
    with service.client() as client:
        found = client.search("both", "heat flow", mode="hybrid", fusion=fusion, explain=True).hits
        assert [(hit.id, hit.score) for hit in found] == [(hit["id"], hit["score"]) for hit in by_body]
        assert [share.side for share in found[0].shares or ()] == ["sparse", "dense"]
    with Collection.open(folder / "data" / "both") as collection:
        hits = collection.search("heat flow", mode="hybrid", fusion=Fusion(method, dense_weight=0.8)).hits
        assert [hit.id for hit in hits] == [hit["id"] for hit in by_body]


@pytest.mark.parametrize(
    ("name", "body", "status", "where"),
    [
        ("plain", {"query": "heat", "mode": "hybrid"}, 400, "body.mode"),
        ("plain", {"query": "heat", "mode": "dense"}, 400, "body.mode"),
        ("plain", {"query": "heat", "fusion": {"method": "rrf"}}, 400, "body.fusion"),
        ("both", {"query": "heat", "mode": "lexical", "fusion": {"method": "rrf"}}, 400, "body.fusion"),
        ("both", {"query": "heat", "fusion": {"method": "sum"}}, 422, None),
        ("both", {"query": "heat", "fusion": {"dense_weight": 2}}, 422, None),
        ("both", {"query": "heat", "fusion": {"dense_low": 1, "dense_high": 0}}, 400, None),
        ("both", {"vector": {"heat": 1.0}, "mode": "hybrid"}, 400, None),
        ("both", {"vector": {"heat": 1.0}, "fusion": {}}, 400, "body.fusion"),
    ],
)
def test_what_cannot_be_done_is_said(
    service: Service, name: str, body: dict[str, object], status: int, where: str | None
) -> None:
    answer = service.request("POST", f"/v1/collections/{name}/search", json=body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    if where is not None:
        assert error["where"] == where
        assert error["hint"]


def test_documents_written_over_rest_are_found_by_meaning(service: Service) -> None:
    with service.client() as client:
        client.put("both", [{"id": "new", "text": "cold water by the river bank"}], refresh=True)
        assert client.search("both", "cold water by the river bank", mode="dense").hits[0].id == "new"
        assert client.search("both", {"heat": 1.0}).hits  # by weights of terms: the index
        client.delete("both", ["new"], refresh=True)


def test_defaults_are_those_of_the_library() -> None:
    options = search_models.FusionOptions()
    assert {name: getattr(options, name) for name in type(options).model_fields} == asdict(Fusion())


@pytest.mark.parametrize(
    ("body", "modes"),
    [
        ({"encoder": "bm25"}, ["lexical"]),
        ({"encoder": "lexhound-mini"}, ["sparse"]),
        ({"encoder": "lexhound-mini", "dense": "lexhound-mini"}, ["hybrid", "sparse", "dense"]),
        ({"encoder": "bm25", "dense": "lexhound-mini"}, ["hybrid", "lexical", "dense"]),
        ({"dense": "none"}, ["lexical"]),  # of the tests' default encoder, bm25
    ],
)
def test_every_kind_of_collection_is_made_over_rest(service: Service, body: dict[str, str], modes: list[str]) -> None:
    """A service offers the bundled model without being asked to."""
    name = "-".join(["made", *body.values()])
    made = service.request("POST", "/v1/collections", json={"name": name, **body})
    assert (made.status_code, made.json()["modes"]) == (201, modes), made.text
    documents = [{"id": "a", "text": "Cars need petrol."}]
    assert service.request("POST", f"/v1/collections/{name}/documents?refresh=true", json=documents).is_success
    found = service.request("POST", f"/v1/collections/{name}/search", json={"query": "petrol"})
    assert [hit["id"] for hit in found.json()["hits"]] == ["a"]
    with service.client() as client:
        assert client.create_collection(f"{name}-2", **body).encoder == made.json()["encoder"]["name"]


def test_a_dense_model_that_is_not_offered(service: Service) -> None:
    answer = service.request("POST", "/v1/collections", json={"name": "no", "encoder": "bm25", "dense": "other/model"})
    error = answer.json()["error"]
    assert (answer.status_code, error["where"], error["hint"]) == (422, "body.dense", "it offers bm25, lexhound-mini")
    answer = service.request("POST", "/v1/collections", json={"name": "no", "dense": "bm25"})
    assert (answer.status_code, answer.json()["error"]["where"]) == (400, "body.dense")
