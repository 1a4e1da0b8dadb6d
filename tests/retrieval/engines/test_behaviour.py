"""One suite for every kind of collection: our own, one over a plain engine, and Milvus as it ships in milvus-lite.

Our own collection is the referee: with the vectors that it stores, the same searches give the same hits and scores.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from backend_corpus import DOCUMENTS, FILTERS, QUERIES, encoders, move_rows
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from installed_engines import milvus_installed, needs_milvus
from plain_engine import PlainEngine

from lexhound.core.errors import ReadOnlyError
from lexhound.retrieval import Collection, Document, Fusion
from lexhound.retrieval.corpus import open_corpus
from lexhound.retrieval.engines.collection import EngineCollection
from lexhound.retrieval.engines.opening import create_collection, create_like, open_collection
from lexhound.retrieval.engines.protocol import Backend
from lexhound.retrieval.errors import (
    BadRowError,
    CollectionExistsError,
    FilterSyntaxError,
    NotACollectionError,
    QueryError,
    UnknownFieldError,
)

KINDS = ["own", "plain", "milvus-lite"]
OTHERS = KINDS[1:]
_numbers = itertools.count()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backends")


@pytest.fixture(scope="module")
def own(folder: Path) -> Iterator[Collection]:
    with Collection.create(folder / "referee.index", **encoders()) as collection:
        collection.add(DOCUMENTS)
        yield collection


def kinds(names: list[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "kind", [pytest.param(name, marks=needs_milvus if name == "milvus-lite" else ()) for name in names]
    )


@pytest.fixture(scope="module")
def moved(own: Collection, folder: Path) -> Iterator[Callable[[str], EngineCollection]]:
    """The referee's documents and vectors in another engine."""
    made: dict[str, EngineCollection] = {}

    def move(kind: str) -> EngineCollection:
        if kind not in made:
            made[kind] = (
                EngineCollection(PlainEngine("plain:test", own.manifest), writable=True)
                if kind == "plain"
                else create_like(f"{kind}:{folder}/moved.db/moved", own.manifest)
            )
            move_rows(own, made[kind])
        return made[kind]

    yield move
    for collection in made.values():
        collection.close()


@pytest.fixture(scope="module")
def fresh(own: Collection, folder: Path) -> Iterator[Callable[[str], Backend]]:
    """An empty collection, open for writing."""
    made: list[Backend] = []

    def make(kind: str) -> Backend:
        name = f"fresh{next(_numbers)}"
        if kind == "plain":
            made.append(EngineCollection(PlainEngine(f"plain:{name}", own.manifest), writable=True))
        else:
            address = f"{folder}/{name}.index" if kind == "own" else f"{kind}:{folder}/fresh.db/{name}"
            made.append(create_collection(address, **encoders()))
        return made[-1]

    yield make
    for collection in made:
        collection.close()


@kinds(KINDS)
def test_it_is_a_backend(kind: str, fresh: Callable[[str], Backend]) -> None:
    collection = fresh(kind)
    assert isinstance(collection, Backend)
    assert collection.health().ready
    assert collection.modes == ("sparse", "dense", "hybrid")
    assert collection.count() == 0
    assert collection.search("heat").hits == ()
    assert collection.info().documents == 0


@kinds(OTHERS)
@pytest.mark.parametrize("mode", ["sparse", "dense", "hybrid"])
@pytest.mark.parametrize("filter", [None, *FILTERS])
def test_hits_and_scores_are_those_of_our_own_collection(
    kind: str, own: Collection, moved: Callable[[str], EngineCollection], mode: str, filter: str | None
) -> None:
    other = moved(kind)
    assert other.count(filter, allow_unknown_fields=True) == own.count(filter, allow_unknown_fields=True)
    many = other.search_many(QUERIES, 5, mode=mode, filter=filter, allow_unknown_fields=True)
    for query, pairs in zip(QUERIES, many, strict=True):
        expected = own.search(query, 5, mode=mode, filter=filter, allow_unknown_fields=True)
        found = other.search(query, 5, mode=mode, filter=filter, allow_unknown_fields=True)
        assert [hit.id for hit in found.hits] == [hit.id for hit in expected.hits] == [each for each, _ in pairs]
        assert [hit.score for hit in found.hits] == pytest.approx(
            [hit.score for hit in expected.hits], rel=1e-5, abs=1e-4 if mode == "hybrid" else 2e-6
        )
        assert found.terms == expected.terms
        assert [hit.document for hit in found.hits] == [hit.document for hit in expected.hits]


@kinds(OTHERS)
@pytest.mark.parametrize("mode", ["sparse", "dense", "hybrid"])
def test_explanations_are_those_of_our_own_collection(
    kind: str, own: Collection, moved: Callable[[str], EngineCollection], mode: str
) -> None:
    for query in QUERIES:
        expected = own.search(query, 5, mode=mode, explain=True)
        for hit, wanted in zip(moved(kind).search(query, 5, mode=mode, explain=True).hits, expected.hits, strict=True):
            terms = {each.term: each for each in hit.contributions or ()}
            assert terms.keys() == {each.term for each in wanted.contributions or ()}
            for each in wanted.contributions or ():
                assert terms[each.term].score == pytest.approx(each.score, rel=1e-4, abs=1e-4)
                assert terms[each.term].typed == each.typed
            assert sum(each.score for each in terms.values()) == pytest.approx(hit.score, rel=1e-4, abs=1e-4)
            assert [share.rank for share in hit.shares or ()] == [share.rank for share in wanted.shares or ()]


@kinds(OTHERS)
@pytest.mark.parametrize("method", ["min-max", "z-score", "rrf"])
@pytest.mark.parametrize("depth", [1, 3, 100])
def test_every_fusion_is_our_own(
    kind: str, own: Collection, moved: Callable[[str], EngineCollection], method: str, depth: int
) -> None:
    fusion = Fusion(method, depth=depth)
    for query in QUERIES:
        expected = own.search(query, 10, mode="hybrid", fusion=fusion).hits
        found = moved(kind).search(query, 10, mode="hybrid", fusion=fusion).hits
        assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], rel=1e-4, abs=1e-4)


@kinds(KINDS)
def test_pages_neither_repeat_nor_skip(kind: str, own: Collection, moved: Callable[[str], EngineCollection]) -> None:
    collection: Backend = own if kind == "own" else moved(kind)
    for mode in collection.modes:
        whole = [hit.id for hit in collection.search("the heat flow", 20, mode=mode).hits]
        pages = [
            hit.id
            for start in range(0, 20, 3)
            for hit in collection.search("the heat flow", 3, offset=start, mode=mode).hits
        ]
        assert pages[: len(whole)] == whole


@kinds(KINDS)
def test_a_query_may_be_weights(kind: str, own: Collection, moved: Callable[[str], EngineCollection]) -> None:
    collection: Backend = own if kind == "own" else moved(kind)
    found = collection.search({"heat": 2.0, "no such term": 1.0}, 3)
    assert [hit.id for hit in found.hits] == [hit.id for hit in own.search({"heat": 2.0}, 3).hits]
    assert found.unknown == ("no such term",)
    assert (found.query_cut, collection.search("heat " * 200, 3).query_cut) == (False, True)
    with pytest.raises(QueryError, match="term weights"):
        collection.search({"heat": 2.0}, mode="hybrid")


@kinds(KINDS)
def test_bad_requests_are_refused_alike(kind: str, own: Collection, moved: Callable[[str], EngineCollection]) -> None:
    collection: Backend = own if kind == "own" else moved(kind)
    with pytest.raises(FilterSyntaxError):
        collection.search("heat", filter="year >=")
    with pytest.raises(FilterSyntaxError):
        collection.count("year >=")
    for wrong in ("yaer >= 3", "exists yaer", 'peer = "x"', "not yaer in (1, 2)"):
        for _ in range(2):
            with pytest.raises(UnknownFieldError):
                collection.search("heat", filter=f"year > 3 or {wrong}")
        assert collection.count(f"year > 3 or {wrong}", allow_unknown_fields=True) >= collection.count("year > 3") > 0
    for arguments in (
        {"k": 0},
        {"offset": -1},
        {"mode": "best"},
        {"recall": 0.0},
        {"mode": "sparse", "fusion": Fusion()},
    ):
        with pytest.raises(QueryError):
            collection.search("heat", **arguments)  # type: ignore[arg-type]


@kinds(KINDS)
def test_documents_are_added_replaced_found_and_deleted(
    kind: str, fresh: Callable[[str], Backend], tmp_path: Path
) -> None:
    collection = fresh(kind)
    assert collection.add(DOCUMENTS[:6]).added == 6
    changed = Document(DOCUMENTS[0].id, "a cat on a mat", "cats", {"year": 7})
    report = collection.add([changed, *DOCUMENTS[1:8]])
    assert (report.added, report.replaced, report.unchanged) == (2, 1, 5)
    assert collection.get(changed.id) == changed
    assert collection.get("zz") is None
    assert collection.count() == 8
    assert collection.count("year = 7") == 1
    assert [hit.id for hit in collection.search("cat", 1, mode="sparse", filter="year = 7").hits] == [changed.id]
    assert collection.delete(["d1", "zz", "d1"]) == ["d1"]
    assert collection.get("d1") is None
    assert "d1" not in [hit.id for hit in collection.search("heat transfer", 20).hits]
    last = Document("twice", "second")
    assert collection.add([Document("twice", "first"), last]).total == 1
    assert collection.get("twice") == last
    file = tmp_path / "corpus.jsonl"
    file.write_text('{"id": "x", "text": "heat"}\n{"id": "y", "text": "flow"}\n')
    steps: list[int] = []
    finished = collection.ingest(
        open_corpus(str(file)), source="corpus", progress=lambda step: steps.append(step.documents)
    )
    assert (finished.added, finished.replaced, finished.unchanged, finished.rejected) == (2, 0, 0, 0)
    assert steps[-1] == 2
    file.write_text('{"id": "x", "text": "heat"}\n{"id": "z", "text": "wing"}\n{"id": "z", "text": "flow"}\nnonsense\n')
    with pytest.raises(BadRowError, match="second time"):
        collection.ingest(open_corpus(str(file)), source="other")
    bad: list[object] = []
    collection.ingest(open_corpus(str(file)), source="other", on_bad_row=bad.append)
    assert len(bad) == 2
    assert collection.count() == 8 + 3


@kinds(KINDS)
def test_putting_tells_what_became_of_each_document_and_filters_find_their_ids(
    kind: str, fresh: Callable[[str], Backend]
) -> None:
    """What the service needs of a collection: as our own does it."""
    collection = fresh(kind)
    first = [Document("a", "heat", metadata={"n": 1}), Document("b", "wing"), Document("a", "flow", metadata={"n": 2})]
    assert collection.put(first) == ["added", "added", "replaced"]
    again = [Document("b", "wing"), Document("a", "heat"), Document("a", "flow", metadata={"n": 2}), Document("c", "")]
    assert collection.put(again) == ["unchanged", "replaced", "replaced", "added"]
    assert collection.put([]) == []
    assert collection.get("a") == first[2]
    assert sorted(collection.ids("n = 2")) == ["a"]
    assert sorted(collection.ids("not n = 2")) == ["b", "c"]
    with pytest.raises(FilterSyntaxError):
        collection.ids("n =")
    assert (collection.count(), collection.maintain()) == (3, False)
    collection.check([*first, *again])
    collection.warm()
    assert "a" in [hit.id for hit in collection.search("flow", 3, mode="sparse").hits]


@kinds(KINDS)
def test_equal_scores_are_in_order_of_insertion_and_a_replaced_document_comes_last(
    kind: str, fresh: Callable[[str], Backend]
) -> None:
    collection = fresh(kind)
    collection.add([Document(f"t{number}", "shock wave") for number in range(30)])
    assert [hit.id for hit in collection.search("shock", 5, mode="sparse").hits] == [f"t{n}" for n in range(5)]
    collection.add([Document("t0", "shock wave", metadata={"new": 1})])
    found = [hit.id for hit in collection.search("shock", 30, mode="sparse").hits]
    assert found == [*(f"t{n}" for n in range(1, 30)), "t0"]
    assert [hit.id for hit in collection.search("shock", 3, mode="dense").hits] == ["t1", "t2", "t3"]


@kinds(KINDS)
def test_terms_are_counted_as_documents_come_and_go(kind: str, fresh: Callable[[str], Backend]) -> None:
    collection = fresh(kind)
    collection.add(DOCUMENTS)
    collection.delete([DOCUMENTS[0].id, DOCUMENTS[5].id])
    collection.add([Document(DOCUMENTS[1].id, "wing")])
    terms = collection.encode_queries(["heat wing"])[0].terms
    expected = []
    for term in terms.tolist():
        name = [each.term for each in _contributions(collection, term)]
        expected.append(len(name))
    assert collection.statistics().document_frequencies(terms).tolist() == expected
    assert collection.statistics().n_documents == len(DOCUMENTS) - 2


def _contributions(collection: Backend, term: int) -> list[object]:
    """One for each document that holds a term, by searching for it alone."""
    if isinstance(collection, EngineCollection):
        text = collection._sparse_field.term_text(term)
    else:
        assert isinstance(collection, Collection)
        text = collection.sparse_field.term_text(term)
    hits = collection.search({text: 1.0}, 100, explain=True).hits
    return [each for hit in hits for each in hit.contributions or ()]


@kinds(["own", "milvus-lite"])
def test_a_collection_is_there_when_it_is_opened_again(kind: str, folder: Path) -> None:
    name = f"again{next(_numbers)}"
    address = f"{folder}/{name}.index" if kind == "own" else f"{kind}:{folder}/again.db/{name}"
    with pytest.raises(NotACollectionError):
        open_collection(address)
    with create_collection(address, **encoders()) as collection:
        collection.add(DOCUMENTS)
        hits = collection.search("heat transfer", 10).hits
        terms = collection.encode_queries(["heat wing"])[0].terms
        counted = collection.statistics().document_frequencies(terms).tolist()
        manifest = collection.manifest
    with pytest.raises(CollectionExistsError):
        create_collection(address, **encoders())
    with open_collection(address) as collection:
        assert collection.manifest == manifest
        assert collection.search("heat transfer", 10).hits == hits
        assert collection.statistics().document_frequencies(terms).tolist() == counted
        assert sum(counted)
        with pytest.raises(ReadOnlyError):
            collection.add(DOCUMENTS)


ids = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=12)
words = st.text(st.characters(blacklist_categories=("Cs",)), max_size=12)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)


@kinds(KINDS)
@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    documents=st.lists(
        st.builds(Document, id=ids, text=words, title=words, metadata=st.dictionaries(words, json_values, max_size=3)),
        max_size=4,
        unique_by=lambda document: document.id,
    )
)
def test_what_is_stored_comes_back(
    kind: str, documents: list[Document], fresh: Callable[[str], Backend], shared: dict[str, Backend]
) -> None:
    if kind not in shared:
        shared[kind] = fresh(kind)
    collection = shared[kind]
    collection.add(documents)
    for document in documents:
        assert collection.get(document.id) == document
    assert collection.delete([document.id for document in documents]) == [document.id for document in documents]


@pytest.fixture(scope="module")
def shared() -> dict[str, Backend]:
    return {}


def test_nothing_is_logged_by_the_engine_behind_our_back() -> None:
    assert not any(
        logging.getLogger(name).isEnabledFor(logging.ERROR)
        for name in logging.root.manager.loggerDict
        if name.startswith("pymilvus") and milvus_installed()
    )
