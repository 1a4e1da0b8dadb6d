"""A collection with a learned sparse encoder behind the service: expansion terms, vectors, creation by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the extra neural")
pytest.importorskip("transformers", reason="needs the extra neural")

from service import Service, running
from tiny_checkpoints import build_tiny_masked_lm

TEXTS = {"a": "heat transfer in flow", "b": "the wing of an aircraft", "c": "boundary layer heat", "d": "shock tube"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("learned")
    (path / "data").mkdir()
    build_tiny_masked_lm(path / "tiny-model")
    return path


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Service]:
    with running(folder / "data", "--encoders", f"bm25,tiny={folder / 'tiny-model'}") as started:
        with started.client() as client:
            client.create_collection("my", encoder="tiny")
            client.put("my", [{"id": key, "text": text} for key, text in TEXTS.items()], refresh=True)
        yield started


def test_made_by_its_name_and_described_without_its_path(service: Service, folder: Path) -> None:
    answer = service.request("GET", "/v1/collections/my")
    assert answer.json()["encoder"]["name"] == "tiny-model"
    assert answer.json()["modes"] == ["sparse"]
    document = service.request("GET", "/openapi.json")
    assert document.json()["components"]["schemas"]["CollectionRequest"]["properties"]["encoder"]["enum"] == [
        "bm25", "tiny",
    ]  # fmt: skip
    for each in (answer, document, service.request("GET", "/v1/collections")):
        assert str(folder) not in each.text
    refused = service.request("POST", "/v1/collections", json={"name": "b", "encoder": "tiny", "settings": {"k1": 1.0}})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "settings")


def test_expansion_terms_are_told_apart_from_typed_ones(service: Service) -> None:
    with service.client() as client:
        result = client.search("my", "heat flow", k=4, explain=True, mode="sparse")
        assert len(result.hits) == 4
        for hit in result.hits:
            assert hit.contributions is not None
            assert sum(part.score for part in hit.contributions) == hit.score
        parts = [part for hit in result.hits for part in hit.contributions or ()]
        assert {part.term for part in parts if part.typed} <= {"heat", "flow"}
        assert any(not part.typed for part in parts), "a tiny random model expands everything"
        for hit in result.hits:
            own = set(TEXTS[hit.id].lower().split())
            marked = [part for part in hit.contributions or () if part.term in ("heat", "flow")]
            assert [part.in_text for part in marked] == [part.term in own for part in marked], hit.id
        assert any(not part.in_text for part in parts)
        assert {part.kind for part in parts} == {"term"}
        refused = service.request("GET", "/v1/collections/my/search?q=heat&mode=lexical")
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "mode")


def test_the_vector_of_the_query_finds_the_same(service: Service) -> None:
    with service.client() as client:
        by_text = client.search("my", "heat flow", k=4, explain=True)
        weights = {part.term: part.query_weight for hit in by_text.hits for part in hit.contributions or ()}
        by_vector = client.search("my", {**weights, "[CLS]": 1.0, "no token": 1.0}, k=4)
        assert set(by_vector.unknown_terms) == {"[CLS]", "no token"}
        assert [hit.id for hit in by_vector.hits] == [hit.id for hit in by_text.hits]
        for one, other in zip(by_vector.hits, by_text.hits, strict=True):
            assert one.score == pytest.approx(other.score, rel=1e-4)


def test_pages_of_a_learned_query(service: Service) -> None:
    with service.client() as client:
        whole = client.search("my", "heat flow wing", k=4).hits
        paged = [client.search("my", "heat flow wing", k=1, offset=place).hits[0] for place in range(4)]
        assert [(hit.id, hit.score) for hit in paged] == [(hit.id, hit.score) for hit in whole]
