"""Requests and results: checked when they are made, one set of names for every door."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from lexhound.retrieval.collection.request import (
    MAX_K,
    MAX_QUERY_CHARACTERS,
    BatchKeywords,
    BatchRequest,
    Fusion,
    SearchKeywords,
    SearchRequest,
)
from lexhound.retrieval.collection.result import Hit
from lexhound.retrieval.errors import QueryError
from lexhound.serve.client.transport import BatchOptions, SearchOptions, batch_body, search_body


def test_keywords_are_the_attributes_of_requests() -> None:
    searched = {field.name for field in fields(SearchRequest)}
    assert set(SearchKeywords.__annotations__) == searched - {"query", "k"}
    assert set(BatchKeywords.__annotations__) == {field.name for field in fields(BatchRequest)} - {"queries", "k"}
    assert set(SearchOptions.__annotations__) == searched - {"query", "snippet_characters"}
    assert set(BatchOptions.__annotations__) <= {field.name for field in fields(BatchRequest)}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"k": 0}, "k is 0"),
        ({"k": MAX_K + 1}, "k is 100,001"),
        ({"k": "10"}, "k is '10'"),
        ({"k": True}, "k is True"),
        ({"offset": -1}, "offset is -1"),
        ({"offset": 1.5}, "offset is 1.5"),
        ({"offset": MAX_K}, "offset is 100,000"),
        ({"mode": "fuzzy"}, "the mode is 'fuzzy'"),
        ({"filter": 3}, "the filter is 3"),
        ({"recall": 0}, "recall is 0;"),
        ({"recall": float("nan")}, "recall is nan"),
        ({"recall": "high"}, "recall is 'high'"),
        ({"fusion": "rrf"}, "the fusion is 'rrf'"),
        ({"fields": ["title", "author"]}, "'author' is not a field|'author' is no field"),
        ({"query": "x" * (MAX_QUERY_CHARACTERS + 1)}, "the query has 50,001 characters"),
        ({"query": 7}, "the query is int"),
        ({"query": {"heat": 0.0}}, "a weight of the query vector"),
        ({"query": {"heat": float("nan")}}, "a weight of the query vector"),
        ({"query": {"\ud800": 1.0}}, "half of a surrogate pair"),
    ],
)
def test_what_no_collection_could_answer_is_refused(options: dict[str, Any], named: str) -> None:
    with pytest.raises(QueryError, match=named):
        SearchRequest(**{"query": "heat"} | options)
    if options.keys() <= {"k", "mode", "filter", "recall", "fusion"}:
        with pytest.raises(QueryError, match=named):
            BatchRequest(["heat"], **options)


def test_keywords_take_the_place_of_what_a_request_says() -> None:
    request = SearchRequest("heat", k=5, explain=True)
    assert SearchRequest.of(request, None, {}) is request
    assert SearchRequest.of(request, 7, {"offset": 2}) == SearchRequest("heat", k=7, offset=2, explain=True)
    assert SearchRequest.of("heat", None, {}) == SearchRequest("heat", k=10)
    assert BatchRequest.of(BatchRequest(["heat"]), 3, {"threads": 1}) == BatchRequest(["heat"], k=3, threads=1)
    with pytest.raises(TypeError, match="depth"):
        SearchRequest.of("heat", None, {"depth": 3})  # type: ignore[typeddict-unknown-key]


def test_a_client_sends_a_request_as_the_service_reads_it() -> None:
    fusion = Fusion(method="rrf")
    sent = search_body(SearchRequest("heat", k=5, fusion=fusion), {"explain": True})
    assert (sent["query"], sent["k"], sent["explain"], sent["fusion"]["method"]) == ("heat", 5, True, "rrf")
    assert "filter" not in sent
    assert search_body({"heat": 1.0}, {"k": None}) == {"vector": {"heat": 1.0}}
    assert batch_body(["heat"], {"k": 3, "filter": None}) == {"queries": ["heat"], "k": 3}


def test_a_hit_gives_its_document_and_its_explanation_by_both_names() -> None:
    hit = Hit(1, "a", 2.5, title="heat", text="transfer", metadata={"year": 1960})
    assert (hit.document.encoded_text, hit.document.metadata) == ("heat transfer", {"year": 1960})
    assert Hit(1, "a", 2.5).document.text == ""
    assert hit.contributions is hit.explanation is None
