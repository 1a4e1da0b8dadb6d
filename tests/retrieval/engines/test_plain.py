"""What collections in other engines do by themselves, over an engine that is a dict: cuts among equals, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from backend_corpus import DOCUMENTS, encoders
from plain_engine import PlainEngine

from lexhound.core.errors import ReadOnlyError
from lexhound.retrieval import Collection, Document, Fusion
from lexhound.retrieval.collection.capability import Capability
from lexhound.retrieval.collection.query.grouping import SPARSE
from lexhound.retrieval.engines.collection import EngineCollection
from lexhound.retrieval.engines.engine import Ability, Ranked, Scope
from lexhound.retrieval.engines.grouping import FieldSearch
from lexhound.retrieval.engines.protocol import capable, require_capability
from lexhound.retrieval.engines.ranking import SPARE, complete_ranking
from lexhound.retrieval.errors import UnsupportedError


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return Collection.create(tmp_path_factory.mktemp("own") / "own.index", **encoders())


@pytest.mark.parametrize("equals", [1, SPARE, SPARE + 1, 200, 700])
def test_a_cut_among_equals_keeps_those_inserted_first(own: Collection, equals: int) -> None:
    internal_ids = np.arange(equals + 1)
    scores = np.where(internal_ids == equals, 2.0, 1.0)  # the best was inserted last

    def search(places: list[int], limit: int, scope: Scope) -> list[Ranked]:
        order = np.lexsort((-internal_ids, -scores))[:limit]
        triples = [(str(seq), int(seq), float(scores[seq])) for seq in internal_ids[order]]
        return [Ranked.of_documents(triples) for _ in places]

    field = FieldSearch(PlainEngine("plain:", own.manifest), None, search, SPARSE)
    found, other = complete_ranking(field, [1], 2, 4, ())
    assert len(found) == 0
    assert other.ids == [str(equals), *map(str, range(min(3, equals)))]


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
        (lambda: collection.search("heat", stats=True), "how much a search reads"),
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


def test_callers_ask_for_capabilities(own: Collection) -> None:
    collection = EngineCollection(PlainEngine("plain:test", own.manifest))
    for capability in Capability:
        assert require_capability(own, capability) is own
        assert capable(collection, capability) is None
        with pytest.raises(UnsupportedError, match=capability.value):
            require_capability(collection, capability)
