"""Which encoder `lexhound index` takes when it is given none."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import environment, run

from lexhound.serve.cli.default_encoder import VARIABLE, default_encoder


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    path.write_text(
        '{"id": "a", "text": "Cars need petrol."}\n{"id": "b", "text": "A kitten sleeps."}\n'
        '{"id": "c", "text": "The bank of the river."}\n'
    )
    return path


def encoder_of(collection: Path) -> str:
    name = run("info", collection, "--json").json["encoder"]["name"]
    assert isinstance(name, str)
    return name


def without_choice() -> dict[str, str]:
    return {name: value for name, value in environment().items() if name != VARIABLE}


@pytest.mark.model
def test_the_bundled_model(corpus: Path, tmp_path: Path) -> None:
    outcome = run("index", corpus, "--into", tmp_path / "c", env=without_choice())
    assert outcome.code == 0, outcome.err
    assert "encoder lexhound-mini" in outcome.err
    assert encoder_of(tmp_path / "c") == "lexhound-mini"
    # "automobile" stands in no document: its meaning does.
    hits = run("search", tmp_path / "c", "petrol for an automobile", "--json").json["hits"]
    assert hits[0]["id"] == "a"


def test_options_of_bm25_ask_for_bm25(corpus: Path, tmp_path: Path) -> None:
    outcome = run("index", corpus, "--into", tmp_path / "c", "--k1", "1.2", env=without_choice())
    assert (outcome.code, encoder_of(tmp_path / "c")) == (0, "bm25")


def test_the_environment_decides_and_the_flag_before_it(corpus: Path, tmp_path: Path) -> None:
    run("index", corpus, "--into", tmp_path / "c", env=without_choice() | {VARIABLE: "bm25"})
    assert encoder_of(tmp_path / "c") == "bm25"
    outcome = run("index", corpus, "--into", tmp_path / "d", env=without_choice() | {VARIABLE: "no/such-folder/here"})
    assert outcome.code != 0
    assert "no/such-folder/here" in outcome.err
    outcome = run(
        "index", corpus, "--into", tmp_path / "e", "--encoder", "bm25", env=without_choice() | {VARIABLE: "nothing"}
    )
    assert (outcome.code, encoder_of(tmp_path / "e")) == (0, "bm25")


def test_words_stand_beside_dense_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "nothing")
    assert default_encoder(lexical_options=False, dense=True) == "bm25"


def test_vectors_need_a_named_encoder(corpus: Path, tmp_path: Path) -> None:
    outcome = run("index", corpus, "--into", tmp_path / "c", "--vectors", env=without_choice())
    assert outcome.code == 2
    assert "Name it: --encoder MODEL" in outcome.err


def test_without_torch_it_is_bm25_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(
        "lexhound.serve.cli.default_encoder.find_spec", lambda name: None if name == "torch" else object()
    )
    assert default_encoder(lexical_options=False, dense=False) == "bm25"
    assert "pip install 'lexhound[neural]'" in capsys.readouterr().err
