"""LangChain: what its standard tests do not ask."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import FakeEmbeddings
from langchain_core.structured_query import Comparator, Comparison, Operation, Operator, StructuredQuery
from service import Service

from lexhound.retrieval import Collection
from lexhound.retrieval.errors import InvalidDocumentError, NotACollectionError, QueryError, UnknownFieldError
from lexhound.serve.integrations.langchain import LexhoundRetriever, LexhoundTranslator, LexhoundVectorStore


def ids(documents: list[Document]) -> list[str | None]:
    return [document.id for document in documents]


def test_a_retriever_over_a_folder_and_a_service(where: dict[str, str]) -> None:
    retriever = LexhoundRetriever(**where, k=2, with_score=True)
    documents = retriever.invoke("wing flow")
    assert ids(documents) == ["n1", "n2"]
    assert documents[0].page_content == "The flow separates from a wing."
    assert documents[0].metadata["title"] == "Wings"
    assert type(documents[0].metadata["score"]) is float
    assert documents[0].metadata["score"] > documents[1].metadata["score"] > 0
    assert ids(retriever.invoke("flow", filter={"year": {"$lt": 2000}}, k=1, mode="lexical")) == ["n2"]
    assert ids(retriever.invoke("flow", filter="year < 2000")) == ["n2"]
    assert retriever.invoke("zeppelin") == []
    assert ids(asyncio.run(retriever.ainvoke("wing"))) == ["n1"]
    retriever.close()


def test_a_store_over_a_folder_and_a_service(where: dict[str, str]) -> None:
    store = LexhoundVectorStore(**where)
    assert ids(store.similarity_search("flow", k=5)) == ["n2", "n1"], "nothing is filled up unless asked"
    assert ids(store.similarity_search("flow", k=5, fill=True)) == ["n2", "n1", "n3"]
    assert ids(store.similarity_search("flow", k=5, fill=True, filter={"year": {"$lt": 2000}})) == ["n2", "n3"]
    scores = [score for _, score in store.similarity_search_with_score("flow", k=3, fill=True)]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] == 0.0
    assert all(type(score) is float for score in scores)
    assert ids(store.get_by_ids(["n3", "none", "n1"])) == ["n3", "n1"]
    chosen = store.as_retriever(search_kwargs={"k": 1, "filter": {"tags": "heat"}})
    assert ids(chosen.invoke("flow")) == ["n2"]
    store.close()


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"top_k": 3}, TypeError, "did you mean"),
        ({"filter": "year <"}, Exception, "expected"),
        ({"filter": {"yaer": 3}}, Exception, "year"),
        ({"mode": "semantic"}, QueryError, "semantic"),
        ({"k": 0}, QueryError, "k is 0"),
    ],
)
def test_mistakes_are_told(where: dict[str, str], options: dict[str, Any], error: type[Exception], says: str) -> None:
    store = LexhoundVectorStore(**where)
    with pytest.raises(error) as caught:
        store.similarity_search("flow", **options)
    assert says in str(caught.value)
    store.close()


def test_what_is_stored_comes_back(tmp_path: Path) -> None:
    metadata = {"title": "T", "year": np.int64(1990), "weights": np.array([0.5, 1.0]), "none": None, "n": {"a": [1]}}
    store = LexhoundVectorStore(tmp_path / "c", encoder="bm25")
    store.add_documents(
        [
            Document("a text", metadata=metadata, id="a"),
            Document("another text", metadata={"title": "", "score": 3}, id="b"),
        ]
    )
    plain = metadata | {"year": 1990, "weights": [0.5, 1.0]}
    assert store.get_by_ids(["a", "b"]) == [
        Document("a text", metadata=plain, id="a"),
        Document("another text", metadata={"title": "", "score": 3}, id="b"),
    ]
    with Collection.open(tmp_path / "c") as collection:
        stored = collection.get("a")
        assert stored is not None
        assert stored.title == "T", "the title is searched, too"
    with pytest.raises(InvalidDocumentError, match="set"):
        store.add_texts(["x"], [{"odd": {1}}])
    with pytest.raises(ValueError, match="2 texts and 1 ids"):
        store.add_texts(["x", "y"], ids=["1"])
    assert len(set(store.add_texts(["x", "x"]))) == 2
    assert store.delete(filter={"year": 1990})
    assert ids(store.get_by_ids(["a", "b"])) == ["b"]
    with pytest.raises(ValueError, match="either"):
        store.delete()
    store.close()


def test_an_open_collection_is_used_and_left_open(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", encoder="bm25") as collection:
        store = LexhoundVectorStore.from_texts(["heat"], None, [{"a": 1}], ids=["1"], where=collection)
        assert ids(store.similarity_search("heat")) == ["1"]
        store.close()
        assert collection.count() == 1


def test_what_others_write_is_seen_and_they_may_write(tmp_path: Path) -> None:
    store = LexhoundVectorStore(tmp_path / "c", encoder="bm25")
    store.add_texts(["heat"], ids=["1"])
    with Collection.open(tmp_path / "c", writable=True) as other:
        other.add([{"id": "2", "text": "more heat"}])
    assert ids(store.similarity_search("heat")) == ["1", "2"]
    store.close()


def test_what_it_cannot_do_is_refused(made: Path, tmp_path: Path, service: Service) -> None:
    with pytest.raises(NotACollectionError):
        LexhoundRetriever(where=tmp_path / "none")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    with pytest.raises(NotACollectionError):
        LexhoundVectorStore(tmp_path / "full")
    with pytest.raises(QueryError, match="`key` is for services"):
        LexhoundVectorStore(made, key="lxh_secret")
    with pytest.raises(ValueError, match="embedding=None"):
        LexhoundVectorStore.from_texts(["x"], FakeEmbeddings(size=3), where=tmp_path / "new")
    store = LexhoundVectorStore(made)
    with pytest.raises(NotImplementedError, match="similarity_search_with_score"):
        store.similarity_search_with_relevance_scores("heat")
    with pytest.raises(UnknownFieldError):
        store.similarity_search("heat", filter="yaer = 1")
    assert store.similarity_search("heat", filter="yaer = 1", allow_unknown_fields=True) == []
    store.close()


def test_self_queries_are_translated(where: dict[str, str]) -> None:
    condition = Operation(
        operator=Operator.AND,
        arguments=[
            Comparison(comparator=Comparator.LT, attribute="year", value=2000),
            Operation(
                operator=Operator.NOT,
                arguments=[Comparison(comparator=Comparator.IN, attribute="lang", value=["en", "fr"])],
            ),
            Comparison(comparator=Comparator.EQ, attribute="date", value={"date": "1958-05-01T12:00:00", "type": "d"}),
        ],
    )
    query, options = LexhoundTranslator().visit_structured_query(
        StructuredQuery(query="tube", filter=condition, limit=None)
    )
    store = LexhoundVectorStore(**where)
    assert ids(store.similarity_search(query, **options)) == ["n3"]
    assert LexhoundTranslator().visit_structured_query(StructuredQuery(query="q", filter=None, limit=None)) == ("q", {})
    with pytest.raises(ValueError, match="like"):
        Comparison(comparator=Comparator.LIKE, attribute="lang", value="e").accept(LexhoundTranslator())
    store.close()


@pytest.mark.parametrize(
    ("module", "package"), [("langchain", "langchain_core"), ("llamaindex", "llama_index"), ("haystack", "haystack")]
)
def test_a_missing_package_is_told_with_its_extra(module: str, package: str) -> None:
    code = f"""
import sys
sys.modules["{package}"] = None
import lexhound.serve.integrations
from lexhound.core.errors import MissingExtraError
try:
    import lexhound.serve.integrations.{module}
except MissingExtraError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"lexhound[{module}]" in done.stdout
    assert package in done.stdout
