"""Folders that hold no encoder, or half of one: one clear message each."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import transformers
from tiny_checkpoints import build_tiny_masked_lm, save_tiny_tokenizer, vocabulary

from lexhound.encoders.errors import CheckpointError
from lexhound.encoders.load import load_encoder
from lexhound.encoders.sparse.encoder import LearnedEncoder


@pytest.fixture(scope="session")
def tiny_masked_lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_masked_lm(tmp_path_factory.mktemp("checkpoints") / "tiny-splade")


@pytest.fixture
def copied(tiny_masked_lm: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_masked_lm, tmp_path / "copied"))


def edit_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def refused(folder: str | Path, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        LearnedEncoder(folder).prepare()
    assert caught.value.hint
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    "name",
    ["./no/such/folder", "/no/such/folder", "a/b/c", "..", "what is this?", "~nobody-here/x", "/" + "x" * 5000, "a\0b"],
)
def test_no_such_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused(name, "no config.json" if name == ".." else "there is no folder")
    refused(tmp_path / "missing", "there is no folder")


def test_a_file_instead_of_a_folder(copied: Path) -> None:
    refused(copied / "model.safetensors", "is a file")


@pytest.mark.parametrize(
    ("name", "message"),
    [("config.json", "no config.json"), ("tokenizer.json", "no tokenizer"), ("model.safetensors", "no weights")],
)
def test_a_folder_with_half_of_its_files(copied: Path, name: str, message: str) -> None:
    (copied / name).unlink()
    refused(copied, message)


@pytest.mark.parametrize("content", ["{", "[1]", '{"model_type": "no-such-type"}', "{}", ""])
def test_a_broken_config(copied: Path, content: str) -> None:
    (copied / "config.json").write_text(content)
    refused(copied, "cannot be read")


def test_a_broken_tokenizer(copied: Path) -> None:
    (copied / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "Nothing"}}')
    refused(copied, "tokenizer in .* cannot be read")


@pytest.mark.parametrize("kept", [0, 7, 5000, -100])
def test_torn_weights(copied: Path, kept: int) -> None:
    path = copied / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    refused(copied, "cannot be read")


def test_a_model_without_a_head(tmp_path: Path) -> None:
    save_tiny_tokenizer(tmp_path)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary()), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
    )
    transformers.BertModel(config).save_pretrained(tmp_path)
    refused(tmp_path, "config.json says BertModel")
    # A config that claims a head does not help: the weights are looked for.
    edit_config(tmp_path, architectures=["BertForMaskedLM"])
    refused(tmp_path, r"files lack \d+ of the weights \(cls.predictions")
    edit_config(tmp_path, architectures=None)
    refused(tmp_path, r"files lack \d+ of the weights")


def test_a_decoder(tmp_path: Path) -> None:
    save_tiny_tokenizer(tmp_path)
    config = transformers.GPT2Config(vocab_size=len(vocabulary()), n_positions=32, n_embd=32, n_layer=1, n_head=2)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path)
    refused(tmp_path, "config.json says GPT2LMHeadModel")
    edit_config(tmp_path, architectures=["GPT2ForMaskedLM"])
    refused(tmp_path, "cannot be loaded as a masked language model")


def test_a_tokenizer_wider_than_the_head(tmp_path: Path) -> None:
    folder = build_tiny_masked_lm(tmp_path / "narrow", vocabulary_size=len(vocabulary()) - 1)
    refused(folder, rf"{len(vocabulary())} tokens and the model's head {len(vocabulary()) - 1} outputs")


def test_code_in_a_checkpoint_is_never_run(copied: Path) -> None:
    (copied / "modeling_evil.py").write_text("raise SystemExit('remote code ran')\n")
    edit_config(copied, model_type="evil", auto_map={"AutoConfig": "modeling_evil.Config"})
    refused(copied, "such code is not run unless it is asked for")


def run_offline(code: str, cache: Path) -> str:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(cache), "HF_HUB_CACHE": str(cache / "hub")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_hub_name_offline_says_what_to_bring(tmp_path: Path) -> None:
    code = (
        "from lexhound.encoders.load import load_encoder\n"
        "from lexhound.encoders.errors import CheckpointError\n"
        "try:\n    load_encoder('naver/splade-v3').prepare()\n"
        "except CheckpointError as error:\n    print(error)\n"
    )
    message = run_offline(code, tmp_path)
    assert message.startswith("naver/splade-v3 is not a folder here, and the Hugging Face hub cannot be reached")
    assert "hf download naver/splade-v3 --local-dir splade-v3" in message
    assert "model.safetensors" in message


def test_a_hub_name_in_the_cache(tiny_masked_lm: Path, tmp_path: Path) -> None:
    model = tmp_path / "hub" / "models--someone--tiny"
    commit = "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(tiny_masked_lm, model / "snapshots" / commit)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(commit)
    code = (
        "from lexhound.encoders.load import load_encoder\n"
        "identity = load_encoder('someone/tiny').identity\nprint(identity.name, identity.fingerprint)\n"
    )
    assert run_offline(code, tmp_path).split() == ["someone/tiny", load_encoder(tiny_masked_lm).identity.fingerprint]


def test_loading_says_nothing(tiny_masked_lm: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = transformers.utils.logging.get_verbosity()
    LearnedEncoder(tiny_masked_lm).encode_documents(["flow " * 1000])
    assert capfd.readouterr() == ("", "")
    assert transformers.utils.logging.get_verbosity() == before
