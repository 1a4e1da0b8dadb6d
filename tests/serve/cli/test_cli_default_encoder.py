"""Which encoders a collection has when none is named: on the command line, in Python, and in eval."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import environment, run
from tiny_checkpoints import build_tiny_masked_lm

from lexhound.encoders.bm25.settings import LexicalSettings
from lexhound.encoders.dense.settings import DenseSettings
from lexhound.encoders.sparse.settings import LearnedSettings
from lexhound.retrieval.collection.collection import Collection
from lexhound.retrieval.collection.default_encoders import VARIABLE, choose_encoders
from lexhound.retrieval.collection.settings import CollectionSettings
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.engines.address import read_address
from lexhound.retrieval.engines.refusals import keeps_dense

MINI = "lexhound-mini"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    path.write_text(
        '{"id": "a", "text": "Cars need petrol."}\n{"id": "b", "text": "A kitten sleeps."}\n'
        '{"id": "c", "text": "The bank of the river."}\n'
    )
    return path


def encoders_of(collection: Path) -> tuple[str, str | None]:
    info = run("info", collection, "--json").json
    return info["encoder"]["name"], None if info["dense"] is None else info["dense"]["encoder"]["name"]


def without_choice() -> dict[str, str]:
    return {name: value for name, value in environment().items() if name != VARIABLE}


def test_the_bundled_model(corpus: Path, tmp_path: Path) -> None:
    outcome = run("index", corpus, "--into", tmp_path / "c", env=without_choice())
    assert outcome.code == 0, outcome.err
    assert "encoder lexhound-mini with dense vectors of the same pass, for hybrid searches" in outcome.err
    assert encoders_of(tmp_path / "c") == (MINI, MINI)
    # "automobile" stands in no document: its meaning does.
    found = run("search", tmp_path / "c", "petrol for an automobile", "--json").json
    assert (found["mode"], found["hits"][0]["id"]) == ("hybrid", "a")


def test_options_choose(corpus: Path, tmp_path: Path) -> None:
    cases = {
        ("--k1", "1.2"): ("bm25", None),
        ("--encoder", "bm25"): ("bm25", None),
        ("--dense", "none"): (MINI, None),
        ("--encoder", "bm25", "--dense", MINI): ("bm25", MINI),
    }
    for number, (options, expected) in enumerate(cases.items()):
        outcome = run("index", corpus, "--into", tmp_path / str(number), *options, env=without_choice())
        assert (outcome.code, encoders_of(tmp_path / str(number))) == (0, expected), options
        assert ("encoder lexhound-mini" in outcome.err) == (options == ("--dense", "none")), outcome.err


def test_the_environment_decides_and_the_flag_before_it(corpus: Path, tmp_path: Path) -> None:
    run("index", corpus, "--into", tmp_path / "c", env=without_choice() | {VARIABLE: "bm25"})
    assert encoders_of(tmp_path / "c") == ("bm25", None)
    outcome = run("index", corpus, "--into", tmp_path / "d", env=without_choice() | {VARIABLE: "no/such-folder/here"})
    assert outcome.code != 0
    assert "no/such-folder/here" in outcome.err
    outcome = run(
        "index", corpus, "--into", tmp_path / "e", "--encoder", "bm25", env=without_choice() | {VARIABLE: "nothing"}
    )
    assert (outcome.code, encoders_of(tmp_path / "e")) == (0, ("bm25", None))


def test_vectors_need_a_named_encoder(corpus: Path, tmp_path: Path) -> None:
    outcome = run("index", corpus, "--into", tmp_path / "c", "--vectors", env=without_choice())
    assert outcome.code == 2
    assert "Name it: --encoder MODEL" in outcome.err


def test_python_has_the_same_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)
    with Collection.create(tmp_path / "c") as collection:
        collection.add([Document("a", "Cars need petrol."), Document("b", "A kitten sleeps.")])
        assert collection.search("petrol for an automobile").hits[0].id == "a"
    assert encoders_of(tmp_path / "c") == (MINI, MINI)
    with Collection.create(tmp_path / "d", lexical=LexicalSettings(k1=1.2)):
        pass
    assert encoders_of(tmp_path / "d") == ("bm25", None)


def test_what_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = build_tiny_masked_lm(tmp_path / "model")
    monkeypatch.setenv(VARIABLE, str(folder))
    chosen = choose_encoders()
    assert (chosen.encoder, chosen.dense, chosen.is_default) == (str(folder), None, True), "it says nothing of dense"
    chosen = choose_encoders(default=MINI, keeps_dense=keeps_dense(read_address("lucene:/tmp/index")))
    assert (chosen.encoder, chosen.dense) == (MINI, None)
    assert keeps_dense(read_address("milvus://host/name"))
    assert keeps_dense(read_address("my.index"))
    assert choose_encoders(MINI).dense is None
    assert choose_encoders(dense="other").dense == "other"
    assert choose_encoders(dense="none", default=MINI).dense is None


def test_both_share_a_pass_whatever_the_learned_settings() -> None:
    assert CollectionSettings().dense_field_settings() is None
    settings = CollectionSettings(learned=LearnedSettings(max_length=64, precision="float32", device="cpu"))
    assert settings.dense_field_settings() == DenseSettings(max_length=64, precision="float32", device="cpu")
    assert CollectionSettings(learned=LearnedSettings()).dense_field_settings() == DenseSettings()
    assert CollectionSettings(dense="other", learned=LearnedSettings(max_length=64)).dense_field_settings() is None


def test_eval_takes_the_same(corpus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(corpus.read_text().replace('"id"', '"_id"'))
    (folder / "queries.jsonl").write_text('{"_id": "1", "text": "petrol for an automobile"}\n')
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\ta\t1\n")
    outcome = run("eval", folder, "--json", "--work", tmp_path / "work", env=without_choice())
    assert outcome.code == 0, outcome.err
    assert "encoder lexhound-mini with dense vectors" in outcome.err
    (result,) = outcome.json["results"]
    assert (result["settings"]["mode"], result["settings"]["encoder"]["name"]) == ("hybrid", MINI)
