"""Tenants of a collection in another engine: filters confine what is asked, keys keep ids apart."""

from __future__ import annotations

import pytest
from plain_engine import PlainEngine

from lexhound.retrieval.collection.encoders import open_chosen
from lexhound.retrieval.collection.settings import CollectionSettings
from lexhound.retrieval.collection.store.manifest import Manifest
from lexhound.retrieval.engines.collection import EngineCollection
from lexhound.retrieval.engines.opening import create_collection
from lexhound.retrieval.errors import (
    InvalidDocumentError,
    TenantRequiredError,
    UnknownTenantError,
    UnsupportedError,
)

ROWS = [
    {"id": "1", "text": "heat transfer in hypersonic flow", "org": "a", "year": 1950},
    {"id": "2", "text": "heat of plates", "org": "a", "year": 1960},
    {"id": "1", "text": "heat of b", "org": "b"},
    {"id": "1", "text": "heat of seven", "org": 7},
]


@pytest.fixture(scope="module")
def collection() -> EngineCollection:
    identity, sparse, _ = open_chosen(CollectionSettings(encoder="lexhound-mini", dense="none"))
    engine = PlainEngine("plain:x", Manifest.new("test", identity, tenant_field="org"))
    opened = EngineCollection(engine, sparse, writable=True)
    assert opened.add(ROWS).added == 4
    return opened


def test_each_tenant_has_its_own(collection: EngineCollection) -> None:
    a, b, seven = (collection.for_tenant(name) for name in ("a", "b", "7"))
    assert {hit.id for hit in a.search("heat").hits} == {"1", "2"}
    assert [(hit.id, hit.text) for hit in b.search("heat", explain=True).hits] == [("1", "heat of b")]
    assert [identifier for identifier, _ in seven.search_many(["heat"])[0]] == ["1"]
    assert (a.count(), a.count("year > 1955"), b.count()) == (2, 1, 1)
    assert a.ids("year > 1955") == ["2"]
    assert (a.get("1").text, b.get("1").text, b.get("2")) == (ROWS[0]["text"], "heat of b", None)  # type: ignore[union-attr]
    assert a.put([ROWS[0], {"id": "3", "text": "new"}]) == ["unchanged", "added"]
    assert a.get("3").metadata == {"org": "a"}  # type: ignore[union-attr]
    assert a.delete(["3", "gone"]) == ["3"]
    assert collection.info().documents == 4


def test_what_is_refused(collection: EngineCollection) -> None:
    for ask in (
        lambda: collection.search("heat"),
        lambda: collection.get("1"),
        lambda: collection.count(),
        lambda: collection.delete(["1"]),
    ):
        with pytest.raises(TenantRequiredError):
            ask()
    with pytest.raises(UnknownTenantError):
        collection.for_tenant("nobody")
    with pytest.raises(InvalidDocumentError, match="is not of the tenant 'a'"):
        collection.for_tenant("a").add([{"id": "9", "text": "x", "org": "b"}])
    with pytest.raises(InvalidDocumentError, match="lacks the tenant field"):
        collection.add([{"id": "9", "text": "x"}])
    with pytest.raises(UnsupportedError, match="Lucene has no tenants here"):
        create_collection("lucene:/nowhere", encoder="bm25", tenant_field="org")
