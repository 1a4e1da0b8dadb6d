"""Indices, documents and aliases through opensearch-py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opensearch_client import client_of
from opensearchpy import OpenSearch, helpers
from opensearchpy.exceptions import ConflictError, NotFoundError, RequestError
from service import running, running_process

from lexhound.retrieval import Collection
from lexhound.serve.keys import create_key


@pytest.fixture
def index(client: OpenSearch) -> Iterator[str]:
    client.indices.create(index="papers", body={"mappings": {"properties": {"year": {"type": "integer"}}}})
    yield "papers"
    client.indices.delete(index="papers", ignore=404)


def test_the_life_of_a_document(client: OpenSearch, index: str) -> None:
    source = {"title": "Heat", "text": "Heat transfer", "year": 1958, "tags": ["a", "b"], "version": 3, "empty": None}
    answer = client.index(index=index, id="1", body=source, refresh=True)
    assert (answer["result"], answer["_id"], answer["_index"]) == ("created", "1", index)
    assert client.index(index=index, id="1", body=source)["result"] == "updated"
    assert client.get(index=index, id="1")["_source"] == source
    assert client.get_source(index=index, id="1") == source
    assert client.exists(index=index, id="1")
    assert not client.exists(index=index, id="2")
    with pytest.raises(ConflictError, match="version conflict"):
        client.create(index=index, id="1", body=source)
    assert client.create(index=index, id="a/b c", body={"text": "x", "title": ""})["result"] == "created"
    assert client.get(index=index, id="a/b c")["_source"] == {"text": "x", "title": ""}
    generated = client.index(index=index, body={"text": "y"}, refresh="wait_for")["_id"]
    assert client.get(index=index, id=generated)["_source"] == {"text": "y"}
    assert client.count(index=index)["count"] == 3
    assert client.delete(index=index, id="1", refresh=True)["result"] == "deleted"
    assert client.delete(index=index, id="1", ignore=404)["result"] == "not_found"
    with pytest.raises(NotFoundError):
        client.get(index=index, id="1")
    assert client.count(index=index)["count"] == 2


def test_a_bulk_of_actions(client: OpenSearch, index: str) -> None:
    body: list[Any] = [
        {"index": {"_index": index, "_id": "1"}}, {"text": "one", "year": 2000},
        {"index": {"_id": "2"}}, {"text": "two", "year": "MM"},
        {"create": {"_id": "1"}}, {"text": "again"},
        {"create": {"_id": "3"}}, {"text": "three"},
        {"delete": {"_id": "3"}},
        {"delete": {"_id": "3"}},
        {"index": {"_id": "1"}}, {"text": "one, again"},
    ]  # fmt: skip
    answer = client.bulk(body=body, index=index, refresh=True)
    assert answer["errors"] is True
    told = [next(iter(item.items())) for item in answer["items"]]
    assert [(kind, item["status"]) for kind, item in told] == [
        ("index", 201), ("index", 400), ("create", 409), ("create", 201),
        ("delete", 200), ("delete", 404), ("index", 200),
    ]  # fmt: skip
    assert told[1][1]["error"]["type"] == "mapper_parsing_exception"
    assert "[year]" in told[1][1]["error"]["reason"]
    assert client.get(index=index, id="1")["_source"] == {"text": "one, again"}
    assert client.count(index=index)["count"] == 1
    for wrong, named in (
        ([{"update": {"_id": "1"}}, {"doc": {}}], r"\[update\]"),
        ([{"index": {"_id": "1", "routing": "x"}}, {"text": "x"}], r"\[routing\]"),
        ([{"index": {"_id": "1"}}], "no document"),
        (["nonsense"], "not JSON"),
    ):
        with pytest.raises(RequestError, match=named):
            client.bulk(body=wrong, index=index)


def test_helpers_take_some_fields_out_of_flat_documents(client: OpenSearch, index: str) -> None:
    """So examples give `_source`: a flat document with a field `version` is no document of that field any more."""
    with pytest.raises(RequestError, match=r"\[version\]"):
        helpers.bulk(client, [{"_index": index, "_id": "1", "text": "x", "version": 2}])
    source = {"text": "x", "version": 2, "parent": "p", "routing": "r", "pipeline": "q"}
    assert helpers.bulk(client, [{"_index": index, "_id": "1", "_source": source}], refresh=True) == (1, [])
    assert client.get(index=index, id="1")["_source"] == source
    gone = [{"_op_type": "delete", "_index": index, "_id": each} for each in ("1", "2")]
    done, errors = helpers.bulk(client, gone, raise_on_error=False)
    assert done == 1
    assert [error["delete"]["status"] for error in errors] == [404]


def test_an_index_is_made_by_the_first_document(client: OpenSearch) -> None:
    assert client.index(index="fresh", id="1", body={"text": "heat", "lang": "en"}, refresh=True)["result"] == "created"
    query = {"bool": {"must": {"match": {"text": "heat"}}, "filter": {"term": {"lang.keyword": "en"}}}}
    assert client.search(index="fresh", body={"query": query})["hits"]["total"]["value"] == 1
    properties = client.indices.get_mapping(index="fresh")["fresh"]["mappings"]["properties"]
    assert properties == {"title": {"type": "text"}, "text": {"type": "text"}, "lang": {"type": "keyword"}}
    assert client.indices.get_settings(index="fresh")["fresh"]["settings"]["index"]["lexhound"] == {"encoder": "bm25"}
    assert client.delete(index="elsewhere", id="1", ignore=404)["status"] == 404
    assert not client.indices.exists(index="elsewhere")
    client.indices.delete(index="fresh")


def test_mappings(client: OpenSearch) -> None:
    with pytest.raises(RequestError, match="one text field beside `title`"):
        client.indices.create(
            index="two", body={"mappings": {"properties": {"a": {"type": "text"}, "b": {"type": "text"}}}}
        )
    assert not client.indices.exists(index="two")
    for properties, named in (
        ({"v": {"type": "geo_point"}}, "geo_point"),
        ({"v": {"type": "text", "analyzer": "english"}}, r"\[analyzer\]"),
        ({"v": {"type": "date", "format": "dd/MM/yyyy"}}, r"dd/MM/yyyy"),
        ({"v": {"type": "keyword", "index": False}}, r"\[index: false\]"),
        ({"v": {"properties": {"w": {"type": "text"}}}}, r"\[v\.w\]"),
        ({"v": "keyword"}, "must be an object"),
    ):
        with pytest.raises(RequestError, match=named):
            client.indices.create(index="two", body={"mappings": {"properties": properties}})
    with pytest.raises(RequestError, match=r"\[analysis"):
        client.indices.create(index="two", body={"settings": {"analysis": {"analyzer": {}}, "analysis.x": 1}})
    properties = {
        "abstract": {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}},
        "notes": {"type": "text", "index": False},
        "when": {"type": "date", "format": "epoch_millis"},
    }
    client.indices.create(index="two", body={"mappings": {"dynamic": "strict", "properties": properties}})
    with pytest.raises(RequestError, match="already exists"):
        client.indices.create(index="two")
    source = {"title": "T", "abstract": "heat", "notes": "not searched", "when": 1_580_428_800_000}
    client.index(index="two", id="1", body=source, refresh=True)
    assert client.get(index="two", id="1")["_source"] == source
    for wrong in ({"other": 1}, {"abstract": 3}, {"when": "2020-01-31"}):
        with pytest.raises(RequestError, match=next(iter(wrong))):
            client.index(index="two", id="2", body=wrong)

    def total(query: dict[str, Any]) -> int:
        found: int = client.search(index="two", body={"query": query})["hits"]["total"]["value"]
        return found

    assert total({"match": {"abstract": "heat"}}) == 1
    assert total({"match": {"abstract": "searched"}}) == 0
    assert total({"range": {"when": {"gte": 1_580_000_000_000}}}) == 1
    assert total({"range": {"when": {"gte": "1590000000000"}}}) == 0
    with pytest.raises(RequestError, match=r"\[notes\]"):
        total({"term": {"notes": "x"}})
    client.indices.put_mapping(index="two", body={"properties": {"pages": {"type": "integer"}}})
    assert client.indices.get_mapping(index="two")["two"]["mappings"]["properties"]["pages"] == {"type": "integer"}
    assert total({"term": {"pages": 3}}) == 0  # mapped, and no document has it
    for change, named in (
        ({"abstract": {"type": "keyword"}}, "cannot be changed"),
        ({"body": {"type": "text"}}, "one text field"),
    ):
        with pytest.raises(RequestError, match=named):
            client.indices.put_mapping(index="two", body={"properties": change})
    client.indices.delete(index="two")
    with pytest.raises(NotFoundError, match="no such index"):
        client.indices.delete(index="two")


def test_aliases(client: OpenSearch) -> None:
    for number in (1, 2):
        client.index(index=f"v{number}", id="1", body={"text": f"heat {number}"}, refresh=True)
    client.indices.put_alias(index="v1", name="current")
    assert client.indices.exists_alias(name="current")
    assert (
        client.search(index="current", body={"query": {"match": {"text": "heat"}}})["hits"]["hits"][0]["_index"] == "v1"
    )
    assert client.indices.get_alias(name="current") == {"v1": {"aliases": {"current": {}}}}
    with pytest.raises(RequestError, match="several indices"):
        client.indices.put_alias(index="v2", name="current")
    actions = [
        {"remove": {"index": "v1", "alias": "current"}},
        {"add": {"index": "v2", "alias": "current", "is_write_index": True}},
    ]
    client.indices.update_aliases(body={"actions": actions})
    assert client.get(index="current", id="1")["_source"] == {"text": "heat 2"}
    client.index(index="current", id="2", body={"text": "more"}, refresh=True)
    assert client.count(index="v2")["count"] == 2
    assert client.indices.get(index="v2")["v2"]["aliases"] == {"current": {}}
    for wrong, named in (
        ({"remove": {"index": "v1", "alias": "current"}}, "missing"),
        ({"add": {"index": "v3", "alias": "c"}}, "no such index"),
    ):
        with pytest.raises(NotFoundError, match=named):
            client.indices.update_aliases(body={"actions": [wrong]})
    with pytest.raises(RequestError, match=r"\[filter\]"):
        client.indices.update_aliases(body={"actions": [{"add": {"index": "v1", "alias": "f", "filter": {}}}]})
    with pytest.raises(RequestError, match="matches an alias"):
        client.indices.delete(index="current")
    client.indices.delete(index="v2")
    assert not client.indices.exists_alias(name="current")
    client.indices.delete(index="v1")


def test_keys_and_limits_hold(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    writer = create_key(keys, "writer", scopes=("read", "write"), collections=("mine", "mine-too"))[0]
    reader = create_key(keys, "reader", scopes=("read",), collections=("mine", "mine-too"))[0]
    (tmp_path / "data").mkdir()
    with running(tmp_path / "data", "--opensearch", "--encoders", "bm25", "--keys-file", keys) as service:
        with pytest.raises(Exception, match="no API key") as refused:
            client_of(service).info()
        assert refused.value.status_code == 401  # type: ignore[attr-defined]
        client = client_of(service, http_auth=("anybody", writer))
        assert client.info()["version"]["distribution"] == "opensearch"
        client.index(index="mine", id="1", body={"text": "heat"}, refresh=True)
        for index in ("theirs", "other"):
            with pytest.raises(Exception, match="does not open"):
                client.index(index=index, id="1", body={"text": "x"})
        other = client_of(service, headers={"authorization": f"Bearer {reader}"})
        assert other.search(index="mine", body={"query": {"match": {"text": "heat"}}})["hits"]["total"]["value"] == 1
        for forbidden in (
            lambda: other.delete(index="mine", id="1"),
            lambda: other.indices.delete(index="mine"),
            lambda: other.indices.put_alias(index="mine", name="mine-too"),
            lambda: other.bulk(body=[{"delete": {"_index": "mine", "_id": "1"}}]),
        ):
            with pytest.raises(Exception, match="security_exception") as refused:
                forbidden()
            assert refused.value.status_code == 403  # type: ignore[attr-defined]
        with pytest.raises(Exception, match="more than"):
            client.search(index="mine", body={"query": {"match": {"text": "x" * 2**23}}})
    with running(tmp_path / "data") as plain:
        assert plain.request("GET", "/opensearch/mine/_search").status_code == 404


def test_a_single_collection_is_an_index(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "my.index", encoder="bm25") as made:
        made.add([{"id": "1", "text": "heat", "title": "T", "year": 3}, {"id": "2", "text": "flow", "rate": 0.5}])
    with running(tmp_path / "my.index", "--opensearch") as service:
        client = client_of(service)
        mapping = client.indices.get_mapping(index="my")["my"]["mappings"]["properties"]
        assert mapping["year"] == {"type": "long"}
        assert mapping["rate"] == {"type": "double"}
        answer = client.search(index="my", body={"query": {"bool": {"filter": {"term": {"year": 3}}}}})
        assert answer["hits"]["hits"][0]["_source"] == {"title": "T", "text": "heat", "year": 3}
        client.index(index="my", id="3", body={"text": "wing"}, refresh=True)
        assert client.count(index="my")["count"] == 3
        for refused in (
            lambda: client.indices.create(index="other"),
            lambda: client.indices.delete(index="my"),
            lambda: client.indices.put_alias(index="my", name="alias"),
        ):
            with pytest.raises(ConflictError, match="single collection"):
                refused()
        with pytest.raises(RequestError, match="content-encoding: gzip"):
            client_of(service, http_compress=True).index(index="my", id="4", body={"text": "wing"})
        written = service.request("GET", "/metrics").text
        assert 'documents_written_total{status="added"}' in written


def test_several_processes_answer(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    arguments = ("--opensearch", "--opensearch-prefix", "/os", "--encoders", "bm25", "--workers", "2")
    with running_process(tmp_path / "data", *arguments) as service:
        for number in range(6):
            url = f"/os/some/_doc/{number}?refresh=true"
            assert service.request("PUT", url, json={"text": f"heat {number}"}).status_code == 201
            assert service.request("GET", "/os/some/_count").json()["count"] == number + 1
