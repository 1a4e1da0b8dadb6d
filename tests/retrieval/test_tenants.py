"""Tenants: each is answered as by a collection of its own, and learns and changes nothing of the others."""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from repository import TINY_DENSE

from lexhound.retrieval import Collection, Document
from lexhound.retrieval.collection.building import build_collection
from lexhound.retrieval.collection.query.confined import ConfinedSnapshot
from lexhound.retrieval.collection.store import tenant_order
from lexhound.retrieval.collection.store.dense_index import kind_of
from lexhound.retrieval.corpus import open_corpus
from lexhound.retrieval.errors import (
    BadRowError,
    InvalidDocumentError,
    TenantError,
    TenantRequiredError,
    UnknownFieldError,
    UnknownTenantError,
)
from lexhound.retrieval.exports import FORMATS, export_collection
from lexhound.retrieval.exports.importing import import_export
from lexhound.retrieval.tenants.keys import check_tenant, prefix_of, tenant_of_key
from lexhound.retrieval.tenants.view import TenantCollection

TENANTS: tuple[str | int, ...] = ("acme", "a", "a/b", "a%2Fb", 7, "größe")
QUERIES = ("w1 w2 w3", "w10 w200 zzz", "w7", "w299 w3")
FILTERS = (None, "year > 1960", 'id = "d3" or title = "t2"', "n.x = 1 and exists n", "not year = 1955")


def some_documents(number: int, seed: int = 3) -> list[Document]:
    """Documents with ids that tenants share; tenant 7 has a field and words that the others lack."""
    draw = random.Random(seed)
    documents = []
    for _ in range(number):
        tenant = draw.choice(TENANTS)
        words = draw.choices([f"w{n}" for n in range(300)], k=draw.randint(0, 25))
        metadata = {"org": tenant, "year": 1950 + draw.randint(0, 20), "n": {"x": draw.randint(0, 2)}}
        if tenant == 7:
            words.append("zzz")
            metadata["classified"] = "yes"
        documents.append(
            Document(f"d{draw.randint(0, 60)}", " ".join(words), f"t{draw.randint(0, 6)}", metadata)  # type: ignore[arg-type]
        )
    return documents


def latest(documents: list[Document], tenant: str) -> list[Document]:
    """A tenant's documents, of those with one id the last."""
    last: dict[str, Document] = {}
    for document in documents:
        if str(document.metadata["org"]) == tenant:
            last.pop(document.id, None)
            last[document.id] = document
    return list(last.values())


@pytest.fixture(scope="module")
def dense_model() -> str:
    return str(TINY_DENSE)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, dense_model: str) -> Iterator[tuple[Collection, list[Document]]]:
    """A collection of all tenants: documents in two segments, in memory, replaced and deleted."""
    documents = some_documents(700)
    path = tmp_path_factory.mktemp("shared") / "all"
    with Collection.create(path, encoder="bm25", dense=dense_model, tenant_field="org") as collection:
        writer = collection._writing()
        writer.average_length = 12.0
        collection.add(documents[:400])
        writer.flush()
        collection.add(documents[400:600])
        writer.flush()
        with writer.transaction() as connection:
            connection.execute("DELETE FROM properties WHERE name = 'mean_length'")
        collection.add(documents[600:])
        writer.flush()
        yield collection, documents


def same(view: TenantCollection, alone: Collection) -> None:
    """Compare everything that can be asked."""
    assert view.count() == alone.count()
    assert view.facets() == alone.facets()
    assert view.facets(["id", "title"]) == alone.facets(["id", "title"])
    assert view.facets(query="w1 w2") == alone.facets(query="w1 w2")
    assert view.suggest("w1 w2") == alone.suggest("w1 w2")
    for mode in ("lexical", "dense", "hybrid"):
        for query in QUERIES:
            for filter in FILTERS if mode == "lexical" else FILTERS[:2]:
                mine = view.search(query, 30, mode=mode, filter=filter, explain=True, highlight=True)
                theirs = alone.search(query, 30, mode=mode, filter=filter, explain=True, highlight=True)
                assert mine.hits == theirs.hits, (mode, query, filter)
                many = view.search_many([query, "w5"], 30, mode=mode, filter=filter)[0]
                if mode == "lexical":
                    assert many == [(hit.id, hit.score) for hit in mine.hits]
    assert (
        view.search({"w1": 1.0, "zzz": 2.0}, mode="sparse").unknown
        == alone.search({"w1": 1.0, "zzz": 2.0}, mode="sparse").unknown
    )
    for filter in FILTERS[1:]:
        assert view.ids(filter or "") == alone.ids(filter or "")
        assert view.count(filter) == alone.count(filter)


@pytest.mark.parametrize("tenant", [str(tenant) for tenant in TENANTS])
def test_a_tenant_is_answered_as_by_a_collection_of_its_own(
    shared: tuple[Collection, list[Document]], tenant: str, tmp_path: Path, dense_model: str
) -> None:
    collection, documents = shared
    with Collection.create(tmp_path / "alone", encoder="bm25", dense=dense_model) as alone:
        writer = alone._writing()
        writer.average_length = 12.0  # of all, which is one number and no word
        alone.add(latest(documents, tenant))
        writer.flush()
        same(collection.for_tenant(tenant), alone)
        for identifier in ("d3", "d59", "gone"):
            assert collection.for_tenant(tenant).get(identifier) == alone.get(identifier)


def test_merged_segments_answer_alike(tmp_path: Path, dense_model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenant_order, "OWN_SEGMENT_FROM", 45)
    documents = some_documents(500, seed=9)
    with Collection.create(tmp_path / "all", encoder="bm25", dense=dense_model, tenant_field="org") as collection:
        for start in range(0, 500, 100):
            collection.add(documents[start : start + 100])
            collection._writing().flush()
        deleted = collection.for_tenant("acme").delete(["d1", "d2", "d3", "d4"])
        collection.compact()
        assert collection.verify() == []
        views = collection.snapshot().segments
        owners = [
            {segment.ids[row].split("/")[0] for row in range(segment.n_rows)} for segment in (v.segment for v in views)
        ]
        assert sum(len(tenants) == 1 for tenants in owners) >= 1, "a large tenant has a segment of its own"
        assert all(kind_of(view.segment.dense) == "flat" for view in views if view.segment.dense is not None)
        for tenant in ("acme", "7"):
            mine = [each for each in latest(documents, tenant) if tenant != "acme" or each.id not in deleted]
            with Collection.create(tmp_path / f"alone-{tenant}", encoder="bm25", dense=dense_model) as alone:
                alone._writing().average_length = collection.snapshot().average_length
                alone.add(mine)
                alone._writing().flush()
                same(collection.for_tenant(tenant), alone)
    with Collection.open(tmp_path / "all") as opened:
        assert opened.manifest.format == 6
        assert opened.info().tenants == len(TENANTS)
        assert dict(opened.tenants())["7"] == len(latest(documents, "7"))


def test_nothing_is_answered_without_a_tenant(shared: tuple[Collection, list[Document]]) -> None:
    collection, _ = shared
    for ask in (
        lambda: collection.search("w1"),
        lambda: collection.search_many(["w1"]),
        lambda: collection.get("d1"),
        lambda: collection.count(),
        lambda: collection.ids("year > 0"),
        lambda: collection.facets(),
        lambda: collection.suggest("w"),
        lambda: collection.delete(["d1"]),
        lambda: collection.prepare_filter("year > 0"),
    ):
        with pytest.raises(TenantRequiredError, match="the request names none"):
            ask()
    vouched = collection.for_tenant("acm", must_exist=False)
    assert (vouched.search("w1").hits, vouched.count(), vouched.get("d1")) == ((), 0, None)
    misspelt = collection.for_tenant("acm")
    for look in (lambda: misspelt.search("w1"), lambda: misspelt.count(), lambda: misspelt.get("d1")):
        with pytest.raises(UnknownTenantError, match="no document of the collection is of the tenant 'acm'"):
            look()
    with pytest.raises(TenantError, match="the request names another"):
        collection.for_tenant("acme").for_tenant("7")


def test_fields_and_words_of_others_are_unknown(shared: tuple[Collection, list[Document]]) -> None:
    collection, _ = shared
    with pytest.raises(UnknownFieldError) as caught:
        collection.for_tenant("acme").search("w1", filter='classified = "yes"')
    assert "n.x, org, year" in str(caught.value)
    assert collection.for_tenant("7").count('classified = "yes"') > 0
    statistics = collection.for_tenant("acme").statistics()
    assert statistics.document_frequencies(collection.sparse_field.lookup(["zzz"])).tolist() == [0]
    assert collection.for_tenant("acme").search("zzz").terms == frozenset()
    assert collection.for_tenant("acme").suggest("zz").completions == ()


def test_writes_of_a_tenant(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "all", encoder="bm25", tenant_field="org") as collection:
        mine, theirs = (collection.for_tenant(name, must_exist=False) for name in ("a", "b"))
        assert mine.put([{"id": "1", "text": "heat"}, {"id": "1", "text": "heat", "org": "a"}]) == [
            "added",
            "unchanged",
        ]
        assert theirs.put([{"id": "1", "text": "flow"}]) == ["added"]
        assert (mine.get("1").text, theirs.get("1").text) == ("heat", "flow")  # type: ignore[union-attr]
        assert mine.get("1").metadata == {"org": "a"}  # type: ignore[union-attr]
        assert mine.delete(["1", "2"]) == ["1"]
        assert (mine.count(), theirs.count()) == (0, 1)
        for row, says in (
            ({"id": "2", "text": "x", "org": "b"}, "is not of the tenant 'a'"),
            ({"id": "x" * 511, "text": ""}, "the tenant and the id together"),
        ):
            with pytest.raises(InvalidDocumentError, match=says):
                mine.add([row])
        for row, says in (
            ({"id": "2", "text": "x"}, "lacks the tenant field 'org'"),
            ({"id": "2", "text": "x", "org": ["a", "b"]}, "not a list"),
            ({"id": "2", "text": "x", "org": ""}, "the tenant is empty"),
            ({"id": "2", "text": "x", "org": True}, "not a boolean"),
            ({"id": "2", "text": "x", "org": "t" * 129}, "at most 128 are allowed"),
        ):
            with pytest.raises(InvalidDocumentError, match=says):
                collection.put([{"id": "3", "text": "whole", "org": "a"}, row])
        assert (mine.count(), theirs.count()) == (0, 1)
    with Collection.create(tmp_path / "plain", encoder="bm25") as plain:
        for name in ("a", ""):
            with pytest.raises(TenantError, match="has no tenants"):
                plain.for_tenant(name)
    with pytest.raises(TenantError, match="must be a field of the metadata"):
        Collection.create(tmp_path / "bad", encoder="bm25", tenant_field="title")
    assert not (tmp_path / "bad").exists()


def test_a_corpus_whose_rows_lack_the_field_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text(
        '{"id": "1", "text": "heat", "org": "a"}\n{"id": "1", "text": "flow", "org": "b"}\n{"id": "2", "text": "x"}\n'
    )
    with pytest.raises(BadRowError) as caught:
        build_collection(tmp_path / "new", open_corpus(str(path)), encoder="bm25", source="s", tenant_field="org")
    assert "line 3" in str(caught.value.where)
    with Collection.open(tmp_path / "new") as opened:
        assert opened.tenants() == []
    bad: list[object] = []
    report = build_collection(
        tmp_path / "new", open_corpus(str(path)), encoder="bm25", source="s", tenant_field="org", on_bad_row=bad.append
    )
    assert (report.added + report.resumed, len(bad)) in ((2, 1), (4, 1))
    with Collection.open(tmp_path / "new", writable=True) as opened:
        assert opened.tenants() == [("a", 1), ("b", 1)]
        with pytest.raises(BadRowError, match="is not of the tenant 'c'"):
            opened.for_tenant("c").ingest(open_corpus(str(path)), source="s2")
        assert opened.tenants() == [("a", 1), ("b", 1)]


@pytest.mark.parametrize("tenant", ["a", "a/b", "a%2Fb", "%", "a b", "ä"])
def test_no_prefix_begins_another(tenant: str) -> None:
    prefix = prefix_of(check_tenant(tenant))
    assert tenant_of_key(prefix + "x/y") == tenant
    others = [prefix_of(other) for other in ("a", "a/b", "a%2Fb", "%", "a b", "ä") if other != tenant]
    assert not any(prefix.startswith(other) or other.startswith(prefix) for other in others)


def test_document_frequencies_are_the_tenant_s(shared: tuple[Collection, list[Document]]) -> None:
    collection, documents = shared
    mine = latest(documents, "a")
    terms = collection.sparse_field.lookup(["w1", "w2", "nothing"])
    expected = [sum(f"w{n}" in document.text.split() for document in mine) for n in (1, 2)]
    counts = collection.for_tenant("a").statistics().document_frequencies(terms[terms >= 0].astype(np.int32))
    assert counts.tolist() == expected


def test_an_export_is_imported_with_its_tenants(tmp_path: Path) -> None:
    documents = some_documents(120, seed=4)
    with Collection.create(tmp_path / "all", encoder="bm25", tenant_field="org") as collection:
        collection.add(documents)
        collection.compact()
        export_collection(collection, tmp_path / "export", "parquet")
        import_export(tmp_path / "export", tmp_path / "again")
        with Collection.open(tmp_path / "again") as again:
            assert (again.tenants(), again.verify()) == (collection.tenants(), [])
            for tenant in ("acme", "a/b", "7"):
                mine, theirs = collection.for_tenant(tenant), again.for_tenant(tenant)
                assert mine.search("w1 w2 w3", 20).hits == theirs.search("w1 w2 w3", 20).hits
                assert mine.facets() == theirs.facets()


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_of_a_tenant_is_one_of_a_collection_of_its_own(
    shared: tuple[Collection, list[Document]], format: str, tmp_path: Path
) -> None:
    collection, documents = shared
    report = export_collection(collection, tmp_path / "export", format, tenant="acme")
    mine = latest(documents, "acme")
    assert (report.header.documents, report.header.tenant_field) == (len(mine), None)
    files = [path for path in (tmp_path / "export").rglob("*") if path.is_file()]
    assert not any(b"zzz" in path.read_bytes() or b"acme/" in path.read_bytes() for path in files)
    assert [path.name for path in tmp_path.iterdir()] == ["export"], "nothing is left beside it"
    assert not [path for path in files if path.name.startswith(".") or ".tenant" in path.parts]
    terms = [json.loads(line) for line in (tmp_path / "export" / "terms.jsonl").read_bytes().splitlines()]
    words = [set(document.text.split()) | {document.title} for document in mine]
    assert {row["term"]: row["documents"] for row in terms} == {
        word: sum(word in each for each in words) for word in set().union(*words)
    }
    if format == "parquet":
        import_export(tmp_path / "export", tmp_path / "alone")
        with Collection.open(tmp_path / "alone") as alone:
            assert alone.verify() == []
            view = collection.for_tenant("acme")
            for mode in ("lexical", "dense"):
                for query in QUERIES:
                    hits = alone.search(query, 30, mode=mode).hits
                    assert hits == view.search(query, 30, mode=mode).hits


def test_exports_of_tenants_that_are_none(shared: tuple[Collection, list[Document]], tmp_path: Path) -> None:
    collection, _ = shared
    with pytest.raises(UnknownTenantError):
        export_collection(collection, tmp_path / "export", "parquet", tenant="nobody")
    with Collection.create(tmp_path / "plain", encoder="bm25") as plain, pytest.raises(TenantError, match="no tenants"):
        export_collection(plain, tmp_path / "export", "parquet", tenant="acme")
    assert not (tmp_path / "export").exists()


def test_a_part_is_made_by_the_same_steps_however_much_there_is_of_others(tmp_path: Path, dense_model: str) -> None:
    steps = []
    for others in (30, 600):
        documents = [Document(f"d{n}", f"w{n % 7} heat", "", {"org": f"o{n}"}) for n in range(others)]
        documents += [Document(f"d{n}", f"w{n} heat", "", {"org": "mine"}) for n in range(3)]
        path = tmp_path / str(others)
        with Collection.create(path, encoder="bm25", dense=dense_model, tenant_field="org") as collection:
            collection.add(documents)
            collection._writing().flush()
            whole = collection.snapshot()
            ConfinedSnapshot(whole, "o1/")  # kernels are loaded
            counted = Counter[str]()
            sys.setprofile(lambda frame, event, _, counted=counted: counted.update([event]))
            try:
                made = ConfinedSnapshot(whole, "mine/")
            finally:
                sys.setprofile(None)
            assert (made.n_documents, len(made.segments)) == (3, 1)
            steps.append((counted["call"], counted["c_call"]))
            found = collection.for_tenant("mine").search("heat w1", mode="lexical")
            assert found.stats is not None
            assert found.stats.postings_read <= 6
    assert steps[0] == steps[1]
    assert sum(steps[0]) <= 60


def test_documents_in_passages(tmp_path: Path) -> None:
    draw = random.Random(2)
    words = [f"word{number}" for number in range(80)]
    documents = [
        Document(f"d{number % 30}", text, "", {"org": draw.choice("abc")})
        for number in range(150)
        for text in [". ".join(" ".join(draw.choices(words, k=7)) for _ in range(draw.randint(0, 6)))]
    ]
    with Collection.create(tmp_path / "all", encoder="bm25", passages="16/0", tenant_field="org") as collection:
        collection._writing().average_length = 20.0
        for half in (documents[:90], documents[90:]):
            collection.add(half)
            collection._writing().flush()
        assert collection.info().rows > collection.info().documents
        assert collection.verify() == []
        for tenant in "ab":
            with Collection.create(tmp_path / tenant, encoder="bm25", passages="16/0") as alone:
                alone._writing().average_length = 20.0
                alone.add(latest(documents, tenant))
                alone._writing().flush()
                view = collection.for_tenant(tenant)
                assert view.count() == alone.count()
                for options in ({}, {"filter": 'id = "d3" or id = "d4"'}, {"group": "none"}, {"total": True}):
                    for query in ("word1 word2 word3", "word50 word7"):
                        assert view.search(query, 10, **options).hits == alone.search(query, 10, **options).hits
