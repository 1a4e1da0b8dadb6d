"""Inference-free queries: every file that holds their weights, no torch, and wrong files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny_checkpoints import build_tiny_masked_lm, vocabulary

from lexhound.encoders.errors import CheckpointError, IdentityError
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.sparse.settings import LearnedSettings

QUERY = "Heat transfer, heat [SEP] flow; not the \ud800"
IDF = {token: round(1 + number / 100, 2) for number, token in enumerate(vocabulary()) if number % 7}


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_masked_lm(tmp_path_factory.mktemp("tables") / "masked")


@pytest.fixture
def folder(masked: Path, tmp_path: Path) -> Path:
    (Path(shutil.copytree(masked, tmp_path / "model")) / "idf.json").write_text(json.dumps(IDF))
    return tmp_path / "model"


def load(folder: Path, **settings: Any) -> LearnedEncoder:
    return LearnedEncoder(folder, LearnedSettings(device="cpu", precision="float32", **settings))


def expected() -> dict[str, float]:
    found = {token: IDF[token] for token in ("heat", "transfer", ",", "flow", ";", "not", "the") if token in IDF}
    assert len(found) > 3
    return found


def query(encoder: LearnedEncoder) -> dict[str, float]:
    terms, weights = encoder.encode_query(QUERY)
    assert (terms.dtype, weights.dtype) == (np.int32, np.float32)
    assert (np.diff(terms) > 0).all()
    return {encoder.term_text(term): weight for term, weight in zip(terms.tolist(), weights.tolist(), strict=True)}


def test_opensearch_idf(folder: Path, masked: Path) -> None:
    encoder = load(folder)
    assert encoder.identity.kind == "inference-free"
    assert query(encoder) == pytest.approx(expected())
    assert encoder.encode_queries([QUERY, ""])[1][0].size == 0
    documents = encoder.encode_documents([QUERY, "wing"])
    np.testing.assert_array_equal(documents.toarray(), load(masked).encode_documents([QUERY, "wing"]).toarray())


def test_opensearch_query_token_weights(folder: Path) -> None:
    (folder / "idf.json").unlink()
    lines = [f"{token}\t{weight}" for token, weight in IDF.items()]
    (folder / "query_token_weights.txt").write_text("\n".join(lines) + "\n\n")
    assert query(load(folder)) == pytest.approx(expected())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_tensors_of_every_width(folder: Path, dtype: torch.dtype) -> None:
    weights = torch.zeros(len(vocabulary()), dtype=dtype)
    for number, token in enumerate(vocabulary()):
        weights[number] = IDF.get(token, 0)
    (folder / "query").mkdir()
    save_file({"weight": weights}, folder / "query" / "table.safetensors")
    sides = {"document": {"kind": "mlm"}, "query": {"kind": "table", "folder": "query", "weights": "table.safetensors"}}
    (folder / "lexhound_encoder.json").write_text(json.dumps({"format": 1, **sides}))
    assert query(load(folder)) == pytest.approx(expected(), rel=1e-2)


def test_pruning_and_cutting_of_queries(folder: Path) -> None:
    whole = expected()
    heaviest = sorted(whole, key=lambda token: -whole[token])
    assert list(query(load(folder, query_top_k=2))) == sorted(heaviest[:2], key=vocabulary().index)
    ratio = (whole[heaviest[1]] + whole[heaviest[2]]) / 2 / whole[heaviest[0]]
    assert set(query(load(folder, query_ratio=ratio))) == set(heaviest[:2])
    assert set(query(load(folder, max_length=3))) == {"heat", "transfer", ","} & set(whole)
    assert set(query(load(folder, max_length=3, long_texts="windows"))) == set(whole)


def test_queries_load_neither_torch_nor_the_model(folder: Path) -> None:
    identity = load(folder).identity.to_json()
    for name in ("model.safetensors", "config.json"):
        (folder / f"kept-{name}").write_bytes((folder / name).read_bytes())
    (folder / "model.safetensors").unlink()  # not even looked for
    code = (
        "import sys\n"
        "from lexhound.encoders.base import EncoderIdentity\n"
        "from lexhound.encoders.load import load_encoder\n"
        "encoder = load_encoder(EncoderIdentity.from_json(sys.argv[1]))\n"
        "assert len(encoder.encode_query('heat transfer')[0])\n"
        "assert encoder.spans('heat') and encoder.term_text(7)\n"
        "print(sorted({'torch', 'transformers', 'scipy'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, identity], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_each_side_is_compared_when_it_is_used(folder: Path) -> None:
    identity = load(folder).identity
    build_tiny_masked_lm(folder, seed=9)
    stored = LearnedEncoder(identity.name, LearnedSettings(device="cpu"), identity=identity)
    assert query(stored) == pytest.approx(expected())  # the table is the one it was
    with pytest.raises(IdentityError, match="its document has changed"):
        stored.encode_documents(["wing"])
    (folder / "idf.json").write_text(json.dumps({**IDF, "wing": 0.5}))
    with pytest.raises(IdentityError, match="its query has changed"):
        LearnedEncoder(identity.name, identity=identity)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("idf.json", "{", "cannot be read"),
        ("idf.json", "[1, 2]", "cannot be read"),
        ("idf.json", '{"heat": "much"}', "cannot be read"),
        ("idf.json", '{"heat": NaN}', "not a number"),
        ("idf.json", '{"Hitze": 1, "Strom": 2}', "none of its 2 tokens"),
        ("query_token_weights.txt", "heat\n", "cannot be read"),
    ],
)
def test_tables_that_cannot_be_read(folder: Path, name: str, content: str, message: str) -> None:
    (folder / "idf.json").unlink()
    (folder / name).write_text(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        load(folder)
    assert name in caught.value.message


def test_a_table_of_another_vocabulary(folder: Path) -> None:
    save_file({"weight": torch.ones(50)}, folder / "table.safetensors")
    sides = {"document": {"kind": "mlm"}, "query": {"kind": "table", "weights": "table.safetensors"}}
    (folder / "lexhound_encoder.json").write_text(json.dumps({"format": 1, **sides}))
    with pytest.raises(CheckpointError, match=f"{len(vocabulary())} tokens and table.safetensors 50 weights"):
        load(folder)
    data = (folder / "table.safetensors").read_bytes()
    for kept in (0, 4, 20, len(data) - 3):
        (folder / "table.safetensors").write_bytes(data[:kept])
        with pytest.raises(CheckpointError, match="cannot be read"):
            load(folder)
    (folder / "table.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"has no table\.safetensors"):
        load(folder)


def test_sides_of_different_vocabularies(folder: Path) -> None:
    (folder / "query").mkdir()
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    words = tokenizer["model"]["vocab"]
    words["heat"], words["flow"] = words["flow"], words["heat"]
    (folder / "query" / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "query" / "idf.json").write_text(json.dumps(IDF))
    sides = {"document": {"kind": "mlm"}, "query": {"kind": "table", "folder": "query", "weights": "idf.json"}}
    (folder / "lexhound_encoder.json").write_text(json.dumps({"format": 1, **sides}))
    with pytest.raises(CheckpointError, match="queries over"):
        load(folder).prepare()
