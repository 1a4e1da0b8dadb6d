"""The search page over a collection in another engine: it searches, opens documents, and asks for nothing in vain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command import run
from page_notes import write_corpus
from page_server import PageServer
from page_visits import Visits, wait_for_hits

from lexhound.retrieval.engines.lucene import java
from lexhound.retrieval.errors import MissingEngineError


def _missing() -> str:
    try:
        java.find_java()
    except MissingEngineError as error:
        return error.message
    return ""


MISSING = _missing()
pytestmark = [pytest.mark.skipif(bool(MISSING), reason=MISSING or "it is there"), pytest.mark.browser]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    """The service over a Lucene index of the notes."""
    folder: Path = tmp_path_factory.mktemp("elsewhere")
    address = f"lucene:{folder}/notes.lucene"
    made = run("index", write_corpus(folder / "notes.jsonl"), "--into", address, "--encoder", "bm25")
    assert made.code == 0, made.err
    with PageServer(address) as running:
        yield running


def test_the_page_searches_a_collection_of_another_engine(
    visits: Callable[[str], Visits], elsewhere: PageServer
) -> None:
    page = visits(elsewhere.base)("?q=heat")
    answer = elsewhere.post("v1/collections/notes/search", {"query": "heat", "k": 10, "explain": True})
    assert wait_for_hits(page) == [hit["id"] for hit in answer["hits"]]
    first = page.locator(".hit").first
    assert first.locator(".snippet mark").count() >= 1
    first.get_by_role("button", name="Why it matched").click()
    terms = first.locator(".terms tbody tr .term").all_inner_texts()
    assert terms == [part["term"] for part in answer["hits"][0]["contributions"]]
    assert page.locator(".facet").count() == 0


def test_a_filter_that_the_engine_refuses_is_told_on_the_page(
    visits: Callable[[str], Visits], elsewhere: PageServer
) -> None:
    visit = visits(elsewhere.base)
    visit.expected.append("400")  # the browser tells of it too
    page = visit("?q=heat&filter=year%20%3E%201990")
    page.get_by_text("does not offer filters", exact=False).first.wait_for()
