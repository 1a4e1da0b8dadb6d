"""The queue before the writer: a document that takes long does not hold up the others."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lexhound.retrieval import Collection
from lexhound.retrieval.documents.document import Document
from lexhound.serve.api.http.metrics import Metrics
from lexhound.serve.api.registry.write_queue import LONG_CHARACTERS, WriteQueue


@pytest.mark.slow
def test_others_write_while_a_long_document_is_taken_in(tmp_path: Path) -> None:
    text = " ".join(f"w{number}" for number in range(LONG_CHARACTERS // 5))
    assert len(text) > LONG_CHARACTERS
    Collection.create(tmp_path / "my.index").close()
    queue = WriteQueue(lambda: Collection.open(tmp_path / "my.index", writable=True), Metrics(), 100)

    async def write() -> int:
        long = asyncio.create_task(queue.put([Document("long", text), Document("beside", "w1")]))
        between = 0
        while not long.done():
            assert await queue.put([Document(f"short-{between}", "w7")]) == ["added"]
            between += not long.done()
        assert await long == ["added", "added"]
        assert await queue.put([Document("long", text)]) == ["unchanged"]
        return between

    between = asyncio.run(write())
    queue.close()
    assert between >= 4  # once between any two steps
    with Collection.open(tmp_path / "my.index") as collection:
        assert collection.count() >= between + 2
        for number in (0, 7, LONG_CHARACTERS // 5 - 1):
            assert "long" in [hit.id for hit in collection.search(f"w{number}", 1000).hits]
        assert collection.verify() == []
