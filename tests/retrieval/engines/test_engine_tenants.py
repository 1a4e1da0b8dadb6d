"""Tenants of a collection in another engine: filters confine what is asked, keys keep ids apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import pytest
from installed_engines import needs_milvus
from plain_engine import PlainEngine

from lexhound.retrieval.collection.encoders import open_chosen
from lexhound.retrieval.collection.settings import CollectionSettings
from lexhound.retrieval.collection.store.manifest import Manifest
from lexhound.retrieval.engines.collection import EngineCollection
from lexhound.retrieval.engines.milvus import MilvusEngine, schema
from lexhound.retrieval.engines.milvus.client import Client
from lexhound.retrieval.engines.milvus.filters import tenant_key
from lexhound.retrieval.engines.opening import create_collection
from lexhound.retrieval.engines.settings import MilvusSettings
from lexhound.retrieval.errors import (
    InvalidDocumentError,
    TenantRequiredError,
    UnknownTenantError,
    UnsupportedError,
)

Sent: TypeAlias = tuple[str, tuple[Any, ...], dict[str, Any]]
"""A method of pymilvus's client with its arguments and options."""

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
def in_milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EngineCollection, list[Sent]]]:
    """A collection of milvus-lite, and what its client sends from now on: (method, options)."""
    made = create_collection(
        f"milvus-lite:{tmp_path_factory.mktemp('tenants')}/data.db/shared",
        encoder="lexhound-mini",
        dense="none",
        passages="24/6",
        tenant_field="org",
    )
    assert isinstance(made, EngineCollection)
    assert isinstance(made.engine, MilvusEngine)
    client, sent = made.engine._client, []
    assert isinstance(client, Client)

    class Told:
        """Passes on what is asked of pymilvus's client, and keeps it."""

        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            method = getattr(self._inner, name)
            if not callable(method):
                return method

            def call(*arguments: Any, **options: Any) -> Any:
                sent.append((name, arguments, options))
                return method(*arguments, **options)

            return call

    client._client = Told(client._client)
    long = {"id": "2", "text": "Heat of a long wing. " * 30, "org": "a"}
    assert made.add([*ROWS, long]).added == 4
    yield made, sent
    made.close()


@needs_milvus
@pytest.mark.parametrize("lite", [False, True])
def test_the_tenant_is_the_partition_key_of_what_a_server_is_sent(collection: EngineCollection, lite: bool) -> None:
    """As bytes, when a collection is made; milvus-lite refuses every expression where there is one."""
    from pymilvus import DataType
    from pymilvus.client.prepare import Prepare
    from pymilvus.grpc_gen import schema_pb2

    made: list[Any] = []

    class Recorder:
        types = DataType

        def __init__(self) -> None:
            self.lite = lite

        def __call__(self, method: str, *arguments: Any, **options: Any) -> None:
            made.append(options["schema"])

    settings = MilvusSettings(tenant_field="org")
    schema.make(Recorder(), "x", collection.manifest, settings)  # type: ignore[arg-type]
    sent = schema_pb2.CollectionSchema()
    sent.ParseFromString(Prepare.create_collection_request("x", made[0]).schema)
    assert [field.name for field in sent.fields if field.is_partition_key] == ([] if lite else ["tenant"])
    assert "tenant" in {field.name for field in sent.fields}


@needs_milvus
@pytest.mark.engine
def test_every_request_of_a_tenant_names_its_partition(in_milvus: tuple[EngineCollection, list[Sent]]) -> None:
    collection, sent = in_milvus
    a, b = collection.for_tenant("a"), collection.for_tenant("b")
    sent.clear()
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
    own = tenant_key({"org": "a"}, "org")
    read = [
        (method, options["filter"])
        for method, arguments, options in sent
        if arguments[:1] == ("shared",) and "filter" in options
        if options["filter"] or options["output_fields"] != ["count(*)"]  # of everybody, by which queries are weighed
    ]
    assert {method for method, _ in read} == {"search", "query", "delete"}
    unnamed = [
        (method, expression)
        for method, expression in read
        if f'tenant == "{own}"' not in expression and f'tenant in ["{own}"]' not in expression
    ]
    assert unnamed == []
    assert not any(tenant_key({"org": other}, "org") in expression for _, expression in read for other in ("b", "7"))
    written = [row for method, _, options in sent if method == "upsert" for row in options.get("data", [])]
    written += [row for method, arguments, _ in sent if method == "upsert" for row in arguments[1:2] for row in row]
    assert {row["tenant"] for row in written if "tenant" in row} == {own}
    assert [hit.text for hit in b.search("heat").hits] == ["heat of b"]
    assert (a.info().rows, b.info().rows) == (a.info().documents + collection.engine.count_rows() - 4, 1)
