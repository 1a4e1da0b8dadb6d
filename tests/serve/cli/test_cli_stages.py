"""Commands over what is there already tell every stage as `index` does: what, and how many of how many."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from command import run

from lexhound.core.progress import Step
from lexhound.serve.cli import progress
from lexhound.serve.cli.progress import State, state_of

WORDS = ["wing", "flow", "heat", "shock", "plate", "drag", "lift", "nose"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection with dense vectors."""
    path = tmp_path_factory.mktemp("stages")
    texts = ({"_id": str(n), "text": f"{WORDS[n % 8]} {WORDS[n % 7]} {WORDS[n % 3]}"} for n in range(24))
    (path / "corpus.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts))
    made = run(
        "index", path / "corpus.jsonl", "--into", path / "my.index", "--dense", "lexhound-mini", "--precision", "int16"
    )
    assert made.code == 0, made.err
    return path / "my.index"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[State]:
    """What is told to the lines of a pipe."""
    states: list[State] = []
    really = progress.Lines.update

    def update(lines: progress.Lines, state: State) -> None:
        states.append(state)
        really(lines, state)

    monkeypatch.setattr(progress.Lines, "update", update)
    return states


def assert_told(states: list[State], *stages: str) -> None:
    """Check that some stages were told to their end, with figures."""
    whole = {state.stage: state for state in states if state.fraction == 1.0}
    assert set(stages) <= set(whole)


def test_each_command_tells_its_stages(directory: Path, tmp_path: Path, told: list[State]) -> None:
    for command, stages in (
        (("verify", directory), ("checking documents", "reading segments")),
        (("fit-static-queries", directory), ("reading documents", "splitting texts", "fitting")),
        (("compact", directory), ("checking documents",)),
        (("backup", directory, tmp_path / "copy"), ("copying", "reading segments")),
        (("restore", tmp_path / "copy", tmp_path / "back"), ("copying", "reading segments")),
        (("export", directory, "--format", "parquet", "--out", tmp_path / "out"), ("reading segments", "writing")),
        (("import", tmp_path / "out", "--into", tmp_path / "in"), ("importing",)),
    ):
        told.clear()
        outcome = run(*command)
        assert outcome.code == 0, outcome.err
        assert_told(told, *stages)


def test_compare_tells_its_stages(tmp_path: Path, told: list[State]) -> None:
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(f"{n}\td{n}\t1\n" for n in range(5)))
    for name in ("a", "b"):
        (tmp_path / f"{name}.trec").write_text("".join(f"{n} Q0 d{n} 1 1.0 {name}\n" for n in range(5)))
    outcome = run("compare", tmp_path / "a.trec", tmp_path / "b.trec", "--qrels", tmp_path / "qrels.tsv")
    assert outcome.code == 0, outcome.err
    assert_told(told, "reading runs", "measuring", "testing")


def test_a_pipe_gets_lines_with_rate_and_time_left(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lexhound.retrieval.collection import readable

    def slow(*arguments: object) -> list[object]:
        told = arguments[-1]
        assert callable(told)
        for done in range(0, 100, 25):
            told(Step("reading segments", done << 20, 100 << 20, "bytes"))
            time.sleep(0.1)
        return []

    monkeypatch.setattr(progress, "seconds_between_lines", lambda: iter([0.15, 0.1, 60.0]))
    monkeypatch.setattr(readable, "verify", slow)
    outcome = run("verify", directory)
    assert outcome.code == 0, outcome.err
    line = outcome.err.splitlines()[-1]
    assert line.startswith("reading segments: ")
    assert "MiB" in line
    assert "/s, " in line
    assert " left, after " in line


def test_bytes_are_shown_as_mebibytes() -> None:
    assert state_of(Step("copying", 5 << 20, 10 << 20, "bytes")) == State("copying", 5, fraction=0.5, unit="MiB")
    assert state_of(Step("testing", 5, None, "draws")) == State("testing", 5, unit="draws")
