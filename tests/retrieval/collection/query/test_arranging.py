"""Totals, orders by a field and one hit a value: beside sorting and counting all hits in Python."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_checkpoints import build_tiny_embedding_model

from lexhound.index.inverted.index import InvertedIndex
from lexhound.retrieval import Collection, Document, Fusion
from lexhound.retrieval.collection.request import SearchRequest
from lexhound.retrieval.collection.result import Hit, Total
from lexhound.retrieval.documents.metadata import flatten
from lexhound.retrieval.errors import QueryError, UnknownFieldError
from lexhound.retrieval.filters.sort_keys import SortKey

WORDS = ("heat", "flow", "wing", "shock", "plate")
ALL = 100_000


def metadata(number: int) -> dict[str, Any]:
    mixed = [number % 4, float(number % 4) + 0.5, f"t{number % 3}", 2**60 + number % 2, number % 4 == 1]
    values: dict[str, Any] = {"year": 1950 + number % 7, "mixed": mixed[number % 5], "list": [number % 3, number % 5]}
    for field, every in (("year", 6), ("mixed", 4), ("list", 9)):
        if number % every == 0:
            del values[field]
    return values


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    """Three parts, one of them in memory, with deleted rows and texts without words."""
    with Collection.create(tmp_path_factory.mktemp("arranged") / "my.index", encoder="bm25") as made:
        texts = [" ".join(WORDS[(n * step) % 5] for step in range(n % 4)) for n in range(240)]
        documents = [Document(f"d{n}", text, f"title {n % 5}", metadata(n)) for n, text in enumerate(texts)]
        made.add(documents[:90])
        made.compact()
        made.add(documents[90:170])
        made.add(documents[170:])
        made.delete([f"d{n}" for n in range(0, 240, 11)])
        yield made


def values_of(hit: Hit, field: str) -> list[Any]:
    own = {"id": hit.id, "title": hit.title}
    return [own[field]] if field in own else [v for name, v in flatten(hit.metadata or {}) if name == field]


def ordered(hits: Sequence[Hit], keys: Sequence[SortKey]) -> list[Hit]:
    """The slow twin: one stable sort a key, the last first; equals stay in their order, in either direction."""
    found = list(hits)
    for key in reversed(keys):

        def place(hit: Hit, key: SortKey = key) -> tuple[bool, Any]:
            own = [(isinstance(value, str), value) for value in values_of(hit, key.field)]
            return max(own) if key.descending else min(own)

        having = sorted((hit for hit in found if values_of(hit, key.field)), key=place, reverse=key.descending)
        found = having + [hit for hit in found if not values_of(hit, key.field)]
    return found


def collapsed(hits: Sequence[Hit], field: str) -> list[Hit]:
    first: dict[Any, Hit] = {}
    for hit in hits:
        first.setdefault(next(iter(values_of(hit, field)), None), hit)
    return list(first.values())


def shown(hits: Sequence[Hit]) -> list[tuple[str, float]]:
    return [(hit.id, hit.score) for hit in hits]


keys = st.builds(SortKey, st.sampled_from(["year", "mixed", "list", "title", "id"]), st.booleans())


@settings(max_examples=examples(60), deadline=None)
@given(
    query=st.sampled_from(["heat", "heat wing shock", "title", "t zeppelin", "zeppelin", ""]),
    sort=st.lists(keys, max_size=3),
    collapse=st.sampled_from([None, "year", "mixed", "title"]),
    k=st.integers(1, 12),
    offset=st.integers(0, 30),
    filter=st.sampled_from([None, "year > 1952", 'mixed = "t1"', "exists list"]),
)
def test_hits_are_those_of_all_sorted_by_hand(
    collection: Collection, query: str, sort: list[SortKey], collapse: str | None, k: int, offset: int, filter: str
) -> None:
    every = collection.search(query, ALL, filter=filter).hits
    wanted = ordered(every, sort)
    wanted = wanted if collapse is None else collapsed(wanted, collapse)
    found = collection.search(query, k, offset=offset, filter=filter, sort=sort, collapse=collapse, total=True)
    assert shown(found.hits) == shown(wanted[offset : offset + k])
    assert [hit.rank for hit in found] == list(range(offset + 1, offset + 1 + len(found)))
    assert found.total == Total(len(every), "exact")


def test_the_work_for_a_total_is_done_only_where_it_is_asked_for(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    original = InvertedIndex.matching

    def counted(self: InvertedIndex, *args: Any) -> Any:
        calls.append(1)
        return original(self, *args)

    monkeypatch.setattr(InvertedIndex, "matching", counted)
    plain = collection.search("heat wing", 3)
    assert plain.total is None
    assert not calls
    asked = collection.search("heat wing", 3, total=True)
    assert len(calls) == len(collection.snapshot().segments)
    assert asked.stats is not None
    assert plain.stats is not None
    assert asked.stats.postings_read == 2 * plain.stats.postings_read  # so small an index is read whole
    assert shown(asked.hits) == shown(plain.hits)


def test_a_total_is_read_by_people() -> None:
    assert str(Total(1234)) == "1,234"
    assert str(Total(1000, "lower_bound")) == "at least 1,000"


def test_what_cannot_be_done_is_told(collection: Collection) -> None:
    with pytest.raises(UnknownFieldError, match=r"'yeer'\. Did you mean year") as wrong:
        collection.search("heat", sort="yeer:desc")
    assert wrong.value.where == "sort"
    with pytest.raises(UnknownFieldError, match="'yeer'") as wrong:
        collection.search("heat", collapse="yeer")
    assert wrong.value.where == "collapse"
    assert len(collection.search("heat", sort="yeer", collapse="yeer", allow_unknown_fields=True)) == 1
    with pytest.raises(QueryError, match="has several values of the field 'list'"):
        collection.search("heat", collapse="list")
    for wrong_sort in ("", [""], ["\ud800"], [3], {"year": "desc"}, ["year"] * 9):
        with pytest.raises(QueryError, match="sort"):
            collection.search("heat", sort=wrong_sort)  # type: ignore[arg-type]
    for wrong_field in ("", "\ud800"):
        with pytest.raises(QueryError, match="collapse"):
            collection.search("heat", collapse=wrong_field)


def test_a_key_is_written_and_read() -> None:
    assert SearchRequest("x", sort="year:desc").sort_keys == (SortKey("year", descending=True),)
    assert SearchRequest("x", sort=["a:b", "c:asc", ":desc"]).sort_keys == (
        SortKey("a:b"),
        SortKey("c"),
        SortKey(":desc"),
    )
    assert [str(SortKey.parse(text)) for text in ("year", "year:desc", "a:b:asc")] == [
        "year:asc",
        "year:desc",
        "a:b:asc",
    ]


@pytest.mark.parametrize("query", ["heat", "wing shock", "title", "zeppelin"])
@pytest.mark.parametrize("filter", [None, "year > 1952"])
def test_facets_of_all_that_matches(collection: Collection, query: str, filter: str | None) -> None:
    every = collection.search(query, ALL, filter=filter)
    (facet,) = collection.facets(["year"], 1000, query=query, filter=filter, matching=True) or [None]
    counts: dict[Any, int] = {}
    for hit in every:
        for value in values_of(hit, "year"):
            counts[value] = counts.get(value, 0) + 1
    assert ({each.value: each.count for each in facet.values} if facet else {}) == counts


def test_facets_of_a_filter_alone(collection: Collection) -> None:
    (facet,) = collection.facets(["year"], 1000, filter='mixed = "t1"')
    assert {each.value: each.count for each in facet.values} == {
        year: count for year in range(1950, 1957) if (count := collection.count(f'mixed = "t1" and year = {year}'))
    }


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    folder = tmp_path_factory.mktemp("arranged_dense")
    model = str(build_tiny_embedding_model(folder / "model"))
    with Collection.create(folder / "my.index", encoder="bm25", dense=model) as made:
        made.add(Document(f"d{n}", " ".join(WORDS[: n % 5]), metadata={"n": n % 3, "m": n}) for n in range(40))
        yield made


def test_candidates_of_dense_and_hybrid_searches(dense: Collection) -> None:
    near = dense.search("wing", 100, mode="dense", total=True)
    assert near.total == Total(32)  # a fifth has no text, and so no vector
    assert len(near) == 32
    by_field = dense.search("wing", 5, mode="dense", sort="m:desc", explain=True)
    assert [hit.metadata["m"] for hit in by_field] == [39, 38, 37, 36, 34]  # type: ignore[index]
    assert [shares.share for hit in by_field for shares in hit.shares or ()] == [hit.score for hit in by_field]
    assert dense.search("", 5, mode="dense", total=True).total == Total(0)

    every = dense.search("wing", 100, mode="hybrid", total=True)
    assert every.total == Total(32)
    cut = dense.search("wing", 100, mode="hybrid", total=True, fusion=Fusion(depth=4))
    assert cut.total == Total(len(cut), "lower_bound")
    one = dense.search("wing", 2, mode="hybrid", collapse="n", explain=True)
    assert shown(one.hits) == shown(collapsed(every.hits, "n")[:2])
    for hit in one:
        assert sum(share.share for share in hit.shares or ()) == hit.score
    last = dense.search("wing", 4, mode="hybrid", sort=["n", "m:desc"])
    assert [(hit.metadata["n"], hit.metadata["m"]) for hit in last] == [(0, 39), (0, 36), (0, 33), (0, 27)]  # type: ignore[index]
