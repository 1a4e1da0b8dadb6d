"""Facets that follow a query, beside counting the values of its hits by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from lexhound.retrieval import Collection, Document
from lexhound.retrieval.collection.query.facets import FACETED_HITS
from lexhound.retrieval.collection.result import Facet
from lexhound.retrieval.documents.metadata import flatten

WORDS = ("heat", "flow", "wing", "shock")


def metadata(number: int) -> dict[str, Any]:
    values = [number % 7, float(number % 7), f"t{number % 7}", [number % 3, f"t{number % 2}"], 2**60 + number % 2]
    return {"year": 1950 + number % 40, "mixed": values[number % 5], "deep": {"er": number % 2 == 0}}


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    with Collection.create(tmp_path_factory.mktemp("facets") / "my.index", encoder="bm25") as made:
        texts = [f"{WORDS[n % 4]} {WORDS[n % 3]} w{n}" for n in range(2000)]
        documents = [Document(f"d{n}", text, f"title {n % 5}", metadata(n)) for n, text in enumerate(texts)]
        made.add(documents[:900])
        made.compact()
        made.add(documents[900:])
        made.delete([f"d{n}" for n in range(0, 2000, 9)])
        yield made


def by_hand(documents: list[Document], field: str) -> tuple[list[tuple[Any, int]], int]:
    values: Counter[Any] = Counter()
    holders = 0
    for document in documents:
        own = [value for name, value in flatten(document.metadata) if name == field]
        values.update(own)
        holders += bool(own)
    return sorted(values.items(), key=lambda pair: (-pair[1], isinstance(pair[0], str), pair[0])), holders


def told(facets: list[Facet], field: str) -> tuple[list[tuple[Any, int]], int]:
    (facet,) = (each for each in facets if each.field == field)
    return [(each.value, each.count) for each in facet.values], facet.documents


@pytest.mark.parametrize("query", ["w7", "heat", "heat flow", "w1 w2 w3 w1999", "nothing"])
@pytest.mark.parametrize("filter", [None, "year < 1960", 'mixed = 3 and not mixed = "t1"'])
def test_counts_are_those_of_the_hits(collection: Collection, query: str, filter: str | None) -> None:
    hits = collection.search(query, k=FACETED_HITS, filter=filter, allow_unknown_fields=True)
    documents = [hit.document for hit in hits]
    found = collection.facets(limit=10_000, query=query, filter=filter, allow_unknown_fields=True)
    assert [each.field for each in found] == (["deep.er", "mixed", "year"] if documents else [])
    for facet in found:
        values, holders = by_hand(documents, facet.field)
        assert told(found, facet.field) == (values, holders)
        numbers = [value for value, _ in values if not isinstance(value, str)]
        assert (facet.minimum, facet.maximum) == (min(numbers, default=None), max(numbers, default=None))
        assert facet.kind == ("number" if len(numbers) == len(values) else "text")
        (cut,) = collection.facets([facet.field], limit=2, query=query, filter=filter)
        assert cut.values == facet.values[:2]


def test_the_document_s_own_fields_have_facets(collection: Collection) -> None:
    (title,) = collection.facets(["title"])
    left = Counter(f"title {n % 5}" for n in range(2000) if n % 9)
    assert {each.value: each.count for each in title.values} == left
    assert title.documents == sum(left.values())
    (own,) = collection.facets(["id"], query="w7 w8")
    assert [each.value for each in own.values] == ["d7", "d8"]
