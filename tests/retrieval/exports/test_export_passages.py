"""Exports of documents in passages: a row a passage, and the same collection again when it is read back."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from tiny_checkpoints import build_tiny_embedding_model

from lexhound.encoders.dense.settings import DenseSettings
from lexhound.retrieval import Collection, Document
from lexhound.retrieval.errors import ExportError
from lexhound.retrieval.exports.importing import import_export
from lexhound.retrieval.exports.passages import NAME
from lexhound.retrieval.exports.writing import export_collection

WORDS = ["wing", "heat", "flow", "shock", "plate", "layer"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("split")
    generator = random.Random(3)
    model = str(build_tiny_embedding_model(folder / "model"))
    settings = DenseSettings(device="cpu", precision="float32")
    with Collection.create(folder / "c", encoder="bm25", dense=model, dense_settings=settings, passages="16/4") as made:
        for number in range(12):
            sentences = [" ".join(generator.choices(WORDS, k=5)) for _ in range(generator.choice([1, 8]))]
            made.add([Document(f"d#{number}", ". ".join(sentences), title="On heat", metadata={"n": number})])
        made.compact()
        made.delete(["d#3"])
        made.add([Document("late", "Heat. " * 40)])
        made.compact()  # so that all weights are of one average length
    return folder / "c"


@pytest.mark.parametrize("format", ["anserini", "opensearch", "qdrant", "parquet"])
def test_an_import_gives_the_same_documents_passages_and_scores(source: Path, tmp_path: Path, format: str) -> None:
    with Collection.open(source) as collection:
        report = export_collection(collection, tmp_path / "out", format)
        assert (report.header.documents, report.header.rows) == (12, collection.snapshot().n_rows)
        imported = import_export(tmp_path / "out", tmp_path / "back")
        assert imported.documents == 12
        with Collection.open(tmp_path / "back") as back:
            assert back.verify() == []
            assert back.info().split == collection.info().split
            assert str(back.manifest.passages) == "16/4"
            for query in ("heat flow", "wing"):
                expected = collection.search(query, 20, mode="sparse").hits
                found = back.search(query, 20, mode="sparse").hits
                places = [(hit.id, hit.score, hit.passage, hit.text, hit.metadata) for hit in found]
                assert places == [(hit.id, hit.score, hit.passage, hit.text, hit.metadata) for hit in expected]


def test_every_row_has_a_name_of_its_own_and_the_text_of_its_passage(source: Path, tmp_path: Path) -> None:
    with Collection.open(source) as collection:
        export_collection(collection, tmp_path / "out", "anserini")
        hit = collection.search("heat", 1, mode="sparse").hits[0]
    lines = next((tmp_path / "out" / "documents").iterdir()).read_text().splitlines()
    rows = {row["id"]: row for row in map(json.loads, lines)}
    assert len(rows) == len(lines)
    assert hit.passage is not None
    assert rows[f"{hit.id}#{hit.passage.number}"]["contents"] == hit.passage.text


def test_ciff_keeps_which_rows_are_of_which_document(tmp_path: Path, source: Path) -> None:
    with Collection.open(source) as collection:
        export_collection(collection, tmp_path / "out", "ciff")
        split = collection.info().split
    rows = [json.loads(line) for line in (tmp_path / "out" / NAME).read_text().splitlines()]
    assert len(rows) == split
    assert all(row["text"] == "" and len(row["spans"]) > 1 for row in rows)


def test_a_name_that_a_passage_would_have_is_refused(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", encoder="bm25", passages="16") as made:
        made.add([Document("a", "Heat. " * 40), Document("a#1", "wing")])
        with pytest.raises(ExportError, match="'a#1' has the name that a passage"):
            export_collection(made, tmp_path / "out", "qdrant")
        assert not (tmp_path / "out").exists()


def test_a_row_that_is_missing_is_told(source: Path, tmp_path: Path) -> None:
    with Collection.open(source) as collection:
        export_collection(collection, tmp_path / "out", "anserini")
    path = tmp_path / "out" / NAME
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0]["spans"].append([0, 1])
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ExportError, match=r"rows of the document .* are missing"):
        import_export(tmp_path / "out", tmp_path / "back")
    assert not (tmp_path / "back").exists()
