"""Searches over REST: pages, filters, explanations, snippets, batches, counts, facets; and the same as in process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from service import WORDS, Service, document, running

from lexhound.retrieval import Collection
from lexhound.serve.api.schemas import search_models

DOCUMENTS = 600
PLACE = "/v1/collections/my/search"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("search") / "data"
    path.mkdir()
    return path


@pytest.fixture(scope="module")
def service(data: Path) -> Iterator[Service]:
    with running(data) as started:
        with started.client() as client:
            client.create_collection("my")
            client.put("my", [document(number) for number in range(DOCUMENTS)])
            client.delete("my", [f"d{number}" for number in range(0, DOCUMENTS, 10)])
            texts = {
                "ar": "انتقال الحرارة في التدفق فوق الصوتي",
                "zh": "高超音速流动中的传热",
                "evil": "<script>alert(1)</script> escape",
            }
            client.put("my", [{"id": key, "text": text} for key, text in texts.items()], refresh=True)
        yield started


def search(service: Service, **body: Any) -> dict[str, Any]:
    answer = service.request("POST", PLACE, json=body)
    assert answer.status_code == 200, answer.text
    search_models.SearchAnswer.model_validate(answer.json())
    told: dict[str, Any] = answer.json()
    return told


@pytest.mark.parametrize("size", [1, 7, 50, 600])
def test_pages_neither_repeat_nor_skip_and_scores_do_not_depend_on_their_size(service: Service, size: int) -> None:
    whole = search(service, query="heat flow shock", k=1000)["hits"]
    assert len(whole) > 300
    assert len({hit["score"] for hit in whole}) < len(whole) / 3, "ties are what makes this hard"
    paged: list[dict[str, Any]] = []
    while len(paged) < min(len(whole), 12 * size):
        paged += search(service, query="heat flow shock", k=size, offset=len(paged))["hits"]
    assert paged == whole[: len(paged)]
    assert [hit["rank"] for hit in paged] == list(range(1, len(paged) + 1))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"k": 3, "offset": 2},
        {"filter": 'year >= 1970 and lang = "en"', "k": 100},
        {"explain": True, "stats": True, "highlight": False, "fields": ["text"]},
        {"mode": "lexical", "fields": []},
        {"recall": 0.95, "k": 4},
        {"total": True, "sort": ["year:desc", "lang"], "collapse": "lang"},
    ],
)
def test_by_address_as_by_body(service: Service, options: dict[str, Any]) -> None:
    posted = search(service, query="boundary layer", **options)
    values = {name: str(value).lower() if isinstance(value, bool) else value for name, value in options.items()}
    values |= {name: ",".join(options[name]) for name in ("fields", "sort") if name in options}
    got = service.request("GET", PLACE, params={"q": "boundary layer", **values}).json()
    for answer in (posted, got):
        assert answer.pop("took_ms") == pytest.approx(answer.pop("seconds") * 1000)
    assert got == posted


def test_the_same_as_in_process(service: Service, data: Path) -> None:
    with Collection.open(data / "my.index") as collection:
        for query in ("heat", "heat transfer in flow", "wing pressure plate", "nothing like it", ""):
            ours = collection.search(query, 40, filter="year < 1980", explain=True)
            theirs = search(service, query=query, k=40, filter="year < 1980", explain=True, stats=True)
            assert [(hit["id"], hit["score"]) for hit in theirs["hits"]] == [(hit.id, hit.score) for hit in ours.hits]
            assert theirs["stats"]["postings_read"] == ours.stats.postings_read
            assert theirs["stats"]["rows_scored"] == theirs["stats"]["documents_scored"] == ours.stats.rows_scored
            assert theirs["took_ms"] > 0


def test_totals_orders_and_one_hit_a_value(service: Service, data: Path) -> None:
    query = {"query": "heat shock", "filter": "year < 1980"}
    answer = search(service, **query, k=1000, total=True)
    assert answer["total"] == {"value": len(answer["hits"]), "relation": "exact"}
    assert "total" not in search(service, **query)
    by_year = search(service, **query, sort=["year:desc"], k=1000)["hits"]
    years = [hit["metadata"]["year"] for hit in by_year]
    assert years == sorted(years, reverse=True)
    one = search(service, **query, sort=["year"], collapse="year", k=7, total=True)
    assert [hit["metadata"]["year"] for hit in one["hits"]] == sorted(set(years))[:7]
    assert one["total"] == answer["total"]
    with Collection.open(data / "my.index") as collection:
        ours = collection.search("heat shock", 1000, filter="year < 1980", sort="year:desc")
        assert [hit["id"] for hit in by_year] == [hit.id for hit in ours.hits]
    for sort in ("x" * 400, ",".join("x" * 200)):
        assert service.request("GET", PLACE, params={"q": "heat", "sort": sort}).status_code == 400
    for body in ({"sort": "year"}, {"sort": ["yeer"]}, {"collapse": "yeer"}, {"collapse": ""}, {"total": 3}):
        refused = service.request("POST", PLACE, json={**query, **body})
        assert refused.status_code in (400, 422), body
        assert next(iter(body)) in refused.json()["error"]["where"]


def test_facets_of_all_that_matches_and_of_a_filter(service: Service) -> None:
    place = "/v1/collections/my/facets"
    hits = search(service, query="heat shock", filter="year < 1980", k=1000)["hits"]
    answer = service.request(
        "GET", place, params={"field": "lang", "q": "heat shock", "filter": "year < 1980", "matching": "true"}
    ).json()
    (facet,) = answer["fields"]
    assert {each["value"]: each["count"] for each in facet["values"]} == Counter(
        hit["metadata"]["lang"] for hit in hits
    )
    (facet,) = service.request("GET", place, params={"field": "lang", "filter": "year < 1980"}).json()["fields"]
    assert (
        facet["documents"]
        == service.request("POST", "/v1/collections/my/count", json={"filter": "year < 1980"}).json()["count"]
    )
    wrong = service.request("GET", place, params={"q": "heat", "mode": "dense"})
    assert (wrong.status_code, wrong.json()["error"]["where"]) == (400, "query.mode")


def test_explanations_sum_to_the_score(service: Service) -> None:
    for hit in search(service, query="heat transfer flow flow", explain=True, k=50)["hits"]:
        parts = hit["contributions"]
        assert sum(part["score"] for part in parts) == hit["score"]
        assert [part["score"] for part in parts] == sorted((part["score"] for part in parts), reverse=True)
        assert all(part["typed"] for part in parts)
    assert "contributions" not in search(service, query="heat")["hits"][0]


def test_a_vector_of_term_weights(service: Service) -> None:
    by_text = search(service, query="heat shock", k=600, explain=True)["hits"]
    weights = {part["term"]: part["query_weight"] for hit in by_text for part in hit["contributions"]}
    by_vector = search(service, vector={**weights, "nowhere": 3.0}, k=600)
    assert by_vector["unknown_terms"] == ["nowhere"]
    assert [hit["id"] for hit in by_vector["hits"]] == [hit["id"] for hit in by_text]
    assert search(service, vector={"nowhere": 1.0})["hits"] == []
    assert search(service, vector={})["hits"] == []
    # Marks are those of the vector's terms.
    hit = search(service, vector={"heat": 1.0}, k=1)["hits"][0]
    assert {hit["snippet"]["text"][start:end] for start, end in hit["snippet"]["marks"]} == {"heat"}


def test_snippets_mark_the_query_s_words(service: Service) -> None:
    for query, words in (("heating flows", {"heat", "flow"}), ("الحرارة", {"الحرارة"}), ("传热", {"传热"})):
        hits = search(service, query=query, k=3)["hits"]
        assert hits
        for hit in hits:
            snippet = hit["snippet"]
            marked = {snippet["text"][start:end] for start, end in snippet["marks"]}
            assert marked
            assert marked <= words
    evil = search(service, query="escape")["hits"][0]
    assert evil["snippet"]["text"].startswith("<script>")  # text is text; whoever shows it escapes it


def test_fields(service: Service) -> None:
    def keys(**options: Any) -> set[str]:
        hit: dict[str, Any] = search(service, query="heat", k=1, **options)["hits"][0]
        return set(hit)

    always = {"rank", "id", "score"}
    assert keys() == always | {"title", "metadata", "snippet"}
    assert keys(fields=[], highlight=False) == always
    assert keys(fields=["text"], highlight=False) == always | {"text"}
    wanted = {"query": "heat", "k": 1, "fields": ["metadata.year", "metadata.yaer"]}
    answer = service.request("POST", "/v1/collections/my/search", json=wanted)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["where"]) == (400, "unknown_field", "fields")
    assert "did you mean year?" in error["hint"]
    hit = search(service, **wanted, allow_unknown_fields=True)["hits"][0]
    assert set(hit["metadata"]) == {"year"}


@pytest.mark.parametrize(
    ("body", "status", "code", "where"),
    [
        ({}, 422, "invalid_request", "body.query"),
        ({"query": "a", "vector": {"a": 1}}, 422, "invalid_request", "body.query"),
        ({"query": 3}, 422, "invalid_request", "body.query"),
        ({"query": None}, 422, "invalid_request", "body.query"),
        ({"query": "a", "k": 0}, 422, "invalid_request", "body.k"),
        ({"query": "a", "k": "3"}, 422, "invalid_request", "body.k"),
        ({"query": "a", "k": True}, 422, "invalid_request", "body.k"),
        ({"query": "a", "k": 1.5}, 422, "invalid_request", "body.k"),
        ({"query": "a", "k": 1001}, 422, "limit", "body.k"),
        ({"query": "a", "offset": -1}, 422, "invalid_request", "body.offset"),
        ({"query": "a", "offset": 9001}, 422, "limit", "body.offset"),
        ({"query": "a" * 9000}, 422, "limit", "body.query"),
        ({"query": "a", "size": 3}, 422, "invalid_request", "body.size"),
        ({"query": "a", "filter": "year >"}, 400, "filter_syntax", None),
        ({"query": "a", "mode": "dense"}, 400, "mode", "body.mode"),
        ({"query": "a", "mode": "both"}, 422, "invalid_request", "body.mode"),
        ({"query": "a", "fields": ["body"]}, 400, "bad_request", "body.fields"),
        ({"vector": {"a": 0}}, 422, "invalid_request", "body.vector.a"),
        ({"vector": {"a": "x"}}, 422, "invalid_request", "body.vector.a"),
        ([], 422, "invalid_request", "body"),
    ],
)
def test_wrong_searches_are_told_what_is_wrong_where(
    service: Service, body: Any, status: int, code: str, where: str | None
) -> None:
    answer = service.request("POST", PLACE, json=body)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["code"] == code
    assert error["message"]
    assert where is None or error["where"] == where


def test_the_index_of_bm25_has_two_names(service: Service) -> None:
    lexical = search(service, query="heat", mode="lexical")["hits"]
    assert lexical == search(service, query="heat", mode="sparse")["hits"] == search(service, query="heat")["hits"]


def test_former_names_say_the_same(service: Service) -> None:
    hit = search(service, query="heat", k=1, explain=True)["hits"][0]
    assert hit["explanation"] == hit["contributions"]


def test_a_whole_number_may_be_written_as_json_likes(service: Service) -> None:
    content = b'{"query": "heat", "k": 3.0, "offset": 1e0}'
    answer = service.request(
        "POST", PLACE, content=content, headers={"content-type": "application/json; charset=utf-8"}
    )
    assert len(answer.json()["hits"]) == 3


def test_filters_are_part_of_the_search(service: Service) -> None:
    """A filter that few pass still fills the page."""
    hits = search(service, query=" ".join(WORDS), filter="year = 1953", k=12)["hits"]
    assert len(hits) == 12
    assert {hit["metadata"]["year"] for hit in hits} == {1953}


def test_batch(service: Service) -> None:
    queries = ["heat", "shock tube", "nothing like it", "heat"]
    answer = service.request("POST", f"{PLACE}/batch", json={"queries": queries, "k": 7, "filter": "year < 1970"})
    assert answer.status_code == 200
    search_models.BatchAnswer.model_validate(answer.json())
    results = answer.json()["results"]
    assert len(results) == 4
    for query, result in zip(queries, results, strict=True):
        alone = search(service, query=query, k=7, filter="year < 1970")["hits"]
        assert result["hits"] == [{"id": hit["id"], "score": hit["score"]} for hit in alone]


def test_count_and_facets(service: Service) -> None:
    left = [document(number)["metadata"] for number in range(DOCUMENTS) if number % 10]
    place = "/v1/collections/my"
    assert service.request("POST", f"{place}/count", json={}).json() == {"count": len(left) + 3}
    langs = Counter(each["lang"] for each in left)
    assert service.request("POST", f"{place}/count", json={"filter": 'lang = "de"'}).json() == {"count": langs["de"]}
    answer = service.request("GET", f"{place}/facets", params={"limit": 2}).json()
    search_models.FacetAnswer.model_validate(answer)
    lang, year = answer["fields"]
    assert lang == {
        "field": "lang", "kind": "text", "documents": len(left), "min": None, "max": None,
        "values": [{"value": "en", "count": langs["en"]}, {"value": "de", "count": langs["de"]}],
    }  # fmt: skip
    assert (year["field"], year["kind"], year["min"], len(year["values"])) == ("year", "number", 1951, 2)
    two = f"{place}/facets?field=year&field=nothing"
    assert service.request("GET", two).json()["error"]["code"] == "unknown_field"
    only = service.request("GET", f"{two}&allow_unknown_fields=true").json()["fields"]
    assert [each["field"] for each in only] == ["year"]


def test_facets_follow_the_query(service: Service) -> None:
    place = "/v1/collections/my/facets"
    hits = search(service, query="heat shock", k=1000, filter="year < 1980")["hits"]
    langs = Counter(hit["metadata"]["lang"] for hit in hits)
    answer = service.request("GET", place, params={"q": "heat shock", "filter": "year < 1980", "field": "lang"}).json()
    (facet,) = answer["fields"]
    assert {each["value"]: each["count"] for each in facet["values"]} == langs
    assert facet["documents"] == len(hits)
    with service.client() as client:
        (theirs,) = client.facets("my", ["lang"], query="heat shock")
        assert theirs.documents >= len(hits)


@pytest.mark.parametrize(
    ("address", "where", "hint"),
    [
        ("search?q=heat&fliter=year=1", "query.fliter", "did you mean filter"),
        ("search?q=heat&limit=3", "query.limit", "did you mean k?"),
        ("search?q=heat&order=year", "query.order", ""),
        ("search?query=heat", "query.query", "did you mean q?"),
        ("search?q=heat&q=wing", "query.q", "give it once"),
        ("facets?fields=year", "query.fields", "did you mean field?"),
        ("documents/d1?refresh=true", "query.refresh", "leave it out"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(service: Service, address: str, where: str, hint: str) -> None:
    answer = service.request("GET", f"/v1/collections/my/{address}")
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert (error["code"], error["where"]) == ("invalid_request", where)
    assert hint in error["hint"]


@pytest.mark.parametrize(
    ("body", "where", "hint"),
    [
        ({"query": "a", "fliter": "year = 1"}, "body.fliter", "did you mean filter"),
        ({"query": "a", "limit": 3}, "body.limit", "did you mean k?"),
        ({"q": "a"}, "body.q", "did you mean query?"),
        ({"vector": {"a": 1}, "query": "a"}, "body.query", "not both"),
        ({"query": "a", "fusion": {"methd": "rrf"}}, "body.fusion.methd", "did you mean method"),
    ],
)
def test_fields_that_mean_nothing_are_refused(service: Service, body: Any, where: str, hint: str) -> None:
    answer = service.request("POST", PLACE, json=body)
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert (error["code"], error["where"]) == ("invalid_request", where)
    assert hint in error["hint"]


def test_filters_that_name_nothing_are_refused_unless_it_is_allowed(service: Service) -> None:
    wrong, place = 'yaer > 1950 or lang = "de"', "/v1/collections/my"
    asks = [
        ("search", {"query": "heat", "filter": wrong}),
        ("search/batch", {"queries": ["heat"], "filter": wrong}),
        ("count", {"filter": wrong}),
        ("documents/delete", {"filter": 'year = "1953"'}),
    ]
    for path, body in asks:
        answer = service.request("POST", f"{place}/{path}", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unknown_field"), path
        answer = service.request("POST", f"{place}/{path}", json=body | {"allow_unknown_fields": True})
        assert answer.status_code == 200, path
    assert answer.json()["deleted"] == 0
    assert search(service, query="heat", filter='id = "d1" or id = "d3"', k=5)["hits"]
    with service.client() as client:
        assert client.count("my", wrong, allow_unknown_fields=True) == client.count("my", 'lang = "de"') > 0
        hits = client.search("my", "heat", filter=wrong, allow_unknown_fields=True).hits
        assert {hit.metadata["lang"] for hit in hits if hit.metadata} == {"de"}


def test_metrics_tell_of_searches(service: Service) -> None:
    search(service, query="heat")
    text = service.request("GET", "/metrics").text
    assert (
        'lexhound_http_request_seconds_count{method="POST",route="/v1/collections/{name}/search",status="200"}' in text
    )
    assert f'lexhound_documents{{collection="my"}} {float(DOCUMENTS * 9 // 10 + 3)}' in text
    for name in ("encode_seconds_count", "search_seconds_bucket", "queue_depth 0.0", "segments", "ready 1.0"):
        assert f"lexhound_{name}" in text
