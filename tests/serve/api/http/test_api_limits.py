"""Limits: what is too large, too long, too many, too much at once; and that a limit harms nobody within it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from service import WORDS, Service, document, running

from lexhound.serve.client.async_client import AsyncClient


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    data = tmp_path_factory.mktemp("limits") / "data"
    data.mkdir()
    flags = {
        "max-body-bytes": 2000, "max-query-characters": 50, "max-vector-terms": 5, "max-k": 20, "max-depth": 60,
        "max-batch": 4, "search-threads": 1, "max-waiting": 3,
    }  # fmt: skip
    with running(data, *(part for name, value in flags.items() for part in (f"--{name}", str(value)))) as started:
        with started.client() as client:
            client.create_collection("my")
            client.put("my", [document(number) for number in range(3000)], refresh=True)
        yield started


@pytest.mark.parametrize(
    ("place", "body", "status", "where"),
    [
        ("search", {"query": "x" * 50}, 200, None),
        ("search", {"query": "x" * 51}, 422, "body.query"),
        ("search", {"query": "ä" * 50}, 200, None),
        ("search", {"query": "x", "filter": "a" * 51}, 422, "body.filter"),
        ("search", {"query": "x", "k": 20, "offset": 40}, 200, None),
        ("search", {"query": "x", "k": 21}, 422, "body.k"),
        ("search", {"query": "x", "offset": 41}, 422, "body.offset"),
        ("search", {"vector": {str(n): 1 for n in range(5)}}, 200, None),
        ("search", {"vector": {str(n): 1 for n in range(6)}}, 422, "body.vector"),
        ("search", {"query": "x", "fields": ["title"] * 1000}, 413, "body"),
        ("search/batch", {"queries": ["x"] * 4}, 200, None),
        ("search/batch", {"queries": ["x"] * 5}, 422, "body.queries"),
        ("search/batch", {"queries": ["x", "x" * 51]}, 422, "body.queries[1]"),
        ("search/batch", {"queries": []}, 422, "body.queries"),
        ("documents/delete", {"ids": ["x"] * 4}, 200, None),
        ("documents/delete", {"ids": ["x"] * 5}, 422, "body.ids"),
        ("documents/delete", {"filter": "a" * 51}, 422, "body.filter"),
        ("count", {"filter": "a" * 51}, 422, "body.filter"),
    ],
)
def test_limits(service: Service, place: str, body: dict[str, Any], status: int, where: str | None) -> None:
    answer = service.request("POST", f"/v1/collections/my/{place}", json=body)
    assert answer.status_code == status, answer.text
    if where is not None:
        assert answer.json()["error"]["where"] == where


def test_limits_are_in_the_document(service: Service) -> None:
    schemas = service.request("GET", "/openapi.json").json()["components"]["schemas"]
    text = schemas["TextSearch"]["properties"]
    assert (text["query"]["maxLength"], text["k"]["maximum"], text["offset"]["maximum"]) == (50, 20, 40)
    assert schemas["VectorSearch"]["properties"]["vector"]["maxProperties"] == 5
    assert schemas["BatchRequest"]["properties"]["queries"]["maxItems"] == 4


def test_a_body_too_long_is_refused_whether_its_length_is_told_or_not(service: Service) -> None:
    content = json.dumps({"query": "x" * 3000}).encode()
    url = f"{service.url}/v1/collections/my/search"
    headers = {"content-type": "application/json"}

    def parts() -> Iterator[bytes]:
        for start in range(0, len(content), 100):
            yield content[start : start + 100]

    for body in (content, parts()):
        answer = httpx.post(url, content=body, headers=headers)
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "too_large"


def test_too_many_at_once_are_sent_away_and_the_others_are_answered(service: Service) -> None:
    """One thread and three places to wait: of many at once some wait, the rest get 429 with a time to come back."""

    async def ask() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(base_url=service.url, limits=limits, timeout=60) as client:
            body = {"queries": [" ".join(WORDS)[:50]] * 4, "k": 20}
            place = "/v1/collections/my/search/batch"
            return await asyncio.gather(*(client.post(place, json=body) for _ in range(120)))

    answers: list[httpx.Response] = []
    for _ in range(20):  # on an idle machine a few rounds may fit
        answers += asyncio.run(ask())
        if any(answer.status_code == 429 for answer in answers):
            break
    counts = Counter(answer.status_code for answer in answers)
    assert set(counts) == {200, 429}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["error"]["code"] == "too_many_requests"
    assert int(refused.headers["retry-after"]) >= 1
    assert len({answer.text.partition(',"seconds"')[0] for answer in answers if answer.status_code == 200}) == 1
    # Afterwards it is as it was.
    assert service.request("GET", "/v1/collections/my/search?q=heat").status_code == 200


def test_a_client_waits_and_tries_again(service: Service) -> None:
    async def ask() -> None:
        async with AsyncClient(service.url, retries=50) as client:
            found = await asyncio.gather(*(client.search("my", "heat flow", k=20) for _ in range(40)))
        assert len({tuple(hit.id for hit in result.hits) for result in found}) == 1

    asyncio.run(ask())
