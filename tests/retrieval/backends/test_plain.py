"""What collections in other engines do by themselves, over an engine that is a dict: ranking, fusion, writing.

Our own collection is the referee: with the vectors that it stores, the same searches give the same hits and scores.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from backend_corpus import DOCUMENTS, FILTERS, QUERIES, encoders, move_rows
from lexhound.retrieval import Collection, Document, Fusion
from lexhound.retrieval.backends.collection import EngineCollection
from lexhound.retrieval.backends.engine import Ability, Ranked
from lexhound.retrieval.backends.protocol import Backend
from lexhound.retrieval.backends.ranking import SPARE, complete_ranking
from lexhound.retrieval.corpus import open_corpus
from lexhound.retrieval.errors import BadRowError, ReadOnlyError, UnsupportedError
from plain_engine import PlainEngine


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    collection = Collection.create(tmp_path_factory.mktemp("own") / "own.index", **encoders())
    collection.add(DOCUMENTS)
    return collection


@pytest.fixture(scope="module")
def moved(own: Collection) -> EngineCollection:
    collection = EngineCollection(PlainEngine("plain:test", own.manifest), writable=True)
    move_rows(own, collection)
    return collection


def test_both_kinds_of_collection_are_backends(own: Collection, moved: EngineCollection) -> None:
    assert isinstance(own, Backend)
    assert isinstance(moved, Backend)
    assert own.health().ready
    assert moved.health().ready


@pytest.mark.parametrize("mode", ["sparse", "dense", "hybrid"])
@pytest.mark.parametrize("filter", [None, *FILTERS])
def test_hits_and_scores_are_those_of_our_own_collection(
    own: Collection, moved: EngineCollection, mode: str, filter: str | None
) -> None:
    for query in QUERIES:
        expected = own.search(query, 5, mode=mode, filter=filter, explain=True)
        found = moved.search(query, 5, mode=mode, filter=filter, explain=True)
        assert [hit.id for hit in found.hits] == [hit.id for hit in expected.hits]
        assert [hit.score for hit in found.hits] == pytest.approx(
            [hit.score for hit in expected.hits], rel=1e-5, abs=1e-6
        )
        assert found.terms == expected.terms
        for hit, other in zip(found.hits, expected.hits, strict=True):
            assert hit.document == other.document
            assert sum(each.score for each in hit.contributions or ()) == pytest.approx(hit.score, rel=1e-5, abs=1e-6)
            assert {each.term for each in hit.contributions or ()} == {each.term for each in other.contributions or ()}
            assert [share.rank for share in hit.shares or ()] == [share.rank for share in other.shares or ()]
    assert moved.count(filter) == own.count(filter)
    many = moved.search_many(QUERIES, 5, mode=mode, filter=filter)
    assert [[identifier for identifier, _ in each] for each in many] == [
        [hit.id for hit in moved.search(query, 5, mode=mode, filter=filter).hits] for query in QUERIES
    ]


@pytest.mark.parametrize("method", ["min-max", "z-score", "rrf"])
@pytest.mark.parametrize("depth", [1, 3, 100])
def test_every_fusion_is_our_own(own: Collection, moved: EngineCollection, method: str, depth: int) -> None:
    fusion = Fusion(method, depth=depth)
    for query in QUERIES:
        expected = own.search(query, 10, mode="hybrid", fusion=fusion).hits
        found = moved.search(query, 10, mode="hybrid", fusion=fusion).hits
        assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], rel=1e-4, abs=1e-6)


def test_pages_neither_repeat_nor_skip(moved: EngineCollection) -> None:
    for mode in moved.modes:
        whole = [hit.id for hit in moved.search("the heat flow", 20, mode=mode).hits]
        pages = [
            hit.id
            for start in range(0, 20, 3)
            for hit in moved.search("the heat flow", 3, offset=start, mode=mode).hits
        ]
        assert pages[: len(whole)] == whole


@pytest.mark.parametrize("equals", [1, SPARE, SPARE + 1, 200, 700])
def test_a_cut_among_equals_keeps_those_inserted_first(equals: int) -> None:
    seqs = np.arange(equals + 1)
    scores = np.where(seqs == equals, 2.0, 1.0)  # the best was inserted last

    def search(places: list[int], limit: int) -> list[Ranked]:
        order = np.lexsort((-seqs, -scores))[:limit]
        return [Ranked([str(seq) for seq in seqs[order]], seqs[order], scores[order]) for _ in places]

    found, other = complete_ranking(search, [1], 2, 4, 10_000)
    assert len(found) == 0
    assert other.ids == [str(equals), *map(str, range(min(3, equals)))]


def test_what_is_there_is_not_encoded_again(tmp_path: Path, own: Collection) -> None:
    engine = PlainEngine("plain:test", own.manifest)
    collection = EngineCollection(engine, writable=True)
    assert collection.add(DOCUMENTS[:6]).added == 6
    changed = Document(DOCUMENTS[0].id, "another text", metadata=DOCUMENTS[0].metadata)
    report = collection.add([changed, *DOCUMENTS[1:8]])
    assert (report.added, report.replaced, report.unchanged) == (2, 1, 5)
    assert engine.encoded == 9
    assert collection.get(changed.id) == changed
    file = tmp_path / "corpus.jsonl"
    file.write_text('{"id": "x", "text": "heat"}\n{"id": "y", "text": "flow"}\n{"id": "x", "text": "wing"}\nnonsense\n')
    with pytest.raises(BadRowError, match="second time"):
        collection.ingest(open_corpus(str(file)), source="corpus")
    bad: list[object] = []
    finished = collection.ingest(open_corpus(str(file)), source="corpus", on_bad_row=bad.append)
    assert (finished.added, finished.unchanged, finished.rejected, len(bad)) == (0, 2, 2, 2)
    assert engine.finished == 1
    assert collection.delete(["x", "zz", "x"]) == ["x"]
    assert collection.count() == 9


def test_what_an_engine_cannot_do_is_refused_in_one_sentence(own: Collection) -> None:
    engine = PlainEngine("plain:test", own.manifest, max_hits=50)
    engine.abilities = frozenset()
    collection = EngineCollection(engine)
    writable = EngineCollection(engine, writable=True)
    writable.add(DOCUMENTS[:2])
    for attempt, named in (
        (lambda: collection.search("heat", filter="year = 1"), "filters"),
        (lambda: collection.count("year = 1"), "filters"),
        (lambda: collection.search("heat", explain=True), "explanations"),
        (lambda: writable.delete(["d0"]), "deleting"),
        (lambda: writable.add([Document(DOCUMENTS[0].id, "new")]), "replacing"),
        (lambda: collection.search("heat", recall=0.9), "recall"),
        (lambda: collection.search("heat", 40, offset=11), "hit 50"),
        (lambda: collection.search("heat", mode="hybrid", fusion=Fusion("fixed")), "sparse_high"),
        (lambda: collection.search("heat", mode="hybrid", fusion=Fusion(depth=51)), "depth"),
    ):
        with pytest.raises(UnsupportedError, match=named) as caught:
            attempt()
        assert "plain:test" in str(caught.value)
    with pytest.raises(ReadOnlyError, match="for reading"):
        collection.add(DOCUMENTS)
    assert Ability.FILTER not in engine.abilities
