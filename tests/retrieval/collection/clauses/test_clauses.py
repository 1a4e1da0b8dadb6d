"""Queries of several clauses: beside sets and sums of plain searches."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_collection import same_ranking

from lexhound.retrieval import Collection, Document
from lexhound.retrieval.collection.clauses.tree import AllOf, Clause, FilterClause, TextClause, WeightsClause
from lexhound.retrieval.collection.result import Total
from lexhound.retrieval.errors import QueryError, UnknownFieldError

WORDS = ("heat", "flow", "wing", "shock", "plate")
ALL = 100_000


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    with Collection.create(tmp_path_factory.mktemp("clauses") / "my.index", encoder="bm25") as made:
        texts = [" ".join(WORDS[(n * step) % 5] for step in range(n % 5)) for n in range(160)]
        documents = [Document(f"d{n}", text, metadata={"year": n % 7, "lang": "de" if n % 3 else "en"}) for n, text in enumerate(texts)]  # fmt: skip  # noqa: E501
        made.add(documents[:90])
        made.compact()
        made.add(documents[90:])
        made.delete([f"d{n}" for n in range(0, 160, 13)])
        yield made


def scores(collection: Collection, clause: Clause) -> dict[str, float]:
    """The slow twin: the score of each document that matches."""
    if isinstance(clause, TextClause):
        found = {hit.id: hit.score * clause.boost for hit in collection.search(clause.text, ALL)}
        if clause.every_term:
            for word in clause.text.split():
                found = {key: found[key] for key in found if key in {hit.id for hit in collection.search(word, ALL)}}
        return found
    if isinstance(clause, WeightsClause):
        return {hit.id: hit.score * clause.boost for hit in collection.search(clause.weights, ALL)}
    if isinstance(clause, FilterClause):
        everything = [f"d{n}" for n in range(160) if collection.get(f"d{n}") is not None]
        passing = everything if clause.filter is None else collection.ids(clause.filter)
        return dict.fromkeys(passing, clause.boost)
    must = [scores(collection, each) for each in clause.must]
    should = [scores(collection, each) for each in clause.should]
    required = [*must, *(scores(collection, each) for each in clause.filter)]
    forbidden = [scores(collection, each) for each in clause.must_not]
    answer = {}
    for n in range(160):
        key = f"d{n}"
        if (
            collection.get(key) is not None
            and all(key in each for each in required)
            and not any(key in each for each in forbidden)
            and sum(key in each for each in should) >= clause.needed
        ):
            answer[key] = clause.boost * sum(each.get(key, 0.0) for each in (*must, *should))
    return answer


boosts = st.sampled_from([1.0, 2.0, 0.5])
words = st.lists(st.sampled_from([*WORDS, "zeppelin"]), max_size=3).map(" ".join)
leaf: st.SearchStrategy[Clause] = st.one_of(
    st.builds(TextClause, words, boosts, st.booleans()),
    st.builds(WeightsClause, st.dictionaries(st.sampled_from(WORDS), st.sampled_from([0.5, 3.0]), max_size=2), boosts),
    st.builds(FilterClause, st.sampled_from([None, "year > 3", 'lang = "en"', "year = 99"]), boosts),
)


def combined(inner: st.SearchStrategy[Clause]) -> st.SearchStrategy[Clause]:
    some = st.lists(inner, max_size=2).map(tuple)
    return st.builds(AllOf, some, some, some, some, st.sampled_from([None, 0, 1, 2]), boosts)


@settings(max_examples=examples(120), deadline=None)
@given(
    clause=st.recursive(leaf, combined, max_leaves=6),
    k=st.integers(1, 20),
    filter=st.sampled_from([None, "year < 5"]),
)
def test_the_same_as_sets_and_sums(collection: Collection, clause: Clause, k: int, filter: str | None) -> None:
    wanted = scores(collection, clause)
    if filter is not None:
        wanted = {key: score for key, score in wanted.items() if key in set(collection.ids(filter))}
    ranked = sorted(wanted.items(), key=lambda pair: (-pair[1], int(pair[0][1:])))
    every = collection.search(clause, ALL, filter=filter, total=True)
    assert {hit.id for hit in every} == set(wanted)
    assert every.total == Total(len(wanted))
    assert same_ranking([(hit.id, hit.score) for hit in every], ranked)
    page = collection.search(clause, k, offset=3, filter=filter)
    assert [(hit.id, hit.score) for hit in page] == [(hit.id, hit.score) for hit in every.hits[3 : 3 + k]]
    by_year = collection.search(clause, k, filter=filter, sort="year:desc", collapse="lang")
    twin = sorted(every.hits, key=lambda hit: -(hit.metadata or {})["year"])
    languages: dict[str, str] = {}
    for hit in twin:
        languages.setdefault((hit.metadata or {})["lang"], hit.id)
    assert [hit.id for hit in by_year] == list(languages.values())[:k]


def test_a_clause_alone_is_the_search_itself(collection: Collection) -> None:
    plain = collection.search("heat shock", 20, explain=True, highlight=True)
    clause = collection.search(TextClause("heat shock"), 20, explain=True, highlight=True)
    assert clause.hits == plain.hits
    assert clause.terms == plain.terms
    both = AllOf(must=(TextClause("heat"),), should=(TextClause("shock"),), filter=(FilterClause("year > 2"),))
    for hit in collection.search(both, 20, explain=True):
        assert sum(each.score for each in hit.contributions or ()) == hit.score


def test_what_cannot_be_asked_is_told(collection: Collection) -> None:
    assert collection.search(WeightsClause({"heat": 1.0, "unknown": 1.0})).unknown == ("unknown",)
    with pytest.raises(UnknownFieldError, match="'yeer'"):
        collection.search(FilterClause("yeer = 3"))
    assert not collection.search(FilterClause("yeer = 3"), allow_unknown_fields=True).hits
    with pytest.raises(QueryError, match="in mode dense"):
        collection.search(TextClause("heat"), mode="dense")
    for boost in (0, -1.0, float("nan"), True, 1e9):
        with pytest.raises(QueryError, match="boost"):
            TextClause("heat", boost)
    with pytest.raises(QueryError, match="50,001 characters"):
        collection.search(AllOf(must=(TextClause("x" * 50_001),)))
    deep: Clause = TextClause("heat")
    for _ in range(40):
        deep = AllOf(must=(deep,))
    with pytest.raises(QueryError, match="nested more than"):
        collection.search(deep)
    with pytest.raises(QueryError, match="more than 1,024 clauses"):
        collection.search(AllOf(should=(TextClause("heat"),) * 1025))
