"""A collection and a service that integrations are run against."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from service import Service, running

from lexhound.retrieval import Collection

DOCUMENTS = (
    {"id": "n1", "title": "Wings", "text": "The flow separates from a wing.", "year": 2024, "lang": "en"},
    {"id": "n2", "text": "Heat flows from hot to cold.", "year": 1987, "lang": "de", "tags": ["heat", "basics"]},
    {"id": "n3", "text": "A shock tube.", "year": 1958, "date": "1958-05-01T12:00:00"},
)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("integrations") / "data" / "notes.index"
    path.parent.mkdir()
    with Collection.create(path, encoder="bm25") as collection:
        collection.add(DOCUMENTS)
    return path


@pytest.fixture(scope="module")
def service(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service for a file's tests; those that write make collections of their own."""
    data = tmp_path_factory.mktemp("integrations-served") / "data"
    shutil.copytree(made, data / "notes.index")
    with running(data) as started:
        yield started


@pytest.fixture(params=["embedded", "served"])
def where(request: pytest.FixtureRequest, made: Path) -> dict[str, str]:
    """The arguments that name the collection `notes`, of a folder and of a service."""
    if request.param == "embedded":
        return {"where": str(made)}
    return {"where": request.getfixturevalue("service").url, "collection": "notes"}


@pytest.fixture(scope="session")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection of the bundled model, with dense vectors."""
    path = tmp_path_factory.mktemp("learned") / "c"
    with Collection.create(path, encoder="lexhound-mini", dense="lexhound-mini") as collection:
        collection.add(DOCUMENTS[:2])
    return path
