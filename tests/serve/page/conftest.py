"""A browser, and a server with collections to look at."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from page_notes import build_synonym_checkpoint, write_corpus
from page_server import PageServer, build_collection
from page_visits import Visits

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="package")
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
        launched = started.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield launched
        launched.close()


@pytest.fixture(scope="package")
def plain_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of one lexical collection: notes with attacks among them."""
    folder = tmp_path_factory.mktemp("plain")
    build_collection(write_corpus(folder / "attacked.jsonl", attacks=True), folder / "data" / "attacked.index")
    return folder / "data"


@pytest.fixture(scope="package")
def data(plain_data: Path, tmp_path_factory: pytest.TempPathFactory, samples: Path) -> Path:
    """A folder of three collections: the plain one, abstracts without metadata, and the notes with expansion."""
    folder = tmp_path_factory.mktemp("page")
    data = Path(shutil.copytree(plain_data, folder / "data"))
    build_collection(samples / "cranfield", data / "cranfield.index")
    checkpoint = build_synonym_checkpoint(folder / "synonyms")
    build_collection(write_corpus(folder / "notes.jsonl"), data / "notes.index", encoder=checkpoint)
    return data


@pytest.fixture(scope="package")
def server(data: Path) -> Iterator[PageServer]:
    """The service over the folder."""
    with PageServer(data) as running:
        yield running


@pytest.fixture
def visits(browser: Any) -> Iterator[Callable[[str], Visits]]:
    made: list[Visits] = []

    def make(base: str) -> Visits:
        made.append(Visits(browser, base))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def visit(visits: Callable[[str], Visits], server: PageServer) -> Visits:
    """Open a page of the shared server."""
    return visits(server.base)
