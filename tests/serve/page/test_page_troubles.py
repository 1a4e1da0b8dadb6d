"""The search page when something is wrong: keys, faults, a server that is busy, gone or empty."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from page_server import PageServer
from page_visits import Visits, focused, wait_for_hits

pytestmark = pytest.mark.browser

KEY = "a-key-for-tests-of-the-page-only"


def test_a_server_that_went_away_and_comes_back(visits: Callable[[str], Visits], plain_data: Path) -> None:
    with PageServer(plain_data) as server:
        visit = visits(server.base)
        visit.expected += ["ERR_CONNECTION", "ERR_EMPTY_RESPONSE", "net::"]
        page = visit("?c=attacked&q=heat")
        wait_for_hits(page)
        server.stop()
        page.locator("#query").fill("heat pump")
        page.get_by_role("heading", name="The server does not answer").wait_for()
        assert page.locator("#query").input_value() == "heat pump"
        server.start()
        page.get_by_role("button", name="Try again").click()
        assert wait_for_hits(page)[0] == "heat-pump"


@pytest.mark.parametrize(("status", "heading"), [(429, "The server is busy"), (503, "Not available at the moment")])
def test_a_busy_server_is_asked_again(visit: Visits, status: int, heading: str) -> None:
    """The answer comes from the network's edge: a server cannot be made busy for exactly one request."""
    visit.expected.append(str(status))
    page = visit("?c=notes")
    asked: list[str] = []
    error = {
        "code": "x",
        "message": "too many requests are waiting",
        "where": None,
        "hint": "try again",
        "request_id": "r",
    }

    def once(route: Any) -> None:
        asked.append(route.request.url)
        if len(asked) == 1:
            route.fulfill(status=status, headers={"retry-after": "3"}, json={"error": error})
        else:
            route.continue_()

    page.route("**/search", once)
    page.locator("#query").fill("heat")
    page.get_by_role("heading", name=heading).wait_for()
    assert "Asking again in 3 seconds" in page.locator("#notice").inner_text()
    wait_for_hits(page)
    assert len(asked) == 2


def test_a_fault_of_the_server_is_told_with_its_request(visit: Visits) -> None:
    visit.expected.append("500")
    page = visit("?c=notes")
    error = {"code": "internal", "message": "something failed", "where": None, "hint": None, "request_id": "abc-123"}
    page.route("**/search", lambda route: route.fulfill(status=500, json={"error": error}))
    page.keyboard.type("heat")
    page.get_by_role("heading", name="Something went wrong in the server").wait_for()
    assert "abc-123" in page.locator("#notice").inner_text()
    page.unroute("**/search")
    page.get_by_role("button", name="Try again").click()
    wait_for_hits(page)


def test_a_query_that_is_too_long_is_told_what_to_do(visit: Visits) -> None:
    visit.expected.append("422")
    page = visit("?c=notes")
    page.locator("#query").fill("heat " * 4000)
    page.get_by_role("heading", name="The server could not take this search").wait_for()
    page.locator("#query").fill("heat")
    wait_for_hits(page)


def test_a_key_is_asked_for_and_kept_for_the_tab(visits: Callable[[str], Visits], plain_data: Path) -> None:
    with PageServer(plain_data, LEXHOUND_API_KEY=KEY) as server:
        visit = visits(server.base)
        visit.expected.append("401")
        page = visit("?c=attacked&q=heat")
        page.get_by_role("heading", name="This server asks for an API key").wait_for()
        assert focused(page) == "key"
        page.keyboard.type("not-the-key-at-all-really")
        page.keyboard.press("Enter")
        page.get_by_text("The key was not accepted").wait_for()
        page.keyboard.type(KEY)
        page.keyboard.press("Enter")
        wait_for_hits(page)
        assert KEY not in page.url
        page.reload()
        wait_for_hits(page)
        page.get_by_role("button", name="Keyboard shortcuts").click()
        page.get_by_role("button", name="Forget key and tenant").click()
        page.get_by_role("heading", name="This server asks for an API key").wait_for()


def test_an_empty_server_says_how_to_begin(visits: Callable[[str], Visits], tmp_path: Path) -> None:
    with PageServer(tmp_path) as server:
        page = visits(server.base)()
        page.get_by_role("heading", name="No collection yet").wait_for()
        server.post("v1/collections", {"name": "my"}, status=201)
        page.reload()
        page.get_by_role("heading", name="Nothing to search yet").wait_for()
        assert f"{server.base}/v1/collections/my/documents?refresh=true" in page.locator("pre").inner_text()
        server.post(
            "v1/collections/my/documents?refresh=true", [{"id": "1", "title": "Hello", "text": "A first document"}]
        )
        page.reload()
        page.locator("#query:focus").wait_for()
        page.keyboard.type("first")
        assert wait_for_hits(page) == ["1"]
