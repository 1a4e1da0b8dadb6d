"""Visits to the search page in a browser, for its tests."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from page_server import PageServer

# Violations of the content security policy are told to scripts, not to Playwright: here they become messages.
TELL = """
addEventListener('securitypolicyviolation', event => {
  console.error('CSP', event.violatedDirective, event.blockedURI);
});
"""
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
WIDE: dict[str, Any] = {"viewport": {"width": 1280, "height": 860}}


class Visits:
    """Opens pages, and keeps what goes wrong on them: messages, errors, and requests that leave the server."""

    def __init__(self, browser: Any, base: str) -> None:
        self._browser = browser
        self._contexts: list[Any] = []
        self.base = base
        self.troubles: list[str] = []
        self.expected: list[str] = []

    def __call__(self, address: str = "", *, scripts: tuple[str, ...] = (), **options: Any) -> Any:
        context = self._browser.new_context(**{**WIDE, "reduced_motion": "reduce", **options})
        self._contexts.append(context)
        page = context.new_page()
        for script in (TELL, *scripts):
            page.add_init_script(script)
        page.on("console", lambda message: self.troubles.append(message.text))
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("request", lambda request: request.url.startswith(self.base) or self.troubles.append(request.url))
        page.on("dialog", lambda dialog: self.troubles.append(f"dialog: {dialog.message}"))
        page.goto(f"{self.base}/{address}")
        return page

    def close(self) -> None:
        """Close everything; complain about what was not expected."""
        for context in self._contexts:
            context.close()
        left = [text for text in self.troubles if not any(part in text for part in self.expected)]
        assert not left, left


def until(page: Any, condition: str, argument: object = None, seconds: float = 30.0) -> None:
    """Wait for a JavaScript condition. Playwright's own way evaluates text in the page, which the page forbids."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(condition, argument):
        assert time.monotonic() < deadline, f"never came true: {condition}"
        page.wait_for_timeout(20)


def ids(page: Any) -> list[str]:
    return page.locator(".hit").evaluate_all("items => items.map(item => item.dataset.id)")


def wait_for_hits(page: Any, count: int | None = None) -> list[str]:
    page.locator(".hit").first.wait_for()
    if count is not None:
        until(page, "count => document.querySelectorAll('.hit').length === count", count)
    return ids(page)


def wait_for_search(page: Any, server: PageServer, collection: str, query: str, **options: Any) -> list[str]:
    """Wait until the page shows what the service finds for a query; return the ids."""
    answer = server.post(f"v1/collections/{collection}/search", {"query": query, "k": 10, **options})
    wanted = [hit["id"] for hit in answer["hits"]]
    found = "wanted => [...document.querySelectorAll('.hit')].map(hit => hit.dataset.id).join('\\n') === wanted"
    until(page, found, "\n".join(wanted))
    return wanted


def parameters(page: Any) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def focused(page: Any) -> str:
    return page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()")
