"""Haystack: what its standard tests do not ask."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from haystack import Document, Pipeline
from haystack.dataclasses import ByteStream, SparseEmbedding
from haystack.document_stores.types import DuplicatePolicy, FilterPolicy
from haystack.errors import FilterError
from haystack.utils import Secret
from haystack.utils.filters import document_matches_filter
from service import Service

from lexhound.retrieval import Collection
from lexhound.retrieval.errors import InvalidDocumentError, QueryError
from lexhound.serve.integrations.haystack import (
    LexhoundDocumentStore,
    LexhoundEmbeddingRetriever,
    LexhoundHybridRetriever,
    LexhoundKeywordRetriever,
)
from lexhound.serve.integrations.haystack_filters import expression_of


@pytest.fixture
def store(where: dict[str, str]) -> Iterator[LexhoundDocumentStore]:
    opened = LexhoundDocumentStore(**where)
    yield opened
    opened.close()


def ids(documents: list[Document]) -> list[str]:
    return [document.id for document in documents]


def test_keywords_over_a_folder_and_a_service(store: LexhoundDocumentStore) -> None:
    retriever = LexhoundKeywordRetriever(store, top_k=2)
    found = retriever.run("wing flow")["documents"]
    assert ids(found) == ["n1", "n2"]
    assert (found[0].content, found[0].meta["title"]) == ("The flow separates from a wing.", "Wings")
    assert type(found[0].score) is float
    assert found[0].score > (found[1].score or 0) > 0
    old = {"field": "meta.year", "operator": "<", "value": 2000}
    assert ids(retriever.run("flow", filters=old, top_k=1)["documents"]) == ["n2"]
    assert retriever.run("zeppelin")["documents"] == []
    assert ids(asyncio.run(retriever.run_async("wing"))["documents"]) == ["n1"]
    with pytest.raises(FilterError, match="yaer"):
        retriever.run("wing", filters={"field": "meta.yaer", "operator": "==", "value": 1})
    with pytest.raises(QueryError, match="k is 0"):
        retriever.run("wing", top_k=0)


def test_filters_of_a_retriever_are_replaced_or_merged(store: LexhoundDocumentStore) -> None:
    old = {"field": "meta.year", "operator": "<", "value": 2000}
    english = {"field": "meta.lang", "operator": "==", "value": "en"}
    replacing = LexhoundKeywordRetriever(store, filters=old)
    assert ids(replacing.run("flow")["documents"]) == ["n2"]
    assert ids(replacing.run("flow", filters=english)["documents"]) == ["n1"]
    merging = LexhoundKeywordRetriever(store, filters=old, filter_policy=FilterPolicy.MERGE)
    assert merging.run("flow", filters=english)["documents"] == []


@pytest.mark.model
def test_dense_and_hybrid_are_fused_by_the_collection(learned: Path) -> None:
    question = "why do planes stall"
    with LexhoundStore(learned) as store:
        hybrid = LexhoundHybridRetriever(store)
        found = hybrid.run(question)["documents"]
        assert all(type(each.score) is float for each in found)
        with Collection.open(learned) as collection:
            expected = collection.search(question, mode="hybrid", k=10)
            assert [(each.id, each.score) for each in found] == [(hit.id, hit.score) for hit in expected.hits]
        assert ids(found)[0] == "n1"
        recent = {"field": "meta.year", "operator": ">", "value": 2000}
        assert ids(hybrid.run(question, filters=recent)["documents"]) == ["n1"]
        dense = LexhoundEmbeddingRetriever(store).run(question, top_k=1)["documents"]
        assert ids(dense) == ["n1"]
        only = hybrid.run(question, dense_weight=1.0)["documents"]
        assert ids(only)[0] == "n1"
        assert [each.score for each in only] != [each.score for each in found]


class LexhoundStore(LexhoundDocumentStore):
    """A store for the length of a block."""

    def __enter__(self) -> LexhoundStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def test_a_mode_that_the_collection_lacks_is_refused(made: Path) -> None:
    with LexhoundStore(made) as store, pytest.raises(QueryError, match="dense"):
        LexhoundHybridRetriever(store).run("wing")


def test_what_is_stored_comes_back(tmp_path: Path) -> None:
    documents = [
        Document(id="a", content="text", meta={"title": "T", "list": [1, {"b": None}]}, embedding=[0.1, 0.2]),
        Document(id="b", content=None, blob=ByteStream(b"\x00\xff", {"name": "x"}, "image/png")),
        Document(id="c", content="", sparse_embedding=SparseEmbedding([1, 5], [0.5, 0.25])),
        Document(id="d", content="numbers", meta={"n": np.int64(3), "f": np.float32(0.5)}),
    ]
    with LexhoundStore(tmp_path / "c", encoder="bm25") as store:
        assert store.write_documents(documents) == 4
        back = store.filter_documents()
        assert back[:3] == documents[:3]
        assert back[3].meta == {"n": 3, "f": 0.5}
        assert [type(value) for value in back[3].meta.values()] == [int, float]
        assert set(store.get_metadata_fields_info()) == {"list", "list.b", "n", "f"} - {"list.b"}
        with pytest.raises(InvalidDocumentError, match="datetime"):
            store.write_documents([Document(content="x", meta={"at": datetime(2024, 5, 1)})])
        twice = [Document(id="x", content="1"), Document(id="x", content="2")]
        assert store.write_documents(twice, DuplicatePolicy.SKIP) == 1
        assert store.write_documents(twice, DuplicatePolicy.OVERWRITE) == 1
        assert store.filter_documents({"field": "id", "operator": "==", "value": "x"})[0].content == "2"


MEANT = [
    {"field": "meta.number", "operator": "<=", "value": 5},
    {"field": "meta.number", "operator": "!=", "value": 5},
    {"field": "meta.number", "operator": "not in", "value": [5, None]},
    {"field": "meta.number", "operator": "in", "value": [5, None]},
    {"field": "meta.date", "operator": ">=", "value": "2024-05-01"},
    {"field": "meta.date", "operator": "<", "value": datetime(2024, 5, 1)},
    {"field": "meta.page", "operator": "==", "value": "100"},
    {"field": "meta.deep.name", "operator": "==", "value": "Lin"},
    {"field": "id", "operator": "in", "value": ["0", "3"]},
    {
        "operator": "NOT",
        "conditions": [
            {"field": "meta.number", "operator": ">", "value": 3},
            {"operator": "OR", "conditions": [
                {"field": "meta.page", "operator": "==", "value": "99"},
                {"field": "meta.flag", "operator": "==", "value": True},
            ]},
        ],
    },
]  # fmt: skip


COMPARED = [
    Document(id="0", content="a", meta={"number": 5, "page": "100", "flag": True}),
    Document(id="1", content="b", meta={"number": 4, "page": "99", "date": "2024-05-02"}),
    Document(id="2", content="c", meta={"number": 5.5, "date": "2024-04-30", "deep": {"name": "Lin"}}),
    Document(id="3", content="d"),
]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LexhoundDocumentStore]:
    with LexhoundStore(tmp_path_factory.mktemp("compared") / "c", encoder="bm25") as store:
        store.write_documents(COMPARED)
        yield store


@pytest.mark.parametrize("filters", MEANT, ids=str)
def test_filters_mean_what_haystack_means(compared: LexhoundDocumentStore, filters: dict[str, Any]) -> None:
    found = ids(compared.filter_documents(filters))
    assert found == [each.id for each in COMPARED if document_matches_filter(filters, each)]


@pytest.mark.parametrize(
    ("operator", "value"), [(">", "99"), ("<=", "May 1st 2024"), (">", "20240501"), ("<", True), (">=", [1]), ("~", 1)]
)
def test_what_is_no_number_and_no_iso_date_is_refused(operator: str, value: object) -> None:
    with pytest.raises(FilterError):
        expression_of({"field": "meta.page", "operator": operator, "value": value})


@pytest.mark.parametrize(
    "filters",
    [
        {"operator": "XOR", "conditions": [{"field": "meta.a", "operator": "==", "value": 1}]},
        {"operator": "AND", "conditions": []},
        {"operator": "AND", "conditions": "meta.a"},
        {"operator": "AND", "conditions": ["meta.a"]},
        {"field": "content", "operator": "==", "value": "x"},
        {"field": "meta.a", "operator": "==", "value": {"b": 1}},
    ],
    ids=str,
)
def test_filters_that_mean_nothing_are_refused(filters: dict[str, Any]) -> None:
    with pytest.raises(FilterError):
        expression_of(filters)


def test_pipelines_are_written_and_read(made: Path, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEXHOUND_TEST_KEY", "lxh_any")
    remote = LexhoundDocumentStore(service.url, "notes", key=Secret.from_env_var("LEXHOUND_TEST_KEY"))
    pipeline = Pipeline()
    pipeline.add_component("local", LexhoundKeywordRetriever(LexhoundDocumentStore(made), top_k=1))
    policy = FilterPolicy.MERGE
    pipeline.add_component("remote", LexhoundKeywordRetriever(remote, top_k=2, filter_policy=policy))
    pipeline.add_component("hybrid", LexhoundHybridRetriever(remote, dense_weight=0.3))
    again = Pipeline.loads(pipeline.dumps(), allowed_modules=["lexhound.serve.integrations.haystack"])
    assert again.dumps() == pipeline.dumps()
    assert "lxh_any" not in pipeline.dumps()
    assert again.get_component("hybrid").dense_weight == 0.3
    assert again.get_component("remote").filter_policy is policy
    again.remove_component("hybrid")
    answer = again.run({"local": {"query": "wing"}, "remote": {"query": "flow"}})
    assert ids(answer["local"]["documents"]) == ["n1"]
    assert ids(answer["remote"]["documents"]) == ["n2", "n1"]
    for each in ("local", "remote"):
        again.get_component(each).document_store.close()
    with Collection.open(made) as collection, pytest.raises(ValueError, match="open collection"):
        LexhoundDocumentStore(collection).to_dict()
    with pytest.raises(TypeError, match="LexhoundDocumentStore"):
        LexhoundKeywordRetriever("notes.index")  # type: ignore[arg-type]
    with pytest.raises(FilterError, match="delete_all_documents"):
        LexhoundDocumentStore(made).delete_by_filter({})
