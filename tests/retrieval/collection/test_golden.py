"""Collections that earlier versions made must open, and answer as they did."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from repository import GOLDEN, TINY_DENSE, TINY_LATE

from lexhound.retrieval import Collection, Document
from lexhound.retrieval.collection.reranking.options import Rerank
from lexhound.retrieval.collection.store.manifest import FORMAT
from lexhound.retrieval.tenants.view import TenantCollection

# Of the collections with dense vectors; they name it without a path.


def test_every_format_has_its_golden_collection() -> None:
    assert sorted(path.name for path in GOLDEN.iterdir() if path.is_dir()) == [f"format-{n + 1}" for n in range(FORMAT)]


@pytest.mark.parametrize("name", [f"format-{number + 1}" for number in range(FORMAT)])
def test_a_golden_collection_answers_as_it_did_and_can_be_changed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    shutil.copytree(GOLDEN / name, path)
    for model in (TINY_DENSE, TINY_LATE):
        shutil.copytree(model, tmp_path / model.name)
    monkeypatch.chdir(tmp_path)
    expected = json.loads((GOLDEN / f"{name}.json").read_text())
    with Collection.open(path) as opened:
        collection = _answering(opened, expected)
        assert collection.count() == expected["documents"]
        assert opened.verify() == []
        for query, hits in expected["searches"].items():
            assert [[hit.id, hit.score] for hit in collection.search(query, len(hits), mode="sparse").hits] == hits
        for query, passages in expected.get("passages", {}).items():
            found = collection.search(query, len(passages), mode="sparse").hits
            places = [hit.passage and [hit.passage.number, hit.passage.start, hit.passage.end] for hit in found]
            assert places == passages
        for query, hits in expected.get("dense", {}).items():
            found = collection.search(query, len(hits), mode="dense").hits
            # The model runs in the precision that suits the machine.
            assert [hit.score for hit in found] == pytest.approx([score for _, score in hits], abs=0.02)
            assert found[0].id == hits[0][0]
        for query, hits in expected.get("late", {}).items():
            found = collection.search(query, len(hits), mode="sparse", rerank=Rerank("late", weight=0.5)).hits
            assert {hit.id: hit.late_score for hit in found} == pytest.approx(dict(hits), abs=0.02)
    with Collection.open(path, writable=True) as opened:
        collection = _answering(opened, expected)
        collection.add([Document("new", "zeppelin")])
        opened.compact()
        ids = [hit.id for hit in collection.search("zeppelin", mode="sparse").hits]
        assert ("new" in ids) if "late" in expected else (ids == ["new"])  # a tiny model spells it by letters
        assert collection.count("number >= 20") == 5
        assert opened.verify() == []


def _answering(opened: Collection, expected: dict[str, Any]) -> Collection | TenantCollection:
    """What answers: a tenant's part of a collection with tenants."""
    return opened.for_tenant(expected["tenant"]) if "tenant" in expected else opened
