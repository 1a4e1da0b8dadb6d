"""The same vectors as sentence-transformers from the same folder, whichever of the two wrote it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lexhound.encoders.errors import CheckpointError
from lexhound.encoders.learned import LearnedEncoder
from lexhound.encoders.saving import save_encoder
from lexhound.encoders.settings import LearnedSettings
from tiny_checkpoints import build_tiny_masked_lm, build_tiny_term_weighting, vocabulary

# Importing and saving with it warns about its own future and that of what it imports.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

TEXTS = ["heat transfer in hypersonic flow", "wing", "the cat sat on the mat. " * 30, "low pressure, high pressure"]
CLOSE = 1e-4


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_masked_lm(tmp_path_factory.mktemp("theirs") / "masked")


def ours(folder: Path, **settings: Any) -> LearnedEncoder:
    return LearnedEncoder(folder, LearnedSettings(device="cpu", precision="float32", **settings))


def theirs(folder: Path) -> Any:
    from sentence_transformers import SparseEncoder

    return SparseEncoder(str(folder), device="cpu")


def agree(encoder: LearnedEncoder, model: Any) -> None:
    """Compare both sides; special tokens are terms there and none here."""
    documents = model.encode_document(TEXTS, convert_to_sparse_tensor=False).numpy().copy()
    queries = model.encode_query(TEXTS, convert_to_sparse_tensor=False).numpy().copy()
    documents[:, :5] = queries[:, :5] = 0
    assert (documents > 0).any(axis=1).all()
    np.testing.assert_allclose(encoder.encode_documents(TEXTS).toarray(), documents, rtol=0, atol=CLOSE)
    found = np.zeros_like(queries)
    for row, (terms, weights) in enumerate(encoder.encode_queries(TEXTS)):
        found[row, terms] = weights
    np.testing.assert_allclose(found, queries, rtol=0, atol=CLOSE)


def splade(masked: Path, pooling: str = "max", activation: str = "relu") -> Any:
    from sentence_transformers import SparseEncoder
    from sentence_transformers.sentence_transformer.modules import Transformer
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    modules = [Transformer(str(masked), transformer_task="fill-mask"), SpladePooling(pooling, activation)]
    return SparseEncoder(modules=modules, device="cpu")


def inference_free(masked: Path) -> Any:
    from sentence_transformers import SparseEncoder
    from sentence_transformers.sentence_transformer.modules import Router, Transformer
    from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding, SpladePooling

    document = [Transformer(str(masked), transformer_task="fill-mask"), SpladePooling("max", "log1p_relu")]
    weights = torch.arange(1.0, len(vocabulary()) + 1) / 50
    query = [SparseStaticEmbedding(tokenizer=document[0].tokenizer, weight=weights)]
    router = Router.for_query_document(query_modules=query, document_modules=document)
    return SparseEncoder(modules=[router], similarity_fn_name="dot", device="cpu")


CASES: dict[str, Callable[[Path], Any]] = {
    "splade-max": splade,
    "splade-sum": lambda masked: splade(masked, pooling="sum"),
    "double-log": lambda masked: splade(masked, activation="log1p_relu"),
    "inference-free": inference_free,
}


@pytest.mark.parametrize("case", CASES)
def test_both_directions(masked: Path, tmp_path: Path, case: str) -> None:
    model = CASES[case](masked)
    model.save(str(tmp_path / "theirs"))
    encoder = ours(tmp_path / "theirs")
    agree(encoder, model)
    assert encoder.identity.kind == ("inference-free" if case == "inference-free" else "splade")
    save_encoder(encoder, tmp_path / "ours")
    agree(encoder, theirs(tmp_path / "ours"))
    again = ours(tmp_path / "ours")
    again.prepare()
    np.testing.assert_array_equal(again.encode_documents(TEXTS).toarray(), encoder.encode_documents(TEXTS).toarray())


def test_a_plain_checkpoint_and_opensearchs_are_written_for_them(masked: Path, tmp_path: Path) -> None:
    save_encoder(ours(masked, activation="log1p_log1p_relu"), tmp_path / "plain")
    agree(ours(masked, activation="log1p_log1p_relu"), theirs(tmp_path / "plain"))

    folder = Path(shutil.copytree(masked, tmp_path / "opensearch"))
    (folder / "idf.json").write_text(json.dumps(dict.fromkeys(vocabulary()[::2], 0.5)))
    save_encoder(ours(folder), tmp_path / "router")
    agree(ours(folder), theirs(tmp_path / "router"))


def test_the_routers_old_file_name_prompts_and_limits(masked: Path, tmp_path: Path) -> None:
    inference_free(masked).save(str(tmp_path / "old"))
    (tmp_path / "old" / "router_config.json").rename(tmp_path / "old" / "config.json")
    config = tmp_path / "old" / "config_sentence_transformers.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "prompts": {"query": "what ", "document": "a "}}))
    limits = tmp_path / "old" / "document_0_Transformer" / "sentence_bert_config.json"
    limits.write_text(json.dumps({**json.loads(limits.read_text()), "max_seq_length": 9}))
    agree(ours(tmp_path / "old"), theirs(tmp_path / "old"))
    with_prompt = ours(tmp_path / "old").encode_query("heat")[0]
    assert [vocabulary()[term] for term in with_prompt] == ["heat", "what"]


def test_what_their_format_cannot_say(masked: Path, tmp_path: Path) -> None:
    folder = build_tiny_term_weighting(tmp_path / "unicoil", "unicoil")
    for encoder, message in [
        (ours(folder), "no term weighting"),
        (ours(masked, pooling="cls"), "no CLS pooling"),
        (ours(masked, activation="relu"), "no the activation relu"),
    ]:
        with pytest.raises(CheckpointError, match=message):
            save_encoder(encoder, tmp_path / "new")
        assert not (tmp_path / "new").exists()
    with pytest.raises(CheckpointError, match="is not empty"):
        save_encoder(ours(masked), folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("modules.json", "{", "cannot be read"),
        ("modules.json", '[{"idx": 0}]', "not a list of modules"),
        (
            "modules.json",
            '[{"path": "", "type": "x.Transformer"}, {"path": "", "type": "x.Pooling"}]',
            "make no sparse",
        ),
        ("modules.json", '[{"path": "../..", "type": "x.Router"}]', "outside of the checkpoint"),
        ("router_config.json", "{}", "does not say which modules"),
        ("router_config.json", '{"types": {}, "structure": {"a": []}}', "has the routes a"),
        ("document_1_SpladePooling/config.json", '{"pooling_strategy": "mean"}', "not known here"),
    ],
)
def test_folders_of_theirs_that_cannot_be_read(
    masked: Path, tmp_path: Path, name: str, content: str, message: str
) -> None:
    table = Path(shutil.copytree(masked, tmp_path / "table"))
    (table / "idf.json").write_text('{"heat": 1}')
    folder = save_encoder(ours(table), tmp_path / "model")
    (folder / name).write_text(content)
    with pytest.raises(CheckpointError, match=message):
        ours(folder)


@pytest.mark.parametrize(
    "part", ["document_0_Transformer", "document_1_SpladePooling", "query_0_SparseStaticEmbedding"]
)
def test_half_of_their_folders(masked: Path, tmp_path: Path, part: str) -> None:
    table = Path(shutil.copytree(masked, tmp_path / "table"))
    (table / "idf.json").write_text('{"heat": 1}')
    folder = save_encoder(ours(table), tmp_path / "model")
    shutil.rmtree(folder / part)
    with pytest.raises(CheckpointError, match=f"names the folder {part}, which is not there"):
        ours(folder)
