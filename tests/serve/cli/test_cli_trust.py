"""Encoders that bring their own Python code: never run unless asked for by name, and every command can be asked."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from command import ids_of, lines, run
from tiny_checkpoints import build_tiny_masked_lm

from lexhound.encoders.errors import CheckpointError, IdentityError
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.sparse.settings import LearnedSettings
from lexhound.retrieval import Collection

EXACT = ("--device", "cpu", "--precision", "float32")
TRUST = "--trust-remote-code"
CODE = """
from pathlib import Path
from transformers import BertConfig, BertForMaskedLM

Path({trace!r}).write_text("run")

class OwnConfig(BertConfig):
    model_type = "own"

class OwnForMaskedLM(BertForMaskedLM):
    config_class = OwnConfig
"""


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint with code of its own, which leaves a file `trace` when it is run."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = build_tiny_masked_lm(tmp_path / "own")
    config = json.loads((folder / "config.json").read_bytes())
    config |= {
        "model_type": "own",
        "architectures": ["OwnForMaskedLM"],
        "auto_map": {"AutoConfig": "own_code.OwnConfig", "AutoModelForMaskedLM": "own_code.OwnForMaskedLM"},
    }
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    (folder / "own_code.py").write_text(CODE.format(trace=str(tmp_path / "trace")), "utf-8")
    return folder


def test_every_command_asks_by_name(model: Path, tmp_path: Path) -> None:
    texts, trace = tmp_path / "texts.jsonl", tmp_path / "trace"
    texts.write_bytes(lines({"id": "a", "text": "heat flow"}, {"id": "b", "text": "the cat sat"}))
    more = tmp_path / "more.jsonl"
    more.write_bytes(lines({"id": "c", "text": "a hot wing"}))
    into = tmp_path / "my.index"

    def refused(*arguments: str | Path) -> None:
        outcome = run(*arguments)
        assert outcome.code == 1, outcome
        assert "--trust-remote-code" in outcome.err
        assert "needs Python code that comes with it" in outcome.err
        assert outcome.err.count("error:") == 1
        assert not trace.exists(), "the code was run"

    index = ("index", texts, "--into", into, "--encoder", model, *EXACT)
    refused(*index)
    assert run(*index, TRUST).code == 0
    assert trace.exists()
    trace.unlink()
    refused("search", into, "heat")
    refused("add", into, more)
    found = run("search", into, "heat", TRUST, "--json")
    assert found.code == 0, found.err
    assert set(ids_of(found.json["hits"])) <= {"a", "b"}
    assert run("add", into, more, TRUST).code == 0
    with Collection.open(into, learned=LearnedSettings(trust_remote_code=True)) as collection:
        assert collection.count() == 3
        assert collection.search("hot").hits


def test_the_code_is_part_of_the_identity(model: Path, tmp_path: Path) -> None:
    trusted = LearnedSettings(device="cpu", precision="float32", trust_remote_code=True)
    encoder = LearnedEncoder(model, trusted)
    plain = LearnedEncoder(build_tiny_masked_lm(tmp_path / "plain"), LearnedSettings(device="cpu", precision="float32"))
    vectors = encoder.encode_documents(["heat flow"]).toarray()
    np.testing.assert_allclose(vectors, plain.encode_documents(["heat flow"]).toarray(), atol=1e-5)
    identity = encoder.identity
    with pytest.raises(CheckpointError, match="trust_remote_code=True"):
        LearnedEncoder(model, identity=identity).encode_documents(["heat"])
    with (model / "own_code.py").open("a") as file:
        file.write("# changed\n")
    with pytest.raises(IdentityError, match="has changed"):
        LearnedEncoder(model, trusted, identity=identity).encode_documents(["heat"])
