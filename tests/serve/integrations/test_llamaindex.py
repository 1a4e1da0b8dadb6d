"""LlamaIndex: a retriever, a vector store and an index over it, and its own fusion of both."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core import MockEmbedding, StorageContext, VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.retrievers.fusion_retriever import FUSION_MODES
from llama_index.core.schema import (
    BaseNode,
    ImageNode,
    MetadataMode,
    NodeRelationship,
    NodeWithScore,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)
from llama_index.core.vector_stores.types import VectorStoreQueryMode
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

from lexhound.retrieval import Collection
from lexhound.retrieval.errors import InvalidDocumentError, QueryError, UnknownFieldError
from lexhound.serve.integrations.llamaindex import ID, LexhoundRetriever, LexhoundVectorStore, expression_of


@pytest.fixture
def store(where: dict[str, str]) -> Iterator[LexhoundVectorStore]:
    opened = LexhoundVectorStore(**where)
    yield opened
    opened.close()


def ids(found: list[NodeWithScore]) -> list[str]:
    return [each.node_id for each in found]


def asked(text: str, **options: Any) -> VectorStoreQuery:
    return VectorStoreQuery(query_str=text, similarity_top_k=options.pop("k", 5), **options)


def one(key: str, operator: str, value: Any) -> MetadataFilters:
    return MetadataFilters(filters=[MetadataFilter(key=key, operator=FilterOperator(operator), value=value)])


def part_of(identifier: str, text: str, document: str, **metadata: Any) -> TextNode:
    node = TextNode(id_=identifier, text=text, metadata=metadata)
    node.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id=document)
    return node


def test_a_retriever_over_a_folder_and_a_service(where: dict[str, str]) -> None:
    retriever = LexhoundRetriever(**where, similarity_top_k=2)
    found = retriever.retrieve("wing flow")
    assert ids(found) == ["n1", "n2"]
    assert found[0].get_content(MetadataMode.NONE) == "The flow separates from a wing."
    assert found[0].metadata["title"] == "Wings"
    assert ID not in found[0].get_content(MetadataMode.LLM), "models do not see it"
    assert ID not in found[0].get_content(MetadataMode.EMBED)
    assert type(found[0].score) is float
    assert retriever.retrieve("zeppelin") == []
    assert ids(asyncio.run(retriever.aretrieve("wing"))) == ["n1"]
    retriever.close()
    old = LexhoundRetriever(**where, filters=one("year", "<", 2000), mode="lexical")
    assert ids(old.retrieve("flow")) == ["n2"]
    old.close()


def test_queries_of_a_store(store: LexhoundVectorStore) -> None:
    result = store.query(asked("flow", k=1))
    assert (result.ids, [node.node_id for node in result.nodes or ()]) == (["n2"], ["n2"])
    assert type((result.similarities or [None])[0]) is float
    sparse = store.query(asked("flow", mode=VectorStoreQueryMode.SPARSE, filters=one("year", ">", 2000)))
    assert sparse.ids == ["n1"]
    assert store.query(asked("flow", node_ids=["n1", "n3"])).ids == ["n1"]
    assert store.query(asked("flow", doc_ids=["none"])).ids == []
    assert asyncio.run(store.aquery(asked("tube"))).ids == ["n3"]


@pytest.mark.parametrize(
    ("query", "error", "says"),
    [
        (VectorStoreQuery(query_embedding=[0.5]), QueryError, "query_str"),
        (asked("flow", mode=VectorStoreQueryMode.MMR), QueryError, "MMR"),
        (asked("flow", mode=VectorStoreQueryMode.HYBRID), Exception, "hybrid"),
        (asked("flow", mode=VectorStoreQueryMode.SPARSE, alpha=0.5), QueryError, "alpha"),
        (asked("flow", sparse_top_k=3), QueryError, "sparse_top_k"),
        (asked("flow", filters=one("yaer", "==", 1)), UnknownFieldError, "yaer"),
        (asked("flow", filters=one("lang", "text_match", "e")), QueryError, "text_match"),
        (asked("flow", filters=one("lang", "==", ["e"])), QueryError, "list"),
        (asked("flow", k=0), QueryError, "k is 0"),
    ],
)
def test_what_it_cannot_answer_is_refused(
    store: LexhoundVectorStore, query: VectorStoreQuery, error: type[Exception], says: str
) -> None:
    with pytest.raises(error) as caught:
        store.query(query)
    assert says in str(caught.value)


def test_nodes_come_back_as_they_were(tmp_path: Path) -> None:
    first = part_of("a", "heat flows", "doc", title="T", year=np.int64(1990), tags=["x"], deep={"a": None})
    first.excluded_llm_metadata_keys = ["year"]
    first.relationships[NodeRelationship.NEXT] = RelatedNodeInfo(node_id="b", metadata={"x": 1})
    nodes: list[BaseNode] = [
        first,
        part_of("b", "heat flows", "doc", year=1991),
        ImageNode(id_="c", text="a wing", image_path="wing.png"),
        TextNode(id_="d", text="", metadata={"year": 1992}),
    ]
    store = LexhoundVectorStore(where=tmp_path / "c", encoder="bm25")
    assert store.add(nodes) == ["a", "b", "c", "d"]
    first.metadata["year"] = 1990
    assert [node.to_dict() for node in store.get_nodes()] == [node.to_dict() for node in nodes]
    found = store.query(asked("heat")).nodes or []
    assert sorted(node.metadata[ID] for node in found) == ["a", "b"]
    store.add(found)
    assert [node.to_dict() for node in store.get_nodes()] == [node.to_dict() for node in nodes], "stored without it"
    assert [node.node_id for node in store.get_nodes(["c", "none", "a"])] == ["c", "a"]
    assert [node.node_id for node in store.get_nodes(filters=one("year", ">=", 1991))] == ["b", "d"]
    assert [node.node_id for node in store.get_nodes(["a", "b"], one("year", ">=", 1991))] == ["b"]
    assert sorted(store.query(asked("heat", doc_ids=["doc"])).ids or ()) == ["a", "b"]
    with pytest.raises(InvalidDocumentError):
        store.add([TextNode(text="x", metadata={"odd": {1}})])
    with pytest.raises(ValueError, match="clear"):
        store.delete_nodes()
    store.delete_nodes(filters=one("year", "==", 1992))
    store.delete("doc")
    assert [node.node_id for node in store.get_nodes()] == ["c"]
    store.clear()
    assert store.get_nodes() == []
    store.close()


OPERATORS = [
    ("==", 5), ("!=", 5), (">", 4), (">=", 5), ("<", 5), ("<=", 4), ("in", [5, 6]), ("nin", [5, 6]),
]  # fmt: skip
ROWS: list[dict[str, Any]] = [{"n": 4}, {"n": 5, "tags": ["a", "b"]}, {"n": 6, "tags": ["b"]}, {"lang": ""}, {}]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LexhoundVectorStore]:
    opened = LexhoundVectorStore(where=tmp_path_factory.mktemp("rows") / "c", encoder="bm25")
    opened.add([TextNode(id_=str(number), text="x", metadata=row) for number, row in enumerate(ROWS)])
    yield opened
    opened.close()


@pytest.mark.parametrize("condition", list(FilterCondition), ids=str)
@pytest.mark.parametrize(("operator", "value"), OPERATORS)
def test_filters_mean_what_llamaindex_means(
    rows: LexhoundVectorStore, operator: str, value: Any, condition: FilterCondition
) -> None:
    filters = MetadataFilters(
        filters=[
            MetadataFilter(key="n", operator=FilterOperator(operator), value=value),
            MetadataFilter(key="lang", operator=FilterOperator.IS_EMPTY, value=None),
        ],
        condition=condition,
    )
    passes = build_metadata_filter_fn(lambda name: ROWS[int(name)], filters)
    expected = [str(number) for number in range(len(ROWS)) if passes(str(number))]
    assert [node.node_id for node in rows.get_nodes(filters=filters)] == expected


@pytest.mark.parametrize(
    ("operator", "value", "passes"),
    [("any", ["a", "z"], ["1"]), ("all", ["a", "b"], ["1"]), ("contains", "b", ["1", "2"])],
)
def test_filters_of_lists(rows: LexhoundVectorStore, operator: str, value: Any, passes: list[str]) -> None:
    assert [node.node_id for node in rows.get_nodes(filters=one("tags", operator, value))] == passes


def test_nested_filters() -> None:
    inner = MetadataFilters(
        filters=[MetadataFilter(key="a", value=1), MetadataFilter(key="b", value=2)], condition=FilterCondition.OR
    )
    outer = MetadataFilters(filters=[inner, MetadataFilter(key="c", value="x")])
    assert expression_of(outer) == '((`a` = 1) or (`b` = 2)) and (`c` = "x")'
    assert expression_of(MetadataFilters(filters=[])) is None


def test_an_index_over_a_store(tmp_path: Path) -> None:
    store = LexhoundVectorStore(where=tmp_path / "c", encoder="bm25")
    context = StorageContext.from_defaults(vector_store=store)
    nodes = [part_of("a", "heat flows", "d1", year=1990), part_of("b", "a wing", "d2", year=1991)]
    VectorStoreIndex(nodes, storage_context=context, embed_model=MockEmbedding(embed_dim=1))
    index = VectorStoreIndex.from_vector_store(store, embed_model=MockEmbedding(embed_dim=1))
    assert ids(index.as_retriever(similarity_top_k=3).retrieve("heat")) == ["a"]
    filtered = index.as_retriever(filters=one("year", ">", 1990), vector_store_query_mode="sparse")
    assert ids(filtered.retrieve("a wing of heat")) == ["b"]
    index.delete_ref_doc("d1")
    assert ids(index.as_retriever().retrieve("heat")) == []
    store.close()


@pytest.mark.parametrize("mode", list(FUSION_MODES), ids=str)
def test_its_fusion_keeps_nodes_of_equal_text_apart(tmp_path: Path, mode: FUSION_MODES) -> None:
    """Without the id in their metadata it takes them for one."""
    with Collection.create(tmp_path / "c", encoder="bm25") as collection:
        collection.add([{"id": str(number), "text": "heat flows"} for number in range(3)])
        retrievers = [LexhoundRetriever(collection, mode="sparse"), LexhoundRetriever(collection, mode="lexical")]
        fusion = QueryFusionRetriever(
            retrievers,  # type: ignore[arg-type]
            llm=MockLLM(), mode=mode, num_queries=1, similarity_top_k=5, use_async=False,
        )  # fmt: skip
        found = fusion.retrieve("heat")
        assert sorted(ids(found)) == ["0", "1", "2"]
        assert all(each.metadata[ID] == each.node_id for each in found)


@pytest.mark.model
def test_hybrid_queries_are_fused_by_the_collection(learned: Path) -> None:
    store = LexhoundVectorStore(where=learned)
    question, hybrid = "why do planes stall", VectorStoreQueryMode.HYBRID
    result = store.query(asked(question, mode=hybrid))
    with Collection.open(learned) as collection:
        expected = collection.search(question, mode="hybrid", k=5)
    assert list(zip(result.ids or (), result.similarities or (), strict=True)) == [
        (hit.id, hit.score) for hit in expected.hits
    ]
    assert len(store.query(asked(question, mode=hybrid, hybrid_top_k=1)).ids or ()) == 1
    dense, sparse = (store.query(asked(question, mode=hybrid, alpha=alpha)) for alpha in (1.0, 0.0))
    assert dense.similarities != sparse.similarities
    store.close()


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture, made: Path) -> None:
    with caplog.at_level(logging.WARNING):
        LexhoundRetriever(made).retrieve("heat")
    assert not caplog.records
