"""A small collection that commands are run against."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import Outcome, lines, run

ESCAPES = "\x1b[31mred\x1b[0m \x1b]0;owned\x07 \u202eturned\u202c \x9b2J"
DOCUMENTS = (
    {"id": "heat-1", "title": "Heat transfer", "text": "Heat transfer in hypersonic flow.", "year": 1958, "lang": "en"},
    {"id": "heat-2", "title": "Heating", "text": "Heating of a wing in a slipstream.", "year": 1990, "lang": "en"},
    {"id": "wing", "text": "A wing in a slipstream.", "year": 1991, "lang": "en", "authors": ["Ann", "Bo"]},
    {"id": "ar", "title": "انتقال الحرارة", "text": "انتقال الحرارة في التدفق", "year": 2001, "lang": "ar"},
    {"id": "zh", "title": "传热", "text": "高超音速流动中的传热", "year": 2002, "lang": "zh"},
    {"id": "evil", "title": f"escape {ESCAPES}", "text": f"An escape hatch {ESCAPES}", "note": ESCAPES},
)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    path.write_bytes(lines(*DOCUMENTS))
    return path


@pytest.fixture(scope="session")
def collection(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection for tests that only read."""
    path = tmp_path_factory.mktemp("shared") / "my.index"
    outcome = run("index", corpus, "--into", path)
    assert outcome.code == 0, outcome.err
    return path


@pytest.fixture
def copy(collection: Path, tmp_path: Path) -> Path:
    """A collection for tests that write."""
    return Path(shutil.copytree(collection, tmp_path / "my.index"))


@pytest.fixture
def fails() -> Callable[..., None]:
    """Run a command that has to fail in the way every failure is told."""

    def check(*arguments: str | Path, code: int, says: str, by: Callable[..., Outcome] = run, **options: Any) -> None:
        outcome = by(*arguments, **options)
        assert outcome.code == code, outcome
        assert says in outcome.err
        assert outcome.err.startswith("error: ")
        assert outcome.err.count("error:") == 1
        assert "Traceback" not in outcome.err
        assert outcome.out == ""

    return check
