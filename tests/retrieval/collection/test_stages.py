"""What long calls tell of their stages, and what is left where they are interrupted in any of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from lexhound.core.progress import OnStep, Step
from lexhound.retrieval import Collection, Document
from lexhound.retrieval.collection.backup import backup_collection, restore_collection
from lexhound.retrieval.collection.write import writer
from lexhound.retrieval.corpus import open_corpus
from lexhound.retrieval.exports import export_collection, import_export

WORDS = ["wing", "flow", "heat", "shock", "plate", "drag", "lift", "nose"]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A collection of three segments and some documents that are gone."""
    with Collection.create(tmp_path / "c", encoder="bm25") as collection:
        for part in range(3):
            numbers = range(100 * part, 100 * part + 100)
            collection.add(Document(str(n), f"{WORDS[n % 8]} {WORDS[n % 5]} {n}", metadata={"n": n}) for n in numbers)
            collection.maintain(1)
        collection.delete(["7", "150"])
    return tmp_path / "c"


def stages_of(run: Callable[[OnStep], Any]) -> list[str]:
    """Return the stages of a call in their order, and check that each one is counted up to its end."""
    told: list[Step] = []
    run(told.append)
    stages = [list(steps) for _, steps in groupby(told, key=lambda step: step.stage)]
    for steps in stages:
        assert [step.done for step in steps] == sorted(step.done for step in steps)
        assert len({(step.total, step.unit) for step in steps}) == 1
        assert steps[0].done == 0
        assert steps[-1].total is None or steps[-1].done == steps[-1].total
    return [steps[0].stage for steps in stages]


CHECKS = ["checking the database", "checking documents", "checking metadata", "reading segments", "comparing ids"]


def test_verify(directory: Path) -> None:
    with Collection.open(directory) as collection:
        assert stages_of(collection.verify) == CHECKS


def test_compact(directory: Path) -> None:
    with Collection.open(directory, writable=True) as collection:
        assert stages_of(collection.compact) == ["checking documents", "reading segments", "merging postings"]
        assert collection.verify() == []


def test_backup_and_restore(directory: Path, tmp_path: Path) -> None:
    stages = stages_of(lambda tell: backup_collection(directory, tmp_path / "copy", progress=tell))
    assert stages == ["copying", *CHECKS]
    stages = stages_of(lambda tell: restore_collection(tmp_path / "copy", tmp_path / "back", progress=tell))
    assert stages == ["copying", *CHECKS]


@pytest.mark.parametrize("form", ["ciff", "parquet", "qdrant"])
def test_export_and_import(directory: Path, tmp_path: Path, form: str) -> None:
    with Collection.open(directory) as collection:
        stages = stages_of(lambda tell: export_collection(collection, tmp_path / "out", form, progress=tell))
    assert stages == [*CHECKS, *(["writing lists", "writing records"] if form == "ciff" else ["writing"])]
    if form == "qdrant":
        stages = stages_of(lambda tell: import_export(tmp_path / "out", tmp_path / "in", progress=tell))
        assert stages == ["importing"]


def test_the_merge_of_an_ingest_job_tells_its_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "FLUSH_BYTES", 1)
    corpus = tmp_path / "corpus.jsonl"
    half = "".join(f'{{"id": "X{n}", "text": "{WORDS[n % 8]} {n}"}}\n' for n in range(100))
    corpus.write_text(f"{half}a bad row, before which what was read is kept\n{half.replace('X', 'Y')}")
    told: list[Any] = []
    with Collection.create(tmp_path / "c", encoder="bm25") as collection:
        collection.ingest(open_corpus(corpus), source="corpus", on_bad_row=lambda row: None, progress=told.append)
    steps = [each.step.stage for each in told if each.step is not None]
    assert "merging postings" in steps
    assert {each.phase for each in told if each.step is not None} == {"merging"}


def files_of(folder: Path) -> dict[str, str]:
    """Return a digest of each file of a folder, but for what every opening writes anew (logs of SQLite)."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix == ".bin"
    }


@pytest.mark.parametrize("stage", ["checking documents", "reading segments", "merging postings"])
def test_a_compaction_that_is_stopped_leaves_the_collection_as_it_was(directory: Path, stage: str) -> None:
    def stop(step: Step) -> None:
        if step.stage == stage:
            raise KeyboardInterrupt

    before = files_of(directory)
    with Collection.open(directory, writable=True) as collection, pytest.raises(KeyboardInterrupt):
        collection.compact(stop)
    assert files_of(directory) == before
    with Collection.open(directory, writable=True) as collection:
        assert collection.verify() == []
        assert collection.count() == 298
        assert collection.compact().dropped == 2


@pytest.mark.parametrize("stage", ["copying", "checking documents", "reading segments"])
def test_a_backup_that_is_stopped_leaves_nothing(directory: Path, tmp_path: Path, stage: str) -> None:
    def stop(step: Step) -> None:
        if step.stage == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup_collection(directory, tmp_path / "copy", progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
