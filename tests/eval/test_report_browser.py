"""Reports in a real browser: they show, they work, they fetch nothing, in light, dark, on a phone and on paper."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lexhound.eval.comparison import ComparisonOptions, compare
from lexhound.eval.datasets.folder import load_folder
from lexhound.eval.evaluation import EvaluationOptions, evaluate
from lexhound.eval.hardest import hardest_queries
from lexhound.eval.report.page import render_evaluation

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; where there is none the test says so and is skipped, but in CI it fails."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        reason = "needs a Chromium browser on the path (on Debian: apt-get install chromium)"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}; in CI it must be there")
        pytest.skip(reason)
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def report(samples: Path, tmp_path_factory: pytest.TempPathFactory, brute_force) -> Path:
    """A report of two systems on Cranfield, with an attack in a system's name."""
    dataset = load_folder(samples / "cranfield")
    systems = [brute_force("plain"), brute_force("flat <img src=x onerror=document.title='hacked'>", flat=True)]
    evaluation = evaluate([dataset], systems, EvaluationOptions(latency_queries=5, depth=100))
    runs = [part.run() for part in evaluation.parts]
    settings = ComparisonOptions(missing="zero", measures=evaluation.measures)
    comparison = compare(runs, dataset.qrels, settings, queries=dataset.queries, lookup=systems[0].texts)
    hardest = hardest_queries(evaluation, evaluation.datasets[0], lookup=systems[0].texts)
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_evaluation(evaluation, {dataset.name: comparison}, hardest), "utf-8")
    return path


@pytest.fixture
def open_page(browser: Any, report: Path) -> Iterator[Any]:
    """Open the report; whatever it complains about, and whatever it asks the network for, fails the test."""
    pages = []
    troubles: list[str] = []

    def open_(**settings: Any) -> Any:
        page = browser.new_page(**settings)
        pages.append(page)
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: request.url == report.as_uri() or troubles.append(request.url))
        page.goto(report.as_uri())
        return page

    yield open_
    for page in pages:
        page.close()
    assert troubles == []


def test_it_shows_and_nothing_was_injected(open_page: Any) -> None:
    page = open_page(viewport={"width": 1280, "height": 900})
    assert page.title() == "Evaluation on cranfield"
    assert page.locator("section").count() == 7
    assert page.locator("img").count() == 0
    assert page.locator("#results tbody tr:not(.set)").first.is_visible()
    assert page.evaluate("document.documentElement.classList.contains('js')"), "our script may run"


def test_columns_sort(open_page: Any) -> None:
    page = open_page()
    table = page.locator("#results table.sortable")
    head = table.locator("thead th").nth(1)

    def values() -> list[float]:
        return [
            float(cell)
            for cell in table.locator("tbody tr:not(.set) td:nth-child(2)").evaluate_all(
                "cells => cells.map(cell => cell.dataset.value)"
            )
        ]

    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert values() == sorted(values(), reverse=True)
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert values() == sorted(values())
    assert table.locator("tbody tr").first.get_attribute("class") == "set", "the data set's row stays on top"


def test_cost_axes_switch(open_page: Any) -> None:
    page = open_page()
    assert page.locator("#cost-flops").is_visible()
    assert not page.locator("#cost-p50_ms").is_visible()
    page.get_by_role("button", name="latency").click()
    assert page.locator("#cost-p50_ms").is_visible()
    assert not page.locator("#cost-flops").is_visible()


def test_queries_open(open_page: Any) -> None:
    page = open_page()
    for section in ("#queries", "#hardest"):
        details = page.locator(f"{section} details").first
        inside = details.locator(".inside")
        assert not inside.is_visible()
        details.locator("summary").click()
        assert inside.is_visible()


@pytest.mark.parametrize("width", [320, 390, 768])
def test_narrow_screens_do_not_scroll_sideways(open_page: Any, width: int) -> None:
    page = open_page(viewport={"width": width, "height": 800})
    page.evaluate("for (const element of document.querySelectorAll('details')) element.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(open_page: Any, scheme: str) -> None:
    """WCAG's 4.5 : 1 for all colours that text has, against the card it stands on."""
    page = open_page(color_scheme=scheme)
    ratios = page.evaluate(
        """() => {
          const numbers = text => text.match(/[\\d.]+/g).map(Number);
          const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
            .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
            .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
          const behind = element => {
            for (let e = element; e; e = e.parentElement) {
              const colour = numbers(getComputedStyle(e).backgroundColor);
              if (colour.length === 3 || colour[3] > 0) return colour;
            }
            return [255, 255, 255];
          };
          const found = {};
          const chosen = 'h1, h2, p, th, td, a, dt, dd, code, summary span, svg text';
          for (const element of document.querySelectorAll(chosen)) {
            if (!element.checkVisibility() || !element.textContent.trim()) continue;
            const style = getComputedStyle(element);
            const ink = numbers(element.closest('svg') ? style.fill : style.color);
            const [a, b] = [light(ink), light(behind(element))].sort((x, y) => y - x);
            const ratio = (a + 0.05) / (b + 0.05);
            found[style.color + ' ' + element.tagName + '.' + element.getAttribute('class')] = ratio;
          }
          return found;
        }"""
    )
    assert len(ratios) > 10
    assert {name: ratio for name, ratio in ratios.items() if ratio < 4.5} == {}


def test_dark_and_light_differ(open_page: Any) -> None:
    colours = {
        open_page(color_scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    }
    assert len(colours) == 2


def test_it_prints_with_everything_open(open_page: Any, tmp_path: Path) -> None:
    page = open_page()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    printed = page.pdf(path=str(tmp_path / "report.pdf"), format="A4")
    assert printed.startswith(b"%PDF")


def test_it_reads_without_scripts(browser: Any, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator("#cost-flops").is_visible()
    assert not page.locator(".switch").is_visible(), "buttons that would do nothing are not shown"
    page.locator("#hardest summary").first.click()
    assert page.locator("#hardest details .inside").first.is_visible()
    context.close()
