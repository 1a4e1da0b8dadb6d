"""Tenants by every door: the command line, REST with keys that are bound to one, the client."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import run
from service import running

from lexhound.retrieval import Collection
from lexhound.serve.client import ApiError, Client
from lexhound.serve.keys import create_key, read_keys

ROWS = [
    {"id": "1", "text": "heat transfer", "org": "a", "year": 1950},
    {"id": "2", "text": "heat", "org": "a", "year": 1960},
    {"id": "1", "text": "heat of b", "org": "b", "colour": "red"},
]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_the_command_line(corpus: Path, tmp_path: Path) -> None:
    into = tmp_path / "shared"
    made = run("index", corpus, "--into", into, "--encoder", "bm25", "--tenant-field", "org")
    assert made.code == 0, made
    assert "--tenant NAME" in made.out
    found = run("search", into, "heat", "--tenant", "a", "--json").json["hits"]
    assert sorted(hit["id"] for hit in found) == ["1", "2"]
    assert [hit["text"] for hit in run("search", into, "heat", "--tenant", "b", "--json").json["hits"]] == ["heat of b"]
    assert run("get", into, "1", "--tenant", "b", "--json").json["text"] == "heat of b"
    facets = run("facets", into, "--tenant", "b", "--json").json["fields"]
    assert [facet["field"] for facet in facets] == ["colour", "org"]
    assert run("delete", into, "1", "--tenant", "b").code == 0
    assert run("get", into, "1", "--tenant", "a").code == 0
    more = tmp_path / "more.jsonl"
    more.write_text('{"id": "9", "text": "new"}\n')
    assert run("add", into, more, "--tenant", "c").code == 0
    assert run("get", into, "9", "--tenant", "c", "--json").json["metadata"] == {"org": "c"}
    assert run("info", into, "--json").json["tenants"] == 2
    assert "by the field org" in run("info", into).out
    told = run("info", into, "--tenant", "a", "--json").json
    assert (told["tenant"], told["documents"], "bytes" in told) == ("a", 2, False)
    assert "documents" in run("info", into, "--tenant", "a").out
    assert run("verify", into).code == run("compact", into).code == 0
    (tmp_path / "own.csv").write_text("query,document_id\nheat transfer,1\n")
    measured = run("eval", tmp_path / "own.csv", "--collection", into, "--tenant", "a", "--work", tmp_path / "w")
    assert (measured.code, "2 documents" in measured.out) == (0, True), measured
    exported = run("export", into, "--format", "parquet", "--out", tmp_path / "of-a", "--tenant", "a", "--json")
    assert exported.json["documents"] == 2
    for arguments, code, says in (
        (("search", into, "heat"), 2, "the request names none"),
        (("get", into, "1"), 2, "--tenant NAME"),
        (("delete", into, "1"), 2, "the request names none"),
        (("search", into, "heat", "--tenant", "nobody"), 1, "no document of the collection is of the tenant 'nobody'"),
        (("add", into, corpus, "--tenant", "c"), 1, "is not of the tenant 'c'"),
        (("add", into, more), 1, "lacks the tenant field 'org'"),
        (("export", into, "--format", "ciff", "--out", tmp_path / "e", "--tenant", "nobody"), 1, "the tenant 'nobody'"),
        (("eval", tmp_path / "own.csv", "--collection", into, "--work", tmp_path / "w"), 2, "the request names none"),
        (
            ("eval", tmp_path / "own.csv", "--encoder", "bm25", "--tenant", "a"),
            1,
            "a tenant is named, and no collection",
        ),
    ):
        refused = run(*arguments)
        assert (refused.code, says in refused.err) == (code, True), refused
        assert "--discard-unfinished" not in arguments
        run("add", into, "--discard-unfinished")
    missing = run("index", more, "--into", tmp_path / "bad", "--encoder", "bm25", "--tenant-field", "org")
    assert (missing.code, "line 1" in missing.err) == (1, True)
    assert not (tmp_path / "bad").exists()


def test_keys_that_are_bound_open_one_tenant_alone(tmp_path: Path) -> None:
    data, keys = tmp_path / "data", tmp_path / "keys.json"
    data.mkdir()
    with Collection.create(data / "shared", encoder="bm25", tenant_field="org") as collection:
        collection.add(ROWS)
    with Collection.create(data / "plain", encoder="bm25") as collection:
        collection.add([{"id": "p", "text": "heat"}])
    of_a, _ = create_key(keys, "a", ("read", "write"), None, "a")
    of_all, _ = create_key(keys, "all", ("read", "write"), None)
    assert json.loads(keys.read_text())["format"] == 2
    assert [key.tenant for key in read_keys(keys)] == ["a", None]
    with running(data, "--keys-file", keys) as service:
        url = service.url
        with Client(url, key=of_a) as mine:
            assert {hit.id for hit in mine.search("shared", "heat").hits} == {"1", "2"}
            assert mine.count("shared") == 2
            assert [facet.field for facet in mine.facets("shared")] == ["org", "year"]
            assert mine.get("shared", "1").text == "heat transfer"  # type: ignore[union-attr]
            assert [each.name for each in mine.collections()] == ["shared"]
            told = mine.collection("shared").details
            assert (told["documents"], told["tenant"], told["terms"], told["tenant_field"]) == (2, "a", None, None)
            result = mine.put("shared", [{"id": "3", "text": "x"}, {"id": "4", "text": "y", "org": "b"}], refresh=True)
            assert (result.added, [each.code for each in result.rejected]) == (1, ["invalid_document"])
            assert mine.delete("shared", ["3", "gone"]).missing == ("gone",)
            with pytest.raises(ApiError) as caught:
                mine.search("shared", "heat", filter='colour = "red"')
            assert "org, year" in str(caught.value)
        for method, path, body in (
            ("POST", "/v1/collections/shared/compact", None),
            ("POST", "/v1/collections/shared/backup", {}),
            ("DELETE", "/v1/collections/shared", None),
            ("POST", "/v1/collections", {"name": "new", "encoder": "bm25"}),
            ("GET", "/v1/collections/shared/synonyms", None),
            ("GET", "/v1/aliases", None),
            ("GET", "/metrics", None),
            ("POST", "/v1/collections/plain/search", {"query": "heat"}),
            ("GET", "/v1/collections/plain/documents/p", None),
        ):
            answer = service.request(method, path, json=body, headers={"authorization": f"Bearer {of_a}"})
            assert answer.status_code == 403, (path, answer.text)
        for tenant, status, code in (
            ("", 400, "tenant"),
            ("x" * 200, 400, "tenant"),
            ("nobody", 404, "unknown_tenant"),
        ):
            named = {"authorization": f"Bearer {of_all}", "x-tenant": tenant}
            answer = service.request("POST", "/v1/collections/shared/search", json={"query": "heat"}, headers=named)
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
        body = {"name": "new", "encoder": "bm25", "tenant_field": "text"}
        answer = service.request("POST", "/v1/collections", json=body, headers={"authorization": f"Bearer {of_all}"})
        assert (answer.status_code, answer.json()["error"]["where"]) == (400, "body.tenant_field")
        other = {"authorization": f"Bearer {of_a}", "x-tenant": "b"}
        answer = service.request("POST", "/v1/collections/shared/search", json={"query": "heat"}, headers=other)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
        with Client(url, key=of_all, tenant="b") as theirs:
            assert theirs.search("shared", "heat", fields=["text"]).hits[0].text == "heat of b"
        with Client(url, key=of_all) as everybody, Client(url, key=of_all, tenant="x") as nobody:
            for ask, code in (
                (lambda: everybody.search("shared", "heat"), "tenant_required"),
                (lambda: everybody.count("shared"), "tenant_required"),
                (lambda: everybody.get("shared", "1"), "tenant_required"),
                (lambda: everybody.delete("shared", ["1"]), "tenant_required"),
                (lambda: nobody.count("shared"), "unknown_tenant"),
                (lambda: nobody.count("plain"), "tenant"),
            ):
                with pytest.raises(ApiError) as caught:
                    ask()
                assert caught.value.code == code
            assert everybody.put("shared", [{"id": "1", "text": "c's", "org": "c"}]).added == 1
            assert everybody.put("shared", [{"id": "1", "text": "whose?"}]).rejected[0].code == "invalid_document"
            assert everybody.collection("shared").details["tenants"] == 3
            made = everybody.create_collection("more", encoder="bm25", tenant_field="owner")
            assert made.details["tenant_field"] == "owner"
