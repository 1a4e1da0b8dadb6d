"""Reranking by a tiny cross-encoder, beside sentence-transformers itself: every door, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command import run
from service import running
from tiny_checkpoints import build_tiny_cross_encoder

from lexhound.core.errors import MissingExtraError
from lexhound.encoders.errors import CheckpointError
from lexhound.encoders.rerank.cross_encoder import open_cross_encoder
from lexhound.retrieval import Collection, Document
from lexhound.retrieval.collection.reranking.options import Rerank
from lexhound.retrieval.errors import QueryError

WORDS = ("heat", "transfer", "flow", "wing", "shock", "layer")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_cross_encoder(tmp_path_factory.mktemp("model") / "reranker")


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Collection.create(tmp_path / "my.index", encoder="bm25") as made:
        made.add(
            Document(f"d{n}", " ".join(WORDS[(n * step) % 6] for step in (1, 2, 5)), f"about {WORDS[n % 4]}")
            for n in range(40)
        )
        yield made


def by_hand(collection: Collection, model: Path, query: str, depth: int) -> list[tuple[str, float]]:
    """The first hits in the order of what sentence-transformers says of them."""
    from sentence_transformers import CrossEncoder

    first = collection.search(query, k=depth, rerank="none").hits
    scores = CrossEncoder(str(model)).predict([(query, f"{hit.title}\n{hit.text}") for hit in first], batch_size=1)
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    return [(first[place].id, float(scores[place])) for place in order.tolist()]


def test_the_best_hits_come_in_the_order_of_the_model(collection: Collection, model: Path) -> None:
    expected = by_hand(collection, model, "heat transfer", 20)
    first = {hit.id: (hit.rank, hit.score) for hit in collection.search("heat transfer", k=20)}
    options = Rerank(str(model), 20)
    result = collection.search("heat transfer", k=8, rerank=options, explain=True, highlight=True)
    assert [hit.id for hit in result] == [identifier for identifier, _ in expected[:8]]
    assert [hit.score for hit in result] == pytest.approx([score for _, score in expected[:8]], abs=1e-5)
    for rank, hit in enumerate(result, 1):
        assert (hit.rank, (hit.retrieval_rank, hit.retrieval_score)) == (rank, first[hit.id])
        assert sum(part.score for part in hit.contributions or ()) == pytest.approx(hit.retrieval_score)
        assert hit.snippet is not None
    pages = [collection.search("heat transfer", k=4, offset=offset, rerank=options, fields=()) for offset in (0, 4, 8)]
    assert [hit.id for page in pages for hit in page] == [identifier for identifier, _ in expected[:12]]
    assert {(hit.title, hit.text) for hit in pages[0]} == {(None, None)}
    many = collection.search_many(["heat transfer", "nowhere"], k=8, rerank=options)
    assert [identifier for identifier, _ in many[0]] == [hit.id for hit in result]
    assert many[1] == []


def test_hits_that_are_longer_than_the_model_reads_are_counted(model: Path, tmp_path: Path) -> None:
    with Collection.create(tmp_path / "long.index", encoder="bm25") as collection:
        collection.add([Document("long", "heat " * 90), Document("some", "heat " * 40), Document("short", "heat")])
        encoder = open_cross_encoder(str(model))
        tokenizer = encoder._model.tokenizer
        read = [len(tokenizer("heat", hit.text, verbose=False)["input_ids"]) for hit in collection.search("heat")]
        expected = sum(tokens > encoder._model.max_seq_length for tokens in read)
        result = collection.search("heat", 3, rerank=Rerank(str(model), 3))
        assert result.reranked_cut == expected == 1
        assert collection.search("heat", rerank="none").reranked_cut == 0
        assert collection.search("heat " * 45, 3, rerank=Rerank(str(model), 3)).reranked_cut == 2
    found = run("search", tmp_path / "long.index", "heat", "--rerank", model, "--rerank-depth", "3", "-k", "3")
    assert "1 hit longer than the reranker reads" in found.err
    found = run(
        "search", tmp_path / "long.index", "heat", "--rerank", model, "--rerank-depth", "3", "-k", "3", "--json"
    )
    assert found.json["reranked_cut"] == 1


def test_a_collection_keeps_a_reranker(collection: Collection, model: Path, tmp_path: Path) -> None:
    plain = [hit.id for hit in collection.search("heat transfer")]
    collection.keep_reranker(Rerank(str(model), 20))
    expected = [identifier for identifier, _ in by_hand(collection, model, "heat transfer", 20)][:10]
    assert expected != plain
    with Collection.open(tmp_path / "my.index") as reader:
        assert reader.reranker == Rerank(str(model), 20)
        assert [hit.id for hit in reader.search("heat transfer")] == expected
        assert [hit.id for hit in reader.search("heat transfer", rerank="none")] == plain
        # There is nothing to read, or another order was asked for.
        assert reader.search({"heat": 1.0}).hits[0].retrieval_rank is None
        assert reader.verify() == []
    collection.close()
    with running(tmp_path / "my.index") as service, service.client() as client:
        found = client.search("my", "heat transfer").hits
        assert [hit.id for hit in found] == expected
        assert found[0].retrieval_rank == plain.index(found[0].id) + 1 if found[0].id in plain else True
        assert [hit.id for hit in client.search("my", "heat transfer", rerank="none").hits] == plain
        assert [identifier for identifier, _ in client.search_many("my", ["heat transfer"])[0]] == expected
        answer = service.request("POST", "/v1/collections/my/search", json={"query": "heat", "rerank": str(model)})
        assert answer.status_code == 422  # a caller names no files of the server
        assert service.request("GET", "/v1/collections/my/search?q=heat&k=30").status_code == 400
    assert run("reranker", tmp_path / "my.index", "--json").json["reranker"] == {"model": str(model), "depth": 20}
    assert run("reranker", tmp_path / "my.index", "--clear").out == "no reranker\n"
    outcome = run("search", tmp_path / "my.index", "heat transfer", "--rerank", model, "--rerank-depth", "20", "--json")
    assert [hit["id"] for hit in outcome.json["hits"]] == expected
    assert "20 hits" in run("reranker", tmp_path / "my.index", model, "--depth", "20").out


def test_what_cannot_be_reranked_is_refused(collection: Collection, model: Path) -> None:
    for options, says in (
        ({"rerank": Rerank(str(model), 5)}, "5 are reranked"),
        ({"rerank": "late"}, "late interaction"),
        ({"rerank": 7}, "rerank is 7"),
        ({"rerank": str(model), "sort": "id"}, "both reranked and sorted"),
    ):
        with pytest.raises(QueryError, match=says):
            collection.search("heat", **options)  # type: ignore[arg-type]
    with pytest.raises(QueryError, match="only a query by text"):
        collection.search({"heat": 1.0}, rerank=str(model))
    for depth in (0, 10_000, True):
        with pytest.raises(QueryError, match="depth of reranking"):
            Rerank(str(model), depth)


def test_models_that_are_none(collection: Collection, tmp_path: Path) -> None:
    pair = build_tiny_cross_encoder(tmp_path / "pair", outputs=3)
    with pytest.raises(CheckpointError, match="3 outputs"):
        collection.search("heat", rerank=str(pair))
    (tmp_path / "empty").mkdir()
    for folder, says in ((tmp_path / "empty", "cannot be loaded"), (tmp_path / "nowhere", "no folder")):
        with pytest.raises(CheckpointError, match=says):
            collection.keep_reranker(Rerank(str(folder)))
    assert collection.reranker is None


def test_without_the_package_the_extra_is_named(
    collection: Collection, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_cross_encoder.cache_clear()
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtraError, match=r"lexhound\[rerank\]"):
        collection.search("heat", rerank=str(model))
