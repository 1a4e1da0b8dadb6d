# ruff: noqa: E501  bodies of requests are read best on one line
"""Searches through opensearch-py, as its users write them, beside the same computed by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opensearchpy import OpenSearch, helpers
from opensearchpy.exceptions import NotFoundError, RequestError

from lexhound.retrieval import Collection

WORDS = ("heat", "transfer", "flow", "wing", "boundary", "layer", "shock", "tube", "pressure", "plate")
MAPPINGS = {
    "properties": {
        "title": {"type": "text"},
        "body": {"type": "text"},
        "year": {"type": "integer"},
        "price": {"type": "double"},
        "lang": {"type": "keyword"},
        "tags": {"type": "keyword"},
        "open": {"type": "boolean"},
        "day": {"type": "date"},
        "author": {"properties": {"name": {"type": "keyword"}}},
    }
}
NUMBER = 300


def source(number: int) -> dict[str, Any]:
    words = [WORDS[(number // step) % len(WORDS)] for step in (1, 2, 3, 7)]
    values: dict[str, Any] = {
        "title": f"Report {number % 5} on {words[0]}",
        "body": " ".join(words),
        "year": 1950 + number % 40,
        "price": number / 4,
        "lang": "en" if number % 3 else "de",
        "tags": [f"t{number % 4}", f"u{number % 3}"],
        "open": number % 2 == 0,
        "day": f"2020-01-{number % 28 + 1:02d}" + ("T10:00:00Z" if number % 5 == 0 else ""),
        "author": {"name": f"Author {number % 6}"},
    }
    if number % 10 == 0:
        del values["price"]
    return values


SOURCES = {f"d{number}": source(number) for number in range(NUMBER)}


@pytest.fixture(scope="module", autouse=True)
def index(client: OpenSearch) -> Iterator[None]:
    client.indices.create(index="reports", body={"mappings": MAPPINGS, "settings": {"index": {"number_of_shards": 1}}})
    actions = ({"_index": "reports", "_id": key, "_source": value} for key, value in SOURCES.items())
    assert helpers.bulk(client, actions, refresh=True) == (NUMBER, [])
    yield
    client.indices.delete(index="reports")


def ids(answer: dict[str, Any]) -> list[str]:
    return [hit["_id"] for hit in answer["hits"]["hits"]]


def found(client: OpenSearch, query: dict[str, Any], **rest: Any) -> set[str]:
    answer = client.search(index="reports", body={"query": query, "size": 1000, **rest})
    assert answer["hits"]["total"] == {"value": len(ids(answer)), "relation": "eq"}
    assert client.count(index="reports", body={"query": query})["count"] == len(ids(answer))
    return set(ids(answer))


def where(condition: Any) -> set[str]:
    return {key for key, value in SOURCES.items() if condition(value)}


def holds(value: dict[str, Any], word: str) -> bool:
    return word in f"{value['title']} {value['body']}".lower().split()


@pytest.mark.parametrize(
    ("query", "condition"),
    [
        ({"match_all": {}}, lambda v: True),
        ({"match_none": {}}, lambda v: False),
        ({"match": {"body": "shock"}}, lambda v: holds(v, "shock")),
        ({"match": {"body": {"query": "shock tube"}}}, lambda v: holds(v, "shock") or holds(v, "tube")),
        ({"match": {"body": {"query": "shock tube", "operator": "and"}}}, lambda v: holds(v, "shock") and holds(v, "tube")),
        ({"multi_match": {"query": "shock", "fields": ["title", "body"]}}, lambda v: holds(v, "shock")),
        ({"match": {"lang": "de"}}, lambda v: v["lang"] == "de"),
        ({"term": {"lang": "de"}}, lambda v: v["lang"] == "de"),
        ({"term": {"lang.keyword": {"value": "de"}}}, lambda v: v["lang"] == "de"),
        ({"term": {"year": 1960}}, lambda v: v["year"] == 1960),
        ({"term": {"year": "1960"}}, lambda v: v["year"] == 1960),
        ({"term": {"open": True}}, lambda v: v["open"]),
        ({"term": {"open": "false"}}, lambda v: not v["open"]),
        ({"term": {"_id": "d7"}}, lambda v: v == SOURCES["d7"]),
        ({"terms": {"tags": ["t1", "u2"]}}, lambda v: {"t1", "u2"} & set(v["tags"])),
        ({"terms": {"tags": []}}, lambda v: False),
        ({"range": {"year": {"gte": 1960, "lt": 1970}}}, lambda v: 1960 <= v["year"] < 1970),
        ({"range": {"day": {"gt": "2020-01-05", "lte": "2020-01-06"}}}, lambda v: v["day"][:10] == "2020-01-06"),
        ({"range": {"day": {"gte": "2020-01-05", "lt": "2020-01-06"}}}, lambda v: v["day"][:10] == "2020-01-05"),
        ({"ids": {"values": ["d3", "d4", "nothing"]}}, lambda v: v in (SOURCES["d3"], SOURCES["d4"])),
        ({"exists": {"field": "price"}}, lambda v: "price" in v),
        ({"exists": {"field": "author"}}, lambda v: True),
        ({"term": {"author.name": "Author 3"}}, lambda v: v["author"]["name"] == "Author 3"),
        ({"constant_score": {"filter": {"term": {"lang": "de"}}, "boost": 3}}, lambda v: v["lang"] == "de"),
        (
            {"bool": {"must": {"match": {"body": "shock"}}, "filter": [{"term": {"lang": "en"}}], "must_not": {"term": {"open": True}}}},
            lambda v: holds(v, "shock") and v["lang"] == "en" and not v["open"],
        ),
        (
            {"bool": {"should": [{"match": {"body": "shock"}}, {"match": {"body": "tube"}}, {"term": {"lang": "de"}}], "minimum_should_match": 2}},
            lambda v: holds(v, "shock") + holds(v, "tube") + (v["lang"] == "de") >= 2,
        ),
        (
            {"bool": {"should": [{"term": {"lang": "de"}}, {"range": {"year": {"gte": 1980}}}], "minimum_should_match": "50%"}},
            lambda v: v["lang"] == "de" or v["year"] >= 1980,
        ),
        ({"bool": {"must_not": [{"match": {"body": "shock"}}]}}, lambda v: not holds(v, "shock")),
        ({"neural_sparse": {"body": {"query_tokens": {"shock": 2.0, "tube": 1.0}}}}, lambda v: holds(v, "shock") or holds(v, "tube")),
    ],
)  # fmt: skip
def test_what_matches(client: OpenSearch, query: dict[str, Any], condition: Any) -> None:
    assert found(client, query) == where(condition)
    assert found(client, {"bool": {"filter": [query]}}) == where(condition)


def test_an_answer_is_as_opensearch_gives_it(client: OpenSearch) -> None:
    answer = client.search(
        index="reports",
        body={"query": {"match": {"body": "shock tube"}}, "size": 3, "from": 1, "highlight": {"fields": {"body": {}, "title": {}}}},
    )  # fmt: skip
    assert (answer["timed_out"], answer["_shards"]["failed"]) == (False, 0)
    every = client.search(index="reports", body={"query": {"match": {"body": "shock tube"}}, "size": 100})
    assert answer["hits"]["max_score"] == every["hits"]["hits"][0]["_score"]
    assert ids(answer) == ids(every)[1:4]
    for hit in answer["hits"]["hits"]:
        assert hit["_index"] == "reports"
        assert hit["_source"] == SOURCES[hit["_id"]]
        (passage,) = hit["highlight"]["body"]
        assert passage.replace("<em>", "").replace("</em>", "") == hit["_source"]["body"]
        assert "<em>shock</em>" in passage or "<em>tube</em>" in passage
    assert answer["hits"]["total"]["value"] == every["hits"]["total"]["value"]
    bare = client.search(index="reports", body={"size": 0, "track_total_hits": False})
    assert bare["hits"] == {"max_score": None, "hits": []}


def test_scores_are_those_of_the_library(client: OpenSearch, data: Path) -> None:
    with Collection.open(data / "reports.index") as collection:
        ours = collection.search("heat shock", 20)
    theirs = client.search(index="reports", body={"query": {"match": {"body": "heat shock"}}, "size": 20})
    assert [(hit["_id"], hit["_score"]) for hit in theirs["hits"]["hits"]] == [(hit.id, hit.score) for hit in ours]
    boosted = client.search(
        index="reports", body={"query": {"match": {"body": {"query": "heat shock", "boost": 2}}}, "size": 20}
    )
    assert boosted["hits"]["max_score"] == 2 * theirs["hits"]["max_score"]


def test_explain(client: OpenSearch) -> None:
    query = {
        "bool": {"must": [{"match": {"body": "heat"}}, {"term": {"lang": "de"}}], "should": {"match": {"body": "flow"}}}
    }
    answer = client.search(index="reports", body={"query": query, "explain": True})
    assert ids(answer)
    for hit in answer["hits"]["hits"]:
        told = hit["_explanation"]
        assert told["value"] == hit["_score"]
        assert sum(each["value"] for each in told["details"]) == pytest.approx(hit["_score"])
        assert "weight(heat)" in told["details"][0]["description"] + told["details"][-1]["description"] or len(told["details"]) > 2  # fmt: skip


def test_sources_are_filtered(client: OpenSearch) -> None:
    def first(given: Any, **parameters: Any) -> Any:
        body = {"query": {"ids": {"values": ["d7"]}}} | ({} if given is None else {"_source": given})
        return client.search(index="reports", body=body, **parameters)["hits"]["hits"][0].get("_source")

    whole = SOURCES["d7"]
    assert first(False) is None
    assert first(True) == first(None) == whole
    assert first("year") == {"year": whole["year"]}
    assert first(["year", "author.*"]) == {"year": whole["year"], "author": whole["author"]}
    assert first({"excludes": ["a*", "b*", "t*"]}) == {k: v for k, v in whole.items() if k[0] not in "abt"}
    assert first({"includes": ["author"], "excludes": ["author.name"]}) == {"author": {}}
    assert first(None, _source_includes="year,lang") == {"year": whole["year"], "lang": whole["lang"]}
    assert client.get(index="reports", id="d7", _source_excludes="author")["_source"] == {
        key: value for key, value in whole.items() if key != "author"
    }


def test_sort_and_collapse(client: OpenSearch) -> None:
    query = {"match": {"body": "shock"}}
    answer = client.search(
        index="reports", body={"query": query, "sort": [{"year": {"order": "desc"}}, "lang", "_score"], "size": 50}
    )
    matching = {key: SOURCES[key] for key in found(client, query)}
    order = [(-SOURCES[key]["year"], SOURCES[key]["lang"]) for key in ids(answer)]
    assert order == sorted((-value["year"], value["lang"]) for value in matching.values())[:50]
    for hit in answer["hits"]["hits"]:
        assert hit["_score"] is None
        assert hit["sort"] == [hit["_source"]["year"], hit["_source"]["lang"]]
    with_scores = client.search(
        index="reports", body={"query": query, "sort": "price", "track_scores": True, "size": 300}
    )
    assert all(hit["_score"] > 0 for hit in with_scores["hits"]["hits"])
    prices = [hit["_source"].get("price") for hit in with_scores["hits"]["hits"]]
    known = sorted(price for price in prices if price is not None)
    assert prices == known + [None] * (len(prices) - len(known))
    one = client.search(index="reports", body={"query": query, "collapse": {"field": "author.name"}})
    authors = [hit["fields"]["author.name"][0] for hit in one["hits"]["hits"]]
    assert sorted(authors) == sorted({value["author"]["name"] for value in matching.values()})
    assert one["hits"]["total"]["value"] == len(matching)


def test_terms_aggregations(client: OpenSearch) -> None:
    query = {"bool": {"must": [{"match": {"body": "shock"}}], "filter": [{"term": {"lang": "de"}}]}}
    answer = client.search(
        index="reports",
        body={
            "query": query,
            "size": 0,
            "aggs": {
                "tags": {"terms": {"field": "tags", "size": 2}},
                "open": {"terms": {"field": "open"}},
                "years": {"terms": {"field": "year", "size": 100}},
            },
        },
    )
    assert answer["hits"]["hits"] == []
    matching = [SOURCES[key] for key in found(client, query)]
    tags = Counter(tag for value in matching for tag in value["tags"])
    expected = sorted(tags.items(), key=lambda pair: (-pair[1], pair[0]))
    told = answer["aggregations"]["tags"]
    assert [(each["key"], each["doc_count"]) for each in told["buckets"]] == expected[:2]
    assert told["sum_other_doc_count"] == sum(tags.values()) - sum(count for _, count in expected[:2])
    by_open = {each["key_as_string"]: each["doc_count"] for each in answer["aggregations"]["open"]["buckets"]}
    assert by_open == Counter("true" if value["open"] else "false" for value in matching)
    years = {each["key"]: each["doc_count"] for each in answer["aggregations"]["years"]["buckets"]}
    assert years == Counter(value["year"] for value in matching)
    after = client.search(
        index="reports",
        body={"post_filter": {"term": {"open": True}}, "aggs": {"langs": {"terms": {"field": "lang"}}}, "size": 1000},
    )
    assert {hit["_source"]["open"] for hit in after["hits"]["hits"]} == {True}
    assert sum(each["doc_count"] for each in after["aggregations"]["langs"]["buckets"]) == NUMBER


def test_a_scroll_goes_through_everything(client: OpenSearch) -> None:
    seen = list(helpers.scan(client, index="reports", query={"query": {"term": {"lang": "de"}}}, size=7))
    assert {hit["_id"]: hit["_source"] for hit in seen} == {
        key: value for key, value in SOURCES.items() if value["lang"] == "de"
    }
    assert len(seen) == len({hit["_id"] for hit in seen})
    matching = helpers.scan(client, index="reports", query={"query": {"match": {"body": "shock"}}}, size=10)
    assert {hit["_id"] for hit in matching} == found(client, {"match": {"body": "shock"}})
    whole = list(helpers.scan(client, index="reports", size=100))
    assert [hit["_id"] for hit in whole] == list(SOURCES)
    with pytest.raises(RequestError, match="_doc"):
        client.search(index="reports", body={"query": {"match": {"body": "heat"}}, "sort": "_doc"})
    with pytest.raises(RequestError, match="scroll"):
        client.search(index="reports", body={"query": {"match": {"body": "heat"}}}, scroll="1m")
    with pytest.raises(RequestError, match="scroll_id"):
        client.scroll(scroll_id="bm9uc2Vuc2U=")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"query": {"fuzzy": {"body": "shok"}}}, "[fuzzy]"),
        ({"query": {"match_phrase": {"body": "shock tube"}}}, "[match_phrase]"),
        ({"query": {"query_string": {"query": "shock"}}}, "[query_string]"),
        ({"query": {"match": {"body": {"query": "x", "fuzziness": "AUTO"}}}}, "[fuzziness]"),
        ({"query": {"match": {"title": "x"}}}, "[title]"),
        ({"query": {"multi_match": {"query": "x", "fields": ["title^3", "body"]}}}, "title^3"),
        ({"query": {"multi_match": {"query": "x", "fields": ["body", "lang"]}}}, "[lang]"),
        ({"query": {"multi_match": {"query": "x", "type": "phrase"}}}, "phrase"),
        ({"query": {"term": {"body": "shock"}}}, "[body]"),
        ({"query": {"term": {"lang": {"value": "DE", "case_insensitive": True}}}}, "[case_insensitive]"),
        ({"query": {"terms": {"lang": {"index": "x", "id": "1", "path": "p"}}}}, "look-up"),
        ({"query": {"range": {"year": {"gte": 1960, "format": "yyyy"}}}}, "[format]"),
        ({"query": {"range": {"day": {"gte": "now-1d"}}}}, "now-1d"),
        ({"query": {"range": {"year": {"gte": "long ago"}}}}, "long ago"),
        ({"query": {"term": {"yeer": 1960}}}, "did you mean year"),
        ({"query": {"neural_sparse": {"body": {"query_text": "heat"}}}}, "[query_text]"),
        ({"query": {"neural_sparse": {"body": {"query_tokens": {"heat": 1}, "model_id": "abc"}}}}, "[model_id: abc]"),
        ({"query": {"neural": {"body": {"query_text": "heat"}}}}, "dense"),
        ({"query": {"hybrid": {"queries": [{"match": {"body": "heat"}}]}}}, "[hybrid]"),
        ({"query": {"match": {"body": "x"}, "term": {"lang": "de"}}}, "exactly one entry"),
        ({"query": {"match": {"body": {"query": "x", "boost": -1}}}}, "boost"),
        ({"sort": [{"year": {"missing": "_first"}}]}, "[missing: _first]"),
        ({"sort": ["_score", "year"]}, "[_score]"),
        ({"sort": "body"}, "[body]"),
        ({"collapse": {"field": "tags"}}, "several values"),
        ({"collapse": {"field": "lang", "inner_hits": {}}}, "[inner_hits]"),
        ({"aggs": {"x": {"avg": {"field": "year"}}}}, "[avg]"),
        ({"aggs": {"x": {"terms": {"field": "lang"}, "aggs": {}}}}, "aggs within aggs"),
        ({"aggs": {"x": {"terms": {"field": "body"}}}}, "[body]"),
        ({"highlight": {"fields": {"lang": {}}}}, "[lang]"),
        ({"highlight": {"fields": {"body": {}}, "number_of_fragments": 3}}, "[number_of_fragments]"),
        ({"suggest": {}}, "[suggest]"),
        ({"knn": {}}, "[knn]"),
        ({"serach": {}}, "[serach]"),
        ({"quary": {}}, "did you mean query"),
        ({"search_pipeline": {}}, "[search_pipeline]"),
        ({"search_after": [1]}, "[search_after]"),
        ({"size": -1}, "[size]"),
        ({"size": 5000}, "1,000 hits"),
        ({"from": 10_000}, "Result window is too large"),
        ({"query": {"match": {"body": "x" * 9000}}}, "9,000 characters"),
    ],
)
def test_what_is_not_supported_is_named(client: OpenSearch, body: dict[str, Any], named: str) -> None:
    with pytest.raises(RequestError) as refused:
        client.search(index="reports", body=body)
    told = refused.value.info
    assert told["status"] == refused.value.status_code == 400
    assert set(told["error"]) >= {"root_cause", "type", "reason"}
    assert named.lower() in told["error"]["reason"].lower()


def test_parameters_and_addresses_that_mean_nothing_are_refused(client: OpenSearch) -> None:
    with pytest.raises(RequestError, match=r"\[preference\]"):
        client.search(index="reports", body={}, preference="_local")
    with pytest.raises(RequestError, match="several indices"):
        client.search(index="reports,others", body={})
    with pytest.raises(RequestError, match=r"\[GET\] at \[/opensearch/_cat/indices\]"):
        client.cat.indices()
    with pytest.raises(NotFoundError, match="no such index"):
        client.search(index="nothing", body={})
