"""Each family's vectors against its paper's formula, written in plain torch and NumPy, one text at a time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tiny_checkpoints import (
    build_tiny_causal_lm,
    build_tiny_masked_lm,
    build_tiny_term_weighting,
    save_tiny_tokenizer,
    vocabulary,
)

from lexhound.encoders.errors import CheckpointError
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.sparse.settings import LearnedSettings

TEXTS = [
    "heat transfer in hypersonic flow over heat and flow",
    "wing",
    "the cat sat on the mat by the river bank, not the money bank",
    "",
]
SPECIAL = range(5)
CLOSE = 1e-5


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_masked_lm(tmp_path_factory.mktemp("families") / "masked")


def load(folder: Path, **settings: Any) -> LearnedEncoder:
    return LearnedEncoder(folder, LearnedSettings(device="cpu", precision="float32", **settings))


def own(folder: Path, document: dict[str, Any], query: dict[str, Any] | None = None) -> Path:
    sides = {"document": document} if query is None else {"document": document, "query": query}
    (folder / "lexhound_encoder.json").write_text(json.dumps({"format": 1, **sides}))
    return folder


def tokens(folder: Path, text: str) -> list[int]:
    ids: list[int] = transformers.AutoTokenizer.from_pretrained(folder)(text)["input_ids"]
    return ids


def dense(terms: np.ndarray, weights: np.ndarray) -> np.ndarray:
    vector = np.zeros(len(vocabulary()), np.float32)
    vector[terms] = weights
    return vector


def check(encoder: LearnedEncoder, expected: list[np.ndarray], *, queries: bool = True) -> None:
    assert sum((each > 0).sum() for each in expected) > 5
    np.testing.assert_allclose(encoder.encode_documents(TEXTS).toarray(), np.stack(expected), rtol=0, atol=CLOSE)
    if queries:
        found = [dense(*encoder.encode_query(text)) for text in TEXTS]
        np.testing.assert_allclose(found, np.stack(expected), rtol=0, atol=CLOSE)


def cleaned(vector: torch.Tensor | np.ndarray, text: str) -> np.ndarray:
    """Special tokens are no terms, and an empty text has an empty vector: what the package says of every family."""
    result = np.asarray(vector, dtype=np.float32).copy()
    result[list(SPECIAL)] = 0
    return result if text else np.zeros_like(result)


def logits(folder: Path, ids: list[int], model: Any = transformers.AutoModelForMaskedLM) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = model.from_pretrained(folder).eval()(input_ids=torch.tensor([ids])).logits[0]
    return result


@pytest.mark.parametrize("activation", ["relu", "log1p_relu", "log1p_log1p_relu"])
@pytest.mark.parametrize("pooling", ["max", "sum", "cls"])
def test_masked_language_models(masked: Path, pooling: str, activation: str) -> None:
    expected = []
    for text in TEXTS:
        weights = logits(masked, tokens(masked, text)).clamp(min=0)
        if activation != "relu":
            weights = torch.log(1 + weights)
        if activation == "log1p_log1p_relu":
            weights = torch.log(1 + weights)
        vector = {"max": weights.max(dim=0).values, "sum": weights.sum(dim=0), "cls": weights[0]}[pooling]
        expected.append(cleaned(vector, text))
    check(load(masked, pooling=pooling, activation=activation), expected)


def hidden_states(folder: Path, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        model = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
        result: torch.Tensor = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
    return result


@pytest.mark.parametrize("family", ["unicoil", "deepimpact", "deepct"])
def test_term_weighting(tmp_path: Path, family: str) -> None:
    from safetensors.torch import load_file

    folder = build_tiny_term_weighting(tmp_path / family, family, seed=1)
    tensors = load_file(folder / "model.safetensors")
    expected = []
    for text in TEXTS:
        ids = tokens(folder, text)
        states = hidden_states(folder, ids)
        if family == "unicoil":
            weights = torch.relu(states @ tensors["tok_proj.weight"][0] + tensors["tok_proj.bias"])
        elif family == "deepimpact":
            first = states @ tensors["impact_score_encoder.0.weight"].T + tensors["impact_score_encoder.0.bias"]
            second = torch.relu(first) @ tensors["impact_score_encoder.3.weight"][0]
            weights = torch.relu(second + tensors["impact_score_encoder.3.bias"])
        else:
            weights = states @ tensors["classifier.weight"][0] + tensors["classifier.bias"]
        vector = np.zeros(len(vocabulary()), np.float32)
        seen: set[int] = set()
        for number, weight in zip(ids, weights.tolist(), strict=True):
            if family == "deepimpact" and number in seen:  # its paper keeps a term's first occurrence
                continue
            seen.add(number)
            vector[number] = max(vector[number], weight)
        expected.append(cleaned(vector, text))
    encoder = load(folder)
    assert encoder.identity.kind == "term-weighting"
    check(encoder, expected, queries=family == "unicoil")
    if family != "unicoil":  # queries say only which terms they have
        for text in TEXTS:
            presence = np.zeros(len(vocabulary()), np.float32)
            presence[tokens(folder, text)] = 1
            np.testing.assert_array_equal(dense(*encoder.encode_query(text)), cleaned(presence, text))


@pytest.mark.parametrize("pooling", ["sum", "max", "first"])
def test_what_becomes_of_a_repeated_token(tmp_path: Path, pooling: str) -> None:
    folder = build_tiny_term_weighting(tmp_path / "model", "unicoil", seed=1)
    plain = load(folder, max_length=64)
    text = "heat flow heat flow heat flow"
    ids = tokens(folder, text)
    from safetensors.torch import load_file

    head = load_file(folder / "model.safetensors")
    weights = torch.relu(hidden_states(folder, ids) @ head["tok_proj.weight"][0] + head["tok_proj.bias"]).numpy()
    vector = own(folder, {"kind": "regression", "pooling": pooling, "activation": "sqrt_relu"})
    found = load(vector).encode_documents([text]).toarray()[0]
    for term in {*ids} - {*SPECIAL}:
        values = [np.sqrt(weights[place]) for place, number in enumerate(ids) if number == term]
        assert found[term] == pytest.approx(
            {"sum": sum, "max": max, "first": lambda v: v[0]}[pooling](values), abs=1e-5
        )
    assert plain.encode_documents([text]).nnz == 2


def test_expansion_by_another_models_first_token(tmp_path: Path) -> None:
    folder = build_tiny_term_weighting(tmp_path / "model", "unicoil", seed=1)
    build_tiny_masked_lm(folder / "tilde", seed=4)
    own(folder, {"kind": "regression", "expansion": "tilde", "expansion_terms": 6})
    from safetensors.torch import load_file

    head = load_file(folder / "model.safetensors")
    expected = []
    for text in TEXTS:
        ids = tokens(folder, text)
        likeliness = logits(folder / "tilde", ids)[0].numpy()
        added = [number for number in np.argsort(-likeliness, kind="stable") if number not in {*ids, *SPECIAL}][:6]
        ids = [*ids[:-1], *added, ids[-1]]
        weights = torch.relu(hidden_states(folder, ids) @ head["tok_proj.weight"][0] + head["tok_proj.bias"]).numpy()
        vector = np.zeros(len(vocabulary()), np.float32)
        np.maximum.at(vector, ids, weights)
        expected.append(cleaned(vector, text))
    encoder = load(folder)
    check(encoder, expected)
    assert encoder.encode_documents(["wing"]).nnz > 1


def test_decoder_with_echo(tmp_path: Path) -> None:
    folder = own(build_tiny_causal_lm(tmp_path / "model"), {"kind": "mlm", "echo": True})
    expected = []
    for text in TEXTS:
        start, *inner, end = tokens(folder, text)
        scores = logits(folder, [start, *inner, *inner, end], transformers.AutoModelForCausalLM)
        second = scores[1 + len(inner) : 1 + 2 * len(inner)].clamp(min=0).log1p()
        expected.append(cleaned(second.max(dim=0).values if inner else second.sum(dim=0), text))
    encoder = load(folder)
    assert encoder.identity.kind == "decoder"
    check(encoder, expected)


def test_a_lora_adapter_is_merged(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    folder = build_tiny_causal_lm(tmp_path / "model")
    adapted = Path(shutil.copytree(folder, tmp_path / "adapted"))
    generator = torch.Generator().manual_seed(7)
    parts = {}
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    for layer in (0, 1):
        target = f"model.layers.{layer}.self_attn.q_proj"
        down, up = torch.randn(4, 32, generator=generator), torch.randn(32, 4, generator=generator)
        parts[f"base_model.model.{target}.lora_A.weight"] = down
        parts[f"base_model.model.{target}.lora_B.weight"] = up
        model.get_submodule(target).weight.data += 8 / 4 * up @ down
    model.save_pretrained(adapted)
    (folder / "lora").mkdir()
    save_file(parts, folder / "lora" / "adapter_model.safetensors")
    (folder / "lora" / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 8, "peft_type": "LORA"}))
    merged = load(own(folder, {"kind": "mlm", "echo": True, "adapter": "lora"}))
    expected = load(own(adapted, {"kind": "mlm", "echo": True}))
    bare = load(own(Path(shutil.copytree(folder, tmp_path / "bare")), {"kind": "mlm", "echo": True}))
    vectors = expected.encode_documents(TEXTS).toarray()
    np.testing.assert_allclose(merged.encode_documents(TEXTS).toarray(), vectors, atol=1e-4)
    assert np.abs(bare.encode_documents(TEXTS).toarray() - vectors).max() > 0.1

    (folder / "lora" / "adapter_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"adapter_config.json cannot be read"):
        load(folder).prepare()


def test_binary_and_counted_tables(tmp_path: Path) -> None:
    save_tiny_tokenizer(tmp_path)
    own(tmp_path, {"kind": "table"}, {"kind": "table", "counted": True})
    encoder = load(tmp_path)
    for row, text in zip(encoder.encode_documents(TEXTS).toarray(), TEXTS, strict=True):
        counts = np.bincount(tokens(tmp_path, text), minlength=len(vocabulary())).astype(np.float32)
        np.testing.assert_array_equal(row, cleaned(counts > 0, text))
        np.testing.assert_array_equal(dense(*encoder.encode_query(text)), cleaned(counts, text))


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        ({"format": 2}, "not of format 1"),
        ({"format": 1}, "no kind"),
        ({"format": 1, "document": {"kind": "dense"}}, "no kind"),
        ({"format": 1, "document": {"kind": "mlm", "colour": 1}}, "colour is 1"),
        ({"format": 1, "document": {"kind": "mlm", "echo": "yes"}}, "echo is 'yes'"),
        ({"format": 1, "document": {"kind": "mlm", "pooling": "first"}}, "pooling is 'first'"),
        ({"format": 1, "document": {"kind": "mlm", "activation": "gelu"}}, "activation is 'gelu'"),
        ({"format": 1, "document": {"kind": "mlm", "folder": "../elsewhere"}}, "outside of the checkpoint"),
        ({"format": 1, "document": {"kind": "mlm", "folder": "nothing"}}, "which does not exist"),
        ({"format": 1, "document": {"kind": "table", "weights": "../x"}}, "weights is"),
    ],
)
def test_an_encoder_file_that_says_nonsense(tmp_path: Path, sides: dict[str, Any], message: str) -> None:
    (tmp_path / "lexhound_encoder.json").write_text(json.dumps(sides))
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path)
