"""Learned and dense vectors through opensearch-py: `neural_sparse`, `neural`, `hybrid`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the extra neural")
pytest.importorskip("transformers", reason="needs the extra neural")

from opensearch_client import client_of
from opensearchpy import OpenSearch, helpers
from opensearchpy.exceptions import RequestError
from service import running
from tiny_checkpoints import build_tiny_embedding_model, build_tiny_masked_lm

from lexhound.retrieval import Collection, Fusion

TEXTS = {"a": "heat transfer in flow", "b": "the wing of an aircraft", "c": "boundary layer heat", "d": "shock tube"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("opensearch-learned")
    (path / "data").mkdir()
    build_tiny_masked_lm(path / "tiny-model")
    build_tiny_embedding_model(path / "tiny-dense")
    return path


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[OpenSearch]:
    offered = f"bm25,tiny={folder / 'tiny-model'},near={folder / 'tiny-dense'}"
    with running(folder / "data", "--opensearch", "--encoders", offered) as service:
        made = client_of(service)
        mappings = {
            "properties": {
                "text": {"type": "text"},
                "embedding": {"type": "rank_features"},
                "n": {"type": "integer"},
            }
        }
        settings = {"index": {"lexhound": {"encoder": "tiny", "dense": "near"}}}
        made.indices.create(index="my", body={"mappings": mappings, "settings": settings})
        actions = [
            {"_index": "my", "_id": key, "_source": {"text": text, "n": n}}
            for n, (key, text) in enumerate(TEXTS.items())
        ]
        helpers.bulk(made, actions, refresh=True)
        yield made
        made.close()


@pytest.fixture(scope="module")
def collection(client: OpenSearch, folder: Path) -> Iterator[Collection]:
    with Collection.open(folder / "data" / "my.index") as opened:
        yield opened


def hits(client: OpenSearch, query: dict[str, Any], **rest: Any) -> list[tuple[str, float]]:
    answer = client.search(index="my", body={"query": query, **rest})
    return [(hit["_id"], hit["_score"]) for hit in answer["hits"]["hits"]]


def test_neural_sparse(client: OpenSearch, collection: Collection) -> None:
    ours = collection.search("heat flow", mode="sparse", explain=True)
    wanted = [(hit.id, hit.score) for hit in ours]
    assert hits(client, {"match": {"text": "heat flow"}}) == wanted
    for field in ("text", "embedding"):
        assert hits(client, {"neural_sparse": {field: {"query_text": "heat flow"}}}) == wanted
    assert (
        hits(client, {"neural_sparse": {"embedding": {"query_text": "heat flow", "model_id": "tiny-model"}}}) == wanted
    )
    tokens = {part.term: part.query_weight for hit in ours for part in hit.contributions or ()}
    by_tokens = hits(client, {"neural_sparse": {"embedding": {"query_tokens": tokens}}})
    assert by_tokens == [(hit.id, hit.score) for hit in collection.search(tokens)]
    settings = client.indices.get_settings(index="my")["my"]["settings"]["index"]["lexhound"]
    assert settings == {"encoder": "tiny-model", "dense": "tiny-dense"}
    with pytest.raises(RequestError, match="operator"):
        hits(client, {"match": {"text": {"query": "heat flow", "operator": "and"}}})
    with pytest.raises(RequestError, match=r"\[embedding\]"):
        client.index(index="my", id="x", body={"text": "x", "embedding": {"heat": 1.0}})


def test_neural(client: OpenSearch, collection: Collection) -> None:
    ours = [(hit.id, hit.score) for hit in collection.search("heat flow", mode="dense")]
    assert hits(client, {"neural": {"vector": {"query_text": "heat flow"}}}) == ours
    answer = client.search(index="my", body={"query": {"neural": {"vector": {"query_text": "heat flow", "k": 2}}}})
    assert [hit["_id"] for hit in answer["hits"]["hits"]] == [key for key, _ in ours[:2]]
    assert answer["hits"]["total"]["value"] == 2
    filtered = {"neural": {"vector": {"query_text": "heat flow", "filter": {"range": {"n": {"gte": 2}}}}}}
    assert hits(client, filtered) == [pair for pair in ours if pair[0] in ("c", "d")]


def test_hybrid(client: OpenSearch, collection: Collection) -> None:
    def hybrid(*queries: dict[str, Any], **rest: Any) -> dict[str, Any]:
        return {"hybrid": {"queries": list(queries), **rest}}

    match, neural = {"match": {"text": {"query": "heat"}}}, {"neural": {"vector": {"query_text": "heat"}}}
    ours = collection.search("heat", mode="hybrid")
    assert hits(client, hybrid(match, neural)) == [(hit.id, hit.score) for hit in ours]
    sparse = {"neural_sparse": {"embedding": {"query_text": "heat"}}}
    pipeline = {
        "phase_results_processors": [
            {
                "normalization-processor": {
                    "normalization": {"technique": "min_max"},
                    "combination": {"technique": "arithmetic_mean", "parameters": {"weights": [0.3, 0.7]}},
                }
            }
        ]
    }
    fused = collection.search("heat", mode="hybrid", fusion=Fusion("min-max", dense_weight=0.7))
    assert hits(client, hybrid(sparse, neural), search_pipeline=pipeline) == [(hit.id, hit.score) for hit in fused]
    ranker = {"phase_results_processors": [{"score-ranker-processor": {"combination": {"technique": "rrf"}}}]}
    ranked = collection.search("heat", mode="hybrid", fusion=Fusion("rrf", dense_weight=0.5))
    assert hits(client, hybrid(match, neural), search_pipeline=ranker) == [(hit.id, hit.score) for hit in ranked]
    assert {key for key, _ in hits(client, hybrid(match, neural, filter={"term": {"n": 1}}))} == {"b"}
    other = {"neural": {"vector": {"query_text": "wing"}}}
    for query, named in (
        (hybrid(match, other), "two texts"),
        (hybrid(match, match), "other queries than two"),
        (hybrid(neural, {"term": {"n": 1}}), r"\[term\] in \[hybrid\]"),
        ({"bool": {"must": [hybrid(match, neural)]}}, r"\[hybrid\]"),
    ):
        with pytest.raises(RequestError, match=named):
            hits(client, query)
    with pytest.raises(RequestError, match="by its name"):
        hits(client, hybrid(match, neural), search_pipeline="mine")
