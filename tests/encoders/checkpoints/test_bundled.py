"""Encoders that come with the package: found by name, and only where there are any."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_checkpoints import build_tiny_masked_lm

from lexhound.encoders.checkpoints import bundled
from lexhound.encoders.checkpoints.hub import locate
from lexhound.encoders.sparse.encoder import LearnedEncoder


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    build_tiny_masked_lm(tmp_path / "models" / "small")
    monkeypatch.setattr(bundled, "_FOLDER", tmp_path / "models")
    return tmp_path / "models"


def test_a_bundled_encoder_is_stored_by_its_name(models: Path) -> None:
    located = locate("small")
    assert located.folder == models / "small"
    assert located.name == "small"  # not a path, which another machine would not have
    encoder = LearnedEncoder("small")
    again = LearnedEncoder(encoder.identity.name, identity=encoder.identity)
    assert again.encode_documents(["heat transfer"]).nnz == encoder.encode_documents(["heat transfer"]).nnz


def test_a_folder_of_that_name_here_comes_first(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").mkdir()
    assert locate("small").folder == Path("small")


def test_names(models: Path) -> None:
    assert bundled.bundled_names() == ("small",)
    assert bundled.bundled_folder("other") is None
    assert bundled.bundled_folder("../models/small") is None
