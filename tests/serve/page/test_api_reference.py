"""The page at /docs: all of the OpenAPI document, and nothing from anywhere else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser

import pytest
from service import Service, running

from lexhound.serve.page.reference import reference_page


class Reading(HTMLParser):
    """What of a page a browser would follow or run, and whether every element is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "link"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def attributes(self, *names: str) -> list[str]:
        return [str(attributes[name]) for _, attributes in self.tags for name in names if name in attributes]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    data = tmp_path_factory.mktemp("reference") / "data"
    data.mkdir()
    with running(data, "--api-key", "a-key-of-thirty-characters-and-more") as started:
        yield started


def test_page_tells_every_route_parameter_and_schema(service: Service) -> None:
    page = service.request("GET", "/docs").text
    document = service.request("GET", "/openapi.json").json()
    reading = Reading(page)
    assert reading.open == []
    ids = reading.attributes("id")
    assert len(ids) == len(set(ids))
    text = unescape(re.sub("<[^>]+>", "", page))
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            assert operation["operationId"] in ids
            assert f"{verb.upper()} {path}" in text
            assert operation["summary"] in text
            section = page.partition(f'<article id="{operation["operationId"]}"')[2].partition("</article>")[0]
            for each in operation.get("parameters", ()):
                assert f"<code>{each['name']}</code>" in section
            for status in operation["responses"]:
                assert f"<code>{status}</code>" in section
            assert ("Needs an API key." in section) == bool(operation.get("security"))
    for name, schema in document["components"]["schemas"].items():
        section = page.partition(f'<article id="schema-{name}"')[2].partition("</article>")[0]
        for field in schema.get("properties", ()):
            assert f"<code>{field}</code>" in section
    assert '"heat transfer"' in text, "an example"
    targets = {link.removeprefix("#") for link in reading.attributes("href") if link.startswith("#")}
    assert targets <= set(ids)


def test_page_needs_no_other_host_and_runs_nothing(service: Service) -> None:
    answer = service.request("GET", "/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    reading = Reading(answer.text)
    assert not [tag for tag, _ in reading.tags if tag in {"script", "iframe", "object", "img", "style"}]
    for _, attributes in reading.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    for link in reading.attributes("href", "src"):
        assert "//" not in link
        if not link.startswith("#"):
            assert service.request("GET", f"/{link.removeprefix('./')}").status_code == 200
    assert service.request("POST", "/docs").json()["error"]["code"] == "method_not_allowed"


def test_nothing_in_a_document_becomes_markup() -> None:
    evil = "<script>alert(1)</script>\"'`<b>`*<i>*"
    schema = {"type": "object", "description": evil, "properties": {evil: {"type": "string", "default": evil}}}
    operation = {
        "operationId": "evil", "summary": evil, "description": evil, "tags": ["t"],
        "parameters": [{"name": evil, "in": "query", "description": evil, "schema": {"enum": [evil], "pattern": evil}}],
        "requestBody": {"content": {evil: {"schema": {"$ref": "#/x/S"}, "example": {evil: evil}}}},
        "responses": {"200": {"description": evil}},
    }  # fmt: skip
    page = reference_page(
        {
            "info": {"title": evil, "version": evil, "description": evil},
            "tags": [{"name": "t", "description": evil}],
            "paths": {"/x": {"get": operation}},
            "components": {"schemas": {"S": schema}},
        }
    )
    reading = Reading(page)
    assert reading.open == []
    assert {tag for tag, _ in reading.tags}.isdisjoint({"script", "i"})
