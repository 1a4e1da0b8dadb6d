"""Collections whose dense queries go through a table: made, kept, used without the model, dropped."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command import run
from tiny_checkpoints import build_tiny_embedding_model

from lexhound.core.errors import ReadOnlyError
from lexhound.encoders.dense.encoder import DenseEncoder
from lexhound.encoders.dense.settings import DenseSettings
from lexhound.encoders.dense.static_queries import fit
from lexhound.encoders.errors import CheckpointError
from lexhound.retrieval import Collection, Document
from lexhound.retrieval.errors import QueryError

SETTINGS = DenseSettings(device="cpu", precision="float32")
WORDS = ["wing", "heat", "transfer", "the", "flow", "shock", "plate", "boundary", "layer"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A collection of two segments and documents that wait, and its model's folder."""
    folder = tmp_path_factory.mktemp("table")
    model = build_tiny_embedding_model(folder / "model")
    random = np.random.default_rng(1)
    with Collection.create(folder / "c", dense=str(model), dense_settings=SETTINGS) as collection:
        for start in (0, 40):
            documents = [
                Document(f"d{n}", " ".join(random.choice(WORDS, random.integers(2, 9))))
                for n in range(start, start + 40)
            ]
            collection.add(documents)
            collection.maintain(1)
        collection.add([Document("last", "boundary layer of a plate")])
        collection.delete(["d3"])
    return folder / "c", model


@pytest.fixture
def copy(made: tuple[Path, Path], tmp_path: Path) -> Path:
    shutil.copytree(made[0], tmp_path / "c")
    return tmp_path / "c"


def test_a_table_is_fitted_to_the_documents_and_their_vectors(made: tuple[Path, Path], copy: Path) -> None:
    encoder = DenseEncoder(made[1], SETTINGS)
    with Collection.open(copy, writable=True) as collection:
        assert collection.dense_queries == "model"
        facts = collection.fit_static_queries()
        ids = [f"d{n}" for n in range(80) if n != 3] + ["last"]
        texts = [document.encoded_text for name in ids if (document := collection.get(name)) is not None]
        table = fit(encoder, texts, encoder.encode_documents(texts))
        assert facts.texts == table.facts.texts == 80
        assert facts.agreement == pytest.approx(table.facts.agreement, abs=1e-3)
        query = table.encode_queries(["boundary layer"])[0]
        vectors = dict(zip(ids, encoder.encode_documents(texts), strict=True))
        for hit in collection.search("boundary layer", 80, mode="dense").hits:
            assert hit.score == pytest.approx(float(query @ vectors[hit.id]), abs=5e-3)


def test_searches_do_without_the_model(made: tuple[Path, Path], tmp_path: Path) -> None:
    model = build_tiny_embedding_model(tmp_path / "model")
    with Collection.create(tmp_path / "c", dense=str(model), dense_settings=SETTINGS) as collection:
        collection.add([Document(f"d{n}", f"{WORDS[n % 9]} {WORDS[n % 7]}") for n in range(30)])
        collection.fit_static_queries()
        before = collection.search("heat flow", mode="hybrid", explain=True).hits
    shutil.rmtree(model)
    with Collection.open(tmp_path / "c") as collection:
        assert collection.dense_queries == "table"
        found = collection.search("heat flow", mode="hybrid", explain=True).hits
        assert found == before
        for hit in found:
            assert sum(each.score for each in hit.contributions or ()) == pytest.approx(hit.score)
        many = collection.search_many(["heat flow", ""], 5, mode="dense")
        one = collection.search("heat flow", 5, mode="dense").hits
        assert many[0] == [(hit.id, hit.score) for hit in one]
        assert many[1] == []
        collection.warm()
        collection.ask_dense_by("model")
        with pytest.raises(CheckpointError):
            collection.search("heat flow", mode="dense")
        collection.ask_dense_by("table")
        assert collection.search("heat flow", 5, mode="dense").hits == one
        assert collection.verify() == []
        info = collection.info().dense
        assert info is not None
        assert info.queries == "table"


def test_a_table_is_replaced_and_dropped(copy: Path) -> None:
    with Collection.open(copy, writable=True) as collection:
        by_model = collection.search("shock plate", mode="dense").hits
        collection.fit_static_queries()
        all_of_them = collection.search("shock plate", mode="dense").hits
        assert all_of_them != by_model
        assert collection.fit_static_queries(30).texts == 30
        assert collection.search("shock plate", mode="dense").hits != all_of_them
        assert collection.drop_static_queries()
        assert not collection.drop_static_queries()
        assert collection.search("shock plate", mode="dense").hits == by_model
        assert sorted(path.name for path in copy.iterdir() if path.is_dir()) == ["segments"]
        with pytest.raises(QueryError, match="keeps no table"):
            collection.ask_dense_by("table")
        with pytest.raises(QueryError, match="table or model"):
            collection.ask_dense_by("magic")


def test_damage_is_found(copy: Path) -> None:
    with Collection.open(copy, writable=True) as collection:
        collection.fit_static_queries()
        data = copy / "query_table" / "vectors.npy"
        whole = data.read_bytes()
        data.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert [problem.where for problem in collection.verify()] == [str(data)]


def test_what_cannot_be_done_is_told(copy: Path, tmp_path: Path) -> None:
    with Collection.open(copy) as reader, pytest.raises(ReadOnlyError):
        reader.fit_static_queries()
    with Collection.create(tmp_path / "plain") as plain, pytest.raises(QueryError, match="no dense vectors"):
        plain.fit_static_queries()
    with Collection.open(copy, writable=True) as collection:
        collection.delete([f"d{n}" for n in range(70)])
        with pytest.raises(QueryError, match="too few"):
            collection.fit_static_queries()


def test_the_command_line(copy: Path) -> None:
    made = run("distil-queries", copy, "--json")
    assert (made.code, json.loads(made.out)["texts"]) == (0, 80)
    found = run("search", copy, "shock plate", "--mode", "dense", "--dense-queries", "table", "--json")
    with Collection.open(copy) as collection:
        by_table = [hit.score for hit in collection.search("shock plate", mode="dense").hits]
        collection.ask_dense_by("model")
        assert by_table != [hit.score for hit in collection.search("shock plate", mode="dense").hits]
    assert [hit["score"] for hit in json.loads(found.out)["hits"]] == by_table
    assert "queries by a table" in run("info", copy).out
    assert run("distil-queries", copy, "--drop").code == 0
    missing = run("search", copy, "shock plate", "--dense-queries", "table")
    assert (missing.code, "keeps no table" in missing.err) == (2, True)
