"""A misspelt encoder is told by the name that was meant, and no hub is asked for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lexhound.encoders.bm25.encoder import KIND
from lexhound.encoders.checkpoints import hub
from lexhound.encoders.checkpoints.misspelt import BUILT_IN, check_spelling, encoder_folders
from lexhound.encoders.errors import UnknownEncoderError
from lexhound.encoders.load import load_encoder


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("splade-small", "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "splade-small" / "config.json").write_text("{}")
    (tmp_path / "notes" / "readme.md").touch()
    monkeypatch.chdir(tmp_path)

    def asked(name: str) -> Path:
        raise ConnectionError(name)

    monkeypatch.setattr(hub, "_download", asked)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("BM25", "bm25"),
        ("bm52", "bm25"),
        ("Bm-25", "bm25"),
        ("lexhound-minni", "lexhound-mini"),
        ("lexhound_mini", "lexhound-mini"),
        ("lexhound mini", "lexhound-mini"),
        ("mini", "lexhound-mini"),
        ("Default", "default"),
        ("splade-smal", "splade-small"),
    ],
)
def test_what_was_meant_is_told_before_the_hub_is_asked(folders: Path, name: str, meant: str) -> None:
    with pytest.raises(UnknownEncoderError, match=f"Did you mean {meant}") as refused:
        load_encoder(name)
    assert name in refused.value.message


@pytest.mark.parametrize("name", ["bert-base-uncased", "gpt2", "notez", "owner/bm25", "owner/lexhound-minni", "xy"])
def test_other_names_are_the_hub_s(folders: Path, name: str) -> None:
    with pytest.raises(ConnectionError):
        load_encoder(name)


def test_names_that_are_here_are_as_they_are() -> None:
    assert KIND in BUILT_IN
    assert "lexhound-mini" in BUILT_IN
    assert hub.locate("lexhound-mini").name == "lexhound-mini"


def test_only_folders_of_checkpoints_are_offered(folders: Path) -> None:
    assert encoder_folders(folders) == ["splade-small"]
    assert encoder_folders(folders / "nowhere") == []
    check_spelling("splade-smal/x", ["splade-small"])
