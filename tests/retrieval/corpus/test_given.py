"""What Python programs give in place of documents and ids: mappings are read, all else is told what it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lexhound.retrieval import Collection, Document
from lexhound.retrieval.corpus.given import documents_of
from lexhound.retrieval.errors import CollectionExistsError, InvalidDocumentError, NotACollectionError, QueryError


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Collection.create(tmp_path / "my.index", encoder="bm25") as made:
        yield made


def test_mappings_are_documents_as_lines_of_json_are(collection: Collection) -> None:
    row = {"_id": 7, "contents": "heat flow", "title": "T", "year": 1990, "metadata": {"lang": "en"}}
    report = collection.add([row, Document("b", "heat")])
    assert report.added == 2
    assert collection.get("7") == Document("7", "heat flow", "T", {"lang": "en", "year": 1990})
    assert row["_id"] == 7, "what the caller has is left alone"
    assert collection.put([{"id": "7", "text": "other"}, {"id": "c", "text": "heat"}]) == ["replaced", "added"]
    assert collection.ids("id = 'c'") == ["c"]


def test_a_generator_is_read_as_it_comes(collection: Collection) -> None:
    assert collection.add({"id": str(n), "text": "heat"} for n in range(5)).added == 5
    assert isinstance(documents_of(iter([])), Iterator)


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ([{"id": "a", "text": "t"}, {"id": "b", "content": "t"}], "document 2: no text", "a text"),
        ([{"docno": "a", "text": "t"}], "document 1: no id: there is no field", "an id"),
        ([{"id": "a", "text": 3}], "document 1: the text must be a string", ""),
        ([("a", "t")], "document 1: it is a tuple", "mappings such as"),
        (["heat"], "document 1: it is a str", "mappings such as"),
        ({"id": "a", "text": "t"}, "one document is given where many are expected", "add([document])"),
        (Document("a", "t"), "one document is given where many are expected", "add([document])"),
        ("heat", "a str is given where many are expected", "mappings such as"),
        (3, "a int is given where many are expected", "mappings such as"),
    ],
)
def test_what_is_no_document_is_told(collection: Collection, given: Any, message: str, hint: str) -> None:
    for write in (collection.add, collection.put):
        with pytest.raises(InvalidDocumentError) as refused:
            write(given)
        assert str(refused.value).startswith(message)
        assert hint in (refused.value.hint or "")
    assert collection.count() == 0


def test_a_text_is_no_list_of_ids_or_queries(collection: Collection) -> None:
    collection.add([Document(letter, "heat") for letter in "abc"])
    with pytest.raises(InvalidDocumentError, match="one id is given"):
        collection.delete("abc")
    with pytest.raises(QueryError, match="one query is given"):
        collection.search_many("abc")
    assert collection.count() == 3


def test_results_are_sequences_of_hits(collection: Collection) -> None:
    collection.add([Document(letter, "heat " * (1 + position)) for position, letter in enumerate("abc")])
    found = collection.search("heat", k=2)
    assert len(found) == len(found.hits) == 2
    assert list(found) == list(found.hits)
    assert found[0] is found.hits[0]
    assert found
    assert not collection.search("nothing")


def test_hints_are_python_s(collection: Collection, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="did you mean k"):
        collection.search("heat", limit=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="did you mean lexical"):
        Collection.create(tmp_path / "x", k1=3)  # type: ignore[call-arg]
    with pytest.raises(CollectionExistsError) as exists:
        Collection.create(collection.path)
    with pytest.raises(NotACollectionError) as missing:
        Collection.open(tmp_path / "nowhere")
    with pytest.raises(QueryError) as dense:
        collection.search("heat", mode="dense")
    for error in (exists.value, missing.value, dense.value):
        assert "--" not in str(error)
        assert "--" in str(error.cli_hint)
