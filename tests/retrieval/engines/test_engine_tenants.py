"""Tenants of a collection in another engine: filters confine what is asked, keys keep ids apart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from installed_engines import needs_milvus
from milvus_server import VERSION, Proxy, milvus_server
from plain_engine import PlainEngine

from lexhound.retrieval import Document
from lexhound.retrieval.collection.encoders import open_chosen
from lexhound.retrieval.collection.settings import CollectionSettings
from lexhound.retrieval.collection.store.manifest import Manifest
from lexhound.retrieval.engines.collection import EngineCollection
from lexhound.retrieval.engines.milvus.filters import tenant_key
from lexhound.retrieval.engines.opening import create_collection, open_collection
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


# Milvus' partition key


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Proxy]]:
    with milvus_server(tmp_path_factory.mktemp("tenants") / "data.db") as (address, proxy):
        yield address, proxy


@needs_milvus
@pytest.mark.engine
@pytest.mark.parametrize("passages", ["24/6", "none"])
def test_a_server_is_told_the_partition_of_each_request_of_a_tenant(server: tuple[str, Proxy], passages: str) -> None:
    """The tenant is the partition key of the schema that is sent, and each expression names it."""
    address, proxy = server
    name = "whole" if passages == "none" else "split"
    proxy.sent.clear()
    with create_collection(
        f"{address}/{name}", encoder="lexhound-mini", dense="none", passages=passages, tenant_field="org"
    ) as collection:
        assert proxy.partition_keys(name) == ["tenant"]
        long = {"id": "2", "text": "Heat of a long wing. " * 30, "org": "a"}
        assert collection.add([*ROWS, long]).added == 4
        a, b = collection.for_tenant("a"), collection.for_tenant("b")
        proxy.sent.clear()
        for ask in (
            lambda: a.search("heat", explain=True),
            lambda: a.search("heat", filter="year > 1955"),
            lambda: a.search("heat", group="none"),
            lambda: a.search_many(["heat", "wing"], 2),
            lambda: a.count(),
            lambda: a.get("2"),
            lambda: a.put([{"id": "3", "text": "Heat and wing. " * 20}, {"id": "1", "text": "changed"}]),
            lambda: a.delete(["3"]),
            lambda: a.info(),
        ):
            ask()
        # That of all rows is everybody's, by whose number queries are weighed.
        asked = [each.expr for each in proxy.messages("Query") if each.collection_name == name and each.expr]
        asked += [each.expr for each in proxy.messages("Delete") if each.collection_name == name]
        asked += [each.dsl for each in proxy.messages("Search")]
        own = tenant_key({"org": "a"}, "org")
        assert len(asked) > 20
        assert [each for each in asked if f'tenant == "{own}"' not in each and f'tenant in ["{own}"]' not in each] == []
        assert not any(tenant_key({"org": other}, "org") in each for each in asked for other in ("b", "7"))
        assert [hit.text for hit in b.search("heat").hits] == ["heat of b"]
        assert b.info().documents == 1
        assert (a.count(), a.get("3"), a.get("1")) == (2, None, Document("1", "changed", metadata={"org": "a"}))


@needs_milvus
@pytest.mark.engine
def test_a_server_keeps_passages(server: tuple[str, Proxy]) -> None:
    """Over the network, as the engine in this process does it."""
    address, proxy = server
    text = "Heat of a long wing. " * 30
    with create_collection(f"{address}/plain", encoder="lexhound-mini", dense="none", passages="24/6") as collection:
        assert collection.add([{"id": "long", "text": text}, {"id": "short", "text": "heat"}]).added == 2
        assert collection.put([{"id": "long", "text": text + "A zeppelin."}]) == ["replaced"]
    with open_collection(f"{address}/plain") as collection:
        (hit,) = collection.search("zeppelin").hits
        assert hit.passage is not None
        assert "zeppelin" in hit.passage.text
        assert collection.health().engine == f"milvus {VERSION}"
        assert len(collection.search("heat", 100, group="none").hits) == collection.statistics().n_documents
    assert proxy.partition_keys("plain") == []
