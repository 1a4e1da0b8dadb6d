"""The search page: its looks on every screen, what is sent, and the pictures for the documentation."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from page_server import PageServer
from page_visits import PHONE, Visits, until, wait_for_hits

SCREENSHOTS = "LEXHOUND_SCREENSHOTS"


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_width_scrolls_sideways(visit: Visits, width: int) -> None:
    page = visit("?c=attacked&q=heat+attack", viewport={"width": width, "height": 800})
    wait_for_hits(page)
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    page.get_by_role("button", name="Explain all").click()
    widest = """Math.max(...[document.documentElement, ...document.querySelectorAll('main, aside, dialog, .scroll')]
      .map(element => element.getBoundingClientRect().left + Math.max(element.scrollWidth, element.clientWidth)))"""
    assert page.evaluate(widest) <= width
    page.locator(".hit a").first.click()
    page.get_by_role("dialog").locator(".text").wait_for()
    page.wait_for_timeout(50)
    assert page.evaluate(widest) <= width


def test_filters_fold_on_a_phone(visit: Visits) -> None:
    page = visit("?c=attacked&q=heat", **PHONE)
    wait_for_hits(page)
    assert not page.locator("#filter").is_visible()
    page.locator("#filters > summary").tap()
    page.get_by_role("checkbox", name="physics").tap()
    until(page, "document.querySelector('#filter').value === 'topic = \"physics\"'")
    assert page.locator("#filter-count").inner_text() == "1"


CONTRAST = """() => {
  const canvas = Object.assign(document.createElement('canvas'), { width: 1, height: 1 });
  const pixel = canvas.getContext('2d', { willReadFrequently: true });
  const numbers = colour => {
    pixel.clearRect(0, 0, 1, 1);
    pixel.fillStyle = colour;
    pixel.fillRect(0, 0, 1, 1);
    return [...pixel.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = numbers(getComputedStyle(e).backgroundColor);
      if (colour[3] > 200) return colour;
    }
    return numbers(getComputedStyle(document.body).backgroundColor);
  };
  const low = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    if (element.closest('.unseen, noscript, .skip')) continue;
    const [one, two] = [light(numbers(getComputedStyle(element).color)), light(behind(element))];
    const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    if (ratio < 4.5) low.push([ratio, walker.currentNode.data.trim()]);
  }
  return low;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(visit: Visits, scheme: str) -> None:
    """WCAG's 4.5 : 1 for every text that is shown, against what is behind it."""
    page = visit("?c=notes&q=heat+doctor", color_scheme=scheme)
    wait_for_hits(page)
    page.locator(".opener").first.click()
    assert page.evaluate(CONTRAST) == []
    page.locator(".hit a").first.click()
    page.get_by_role("dialog").locator(".text").wait_for()
    assert page.evaluate(CONTRAST) == []
    page.keyboard.press("Escape")
    page.locator("#query").fill("zzzz")
    page.locator(".notice").wait_for()
    assert page.evaluate(CONTRAST) == []


def test_colours_follow_the_system_until_somebody_chooses(visit: Visits) -> None:
    page = visit("?c=notes", color_scheme="dark")
    brightness = """() => {
      const [red, green, blue] = getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number);
      return red + green + blue;
    }"""
    assert page.evaluate(brightness) < 200
    page.get_by_role("button", name="Colours: like the system").click()
    assert page.evaluate(brightness) > 600
    page.reload()
    assert page.get_by_role("button", name="Colours: light").is_visible()
    assert page.evaluate(brightness) > 600
    page.emulate_media(color_scheme="light")
    page.get_by_role("button", name="Colours: light").click()
    assert page.evaluate(brightness) < 200


def test_the_page_is_sent_under_a_strict_policy(server: PageServer) -> None:
    for path in ("", "page/app.js", "page/base.css", "page/icon.svg"):
        headers = server.head(path)
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-cache"
    etag = server.head("")["etag"]
    assert server.status("", {"if-none-match": f'"other", W/{etag}'}) == 304
    assert server.status("", {"if-none-match": '"other"'}) == 200


@pytest.mark.parametrize("name", ["page/none.js", "page/..%2f__init__.py", "page/__init__.py", "page/", "page/%00"])
def test_nothing_else_is_served(server: PageServer, name: str) -> None:
    assert server.status(name) == 404


def test_the_page_names_no_other_origin(root: Path) -> None:
    for path in (root / "serve" / "page" / "static").iterdir():
        found = set(re.findall(r"(?:https?:)?//[\w.-]+\.[a-z]+", path.read_text("utf-8")))
        assert found <= {"http://www.w3.org"}, path
        assert "innerHTML" not in path.read_text("utf-8")


@pytest.mark.skipif(
    not os.environ.get(SCREENSHOTS), reason=f"takes the pictures in docs/images where {SCREENSHOTS} is set"
)
def test_take_screenshots(visits: Callable[[str], Visits], server: PageServer, root: Path) -> None:
    folder = root / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    visit = visits(server.base)

    def open_first(page: Any) -> None:
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowRight")

    def document(page: Any) -> None:
        page.get_by_role("dialog").locator(".text mark").first.wait_for()

    expanded, filtered = "?c=notes&q=heat+doctor", "?c=notes&q=heat&filter=lang+%3D+%22en%22+and+year+%3E%3D+1990"
    pictures: list[tuple[str, str, Callable[[Any], None], dict[str, Any]]] = [
        ("page-light", expanded, open_first, {}),
        ("page-dark", expanded, open_first, {"color_scheme": "dark"}),
        ("page-filters", filtered, lambda page: None, {}),
        ("page-document", "?c=notes&q=heat+doctor&doc=fever", document, {}),
        (
            "page-arabic",
            f"?c=notes&q={quote('الحرارة')}",
            lambda page: page.locator(".opener").first.click(),
            {"color_scheme": "dark"},
        ),
        ("page-phone", expanded, lambda page: page.locator(".opener").first.tap(), PHONE),
        ("page-phone-dark", f"{expanded}&doc=fever", document, {**PHONE, "color_scheme": "dark"}),
    ]
    for name, address, prepare, options in pictures:
        page = visit(address, **options)
        wait_for_hits(page)
        page.locator("#facets details").first.wait_for(state="attached")
        prepare(page)
        page.wait_for_timeout(300)
        path = folder / f"{name}.png"
        page.screenshot(path=path)
        assert path.stat().st_size < 200_000, path
