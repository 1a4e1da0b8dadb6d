"""Queries that are longer than a model reads: the result says so, and the service and its client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_checkpoints import build_tiny_embedding_model, build_tiny_masked_lm, vocabulary

from lexhound.encoders.sparse.settings import LearnedSettings
from lexhound.retrieval.collection.collection import Collection
from lexhound.retrieval.collection.request import SearchRequest
from lexhound.serve.api.schemas.answers import search_answer
from lexhound.serve.client.answers import search_result

pytestmark = pytest.mark.model

LONG = "heat flow " * 30
DOCUMENTS = [{"id": str(number), "text": f"heat flow {number}"} for number in range(30)]


@pytest.fixture(scope="module", params=["model", "table"])
def collection(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    folder = tmp_path_factory.mktemp("cut")
    sparse = build_tiny_masked_lm(folder / "sparse")
    if request.param == "table":
        (sparse / "idf.json").write_text(json.dumps(dict.fromkeys(vocabulary(), 1.0)), "utf-8")
    dense = build_tiny_embedding_model(folder / "dense")
    settings = LearnedSettings(max_length=24, device="cpu", precision="float32")
    with Collection.create(folder / "c", encoder=str(sparse), dense=str(dense), learned=settings) as made:
        made.add(DOCUMENTS)
        yield made


@pytest.mark.parametrize("mode", ["sparse", "hybrid", "dense"])
def test_the_result_says_whether_all_of_a_query_was_read(collection: Collection, mode: str) -> None:
    assert not collection.search("heat", mode=mode).query_cut
    result = collection.search(LONG, mode=mode, k=3)
    limit = collection._encoders.dense.encoder.limit("query") if mode == "dense" else 24  # type: ignore[union-attr]
    assert result.query_cut == (limit - 2 < 60)
    told = search_answer(SearchRequest(LONG), result)
    assert ("query_cut" in told) == result.query_cut
    assert search_result({**told, "hits": []}).query_cut == result.query_cut
    if mode == "sparse":
        beginning = "heat flow " * 10 if collection.manifest.encoder.kind == "inference-free" else "heat flow " * 11
        assert not collection.search(beginning, mode=mode).query_cut


def test_a_table_of_dense_queries_reads_so_many_tokens(collection: Collection) -> None:
    collection.fit_static_queries(30)
    longest = collection._encoders.static_queries.table.facts.longest  # type: ignore[union-attr]
    assert collection.search("heat " * (longest + 1), mode="dense").query_cut
    assert not collection.search("heat " * longest, mode="dense").query_cut
    collection.drop_static_queries()


def test_words_of_bm25_and_weights_are_all_read(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", encoder="bm25") as lexical:
        lexical.add(DOCUMENTS)
        assert not lexical.search(LONG * 100).query_cut
        assert not lexical.search({"heat": 1.0}).query_cut
