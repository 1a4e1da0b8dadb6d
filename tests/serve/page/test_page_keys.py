"""The search page by keyboard alone, and for those who hear it."""

from __future__ import annotations

import pytest
from page_notes import NOTES
from page_server import PageServer
from page_visits import Visits, focused, parameters, until, wait_for_hits, wait_for_search

pytestmark = pytest.mark.browser


def test_everything_by_keyboard_alone(visit: Visits, server: PageServer) -> None:
    page = visit("?c=attacked")
    press = page.keyboard.press
    page.keyboard.type("heat", delay=15)
    found = wait_for_search(page, server, "attacked", "heat")
    page.get_by_role("checkbox", name="physics").wait_for()
    press("ArrowDown")
    titles = page.locator(".hit h2").all_inner_texts()
    assert focused(page) == titles[0]
    press("ArrowDown")
    press("ArrowDown")
    press("ArrowUp")
    assert focused(page) == titles[1]
    outline = "getComputedStyle(document.activeElement.closest('.hit')).boxShadow"
    assert page.evaluate(outline) != "none", "the focus can be seen"

    press("ArrowRight")
    why = page.locator(".hit").nth(1).locator(".why")
    why.wait_for()
    assert page.locator(".hit").nth(1).locator(".opener").get_attribute("aria-expanded") == "true"
    press("ArrowLeft")
    assert not why.is_visible()

    press("Enter")
    dialog = page.get_by_role("dialog")
    assert dialog.get_by_role("heading", level=2).inner_text() == titles[1]
    text = next(note["text"] for note in NOTES if note["_id"] == found[1])
    dialog.get_by_text(text[:60]).wait_for()
    assert parameters(page)["doc"] == found[1]
    press("Escape")
    assert not page.get_by_role("dialog").is_visible()
    until(page, "!location.search.includes('doc=')")
    assert focused(page) == titles[1], "the focus is back where it was"

    press("f")
    assert page.evaluate("document.activeElement.type") == "checkbox"
    press("Space")
    until(page, "document.querySelector('#filter').value !== ''")
    assert page.evaluate("document.activeElement.checked") is True
    expression = page.locator("#filter").input_value()
    wait_for_search(page, server, "attacked", "heat", filter=expression)
    press("Space")
    assert wait_for_search(page, server, "attacked", "heat") == found

    press("Escape")
    assert focused(page) == "query"
    page.keyboard.type("the")  # the old query is selected: typing replaces it
    assert page.locator("#query").input_value() == "the"
    press("Control+a")
    page.keyboard.type("heat water")
    wait_for_search(page, server, "attacked", "heat water")
    press("ArrowDown")
    press("e")
    assert page.locator(".hit .why:visible").count() == page.locator(".hit").count()
    press("e")
    assert page.locator(".hit .why:visible").count() == 0
    press("?")
    page.get_by_role("dialog", name="Keyboard").wait_for()
    press("Escape")
    assert not page.get_by_role("dialog").is_visible()
    press("End")
    assert focused(page) == page.locator(".hit h2").last.inner_text()
    press("/")
    assert focused(page) == "query"


def test_pages_by_keyboard(visit: Visits) -> None:
    page = visit("?c=cranfield&q=boundary+layer")
    wait_for_hits(page, 10)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    page.keyboard.press("ArrowDown")
    assert focused(page) == "more"
    page.keyboard.press("Enter")
    wait_for_hits(page, 20)
    until(page, "document.activeElement.closest('.hit') === document.querySelectorAll('.hit')[10]")
    page.keyboard.press("m")
    wait_for_hits(page, 30)


def test_the_page_is_named_for_those_who_hear_it(visit: Visits) -> None:
    page = visit("?c=notes&q=heat")
    wait_for_hits(page)
    for role, name in (("search", None), ("searchbox", "Search"), ("main", None), ("list", "Results")):
        page.get_by_role(role, **({"name": name} if name else {})).first.wait_for()
    assert (
        page.locator("button, select, input, textarea, a").evaluate_all(
            """elements => elements.filter(element => element.checkVisibility())
          .filter(element => !(element.ariaLabel || element.textContent.trim() || element.labels?.length))
          .map(element => element.outerHTML)"""
        )
        == []
    )
    article = page.get_by_role("article").first
    assert article.get_attribute("aria-labelledby") == article.get_by_role("heading").get_attribute("id")
