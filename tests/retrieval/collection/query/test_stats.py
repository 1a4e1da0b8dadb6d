"""The work that a search of a collection tells is that of all of its segments, added up."""

from __future__ import annotations

from pathlib import Path

from lexhound.index.topk import SearchStats
from lexhound.retrieval import Collection, Document


def test_work_adds_up() -> None:
    assert SearchStats(1, 2, 3) + SearchStats(10, 20, 30) == SearchStats(11, 22, 33)


def test_windows_of_all_segments_are_told(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", encoder="bm25") as collection:
        for first in (0, 3):
            collection.add([Document(f"d{n}", f"wing flow number{n}") for n in range(first, first + 3)])
            collection.maintain(1)
        segments = collection.snapshot().segments
        assert len(segments) == 2
        for query in ("wing", "wing AND flow"):
            assert collection.search(query, 2).stats.windows_entered == 2, query
