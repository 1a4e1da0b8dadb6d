"""BERT-type checkpoints without torch, against transformers: states, logits, vectors, and incomplete files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_checkpoints import build_tiny_masked_lm, build_tiny_term_weighting

from lexhound.core.errors import MissingExtraError
from lexhound.encoders.dense.encoder import DenseEncoder
from lexhound.encoders.dense.settings import DenseSettings
from lexhound.encoders.errors import CheckpointError, SettingsError
from lexhound.encoders.runtime import device as device_module
from lexhound.encoders.runtime.bert.activations import ACTIVATIONS
from lexhound.encoders.runtime.bert.config import read_bert_config
from lexhound.encoders.runtime.bert.float32 import Float32Backbone, Float32Head, linear
from lexhound.encoders.runtime.bert.weights import read_bert, read_masked_lm
from lexhound.encoders.runtime.device import runs_on_cpu, threads
from lexhound.encoders.sparse.bert import BertEncoder
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.sparse.settings import LearnedSettings
from lexhound.encoders.sparse.transformer import LanguageModelEncoder

ARCHITECTURES = ("bert", "distilbert", "roberta")
ROWS = [[3], [3, 9, 4], [0, 7, 0, 12, 0], list(range(5, 60))]  # one with padding, which RoBERTa does not count
TEXTS = ["heat transfer in flow", "", "the cat sat on the mat. " * 30, "wing", "low pressure; 42?"]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_masked_lm(tmp_path_factory.mktemp("kinds") / request.param, architecture=request.param)


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return build_tiny_masked_lm(tmp_path / "bert")


def logits_of(folder: Path) -> list[np.ndarray]:
    """Return the logits of ROWS as transformers makes them."""
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder).eval()
    with torch.inference_mode():
        return [model(input_ids=torch.tensor([row])).logits[0].numpy() for row in ROWS]


def our_logits(folder: Path) -> list[np.ndarray]:
    config = read_bert_config(folder)
    assert config is not None
    backbone, head = read_masked_lm(folder, config)
    states, lengths = Float32Backbone(backbone).states(ROWS), [len(row) for row in ROWS]
    logits = linear(Float32Head(head, config.activation, config.epsilon).transform(states, lengths), head.decoder)
    return np.split(logits, np.cumsum([len(row) for row in ROWS])[:-1])


def edit(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def rename(folder: Path, change: Callable[[str], str | None]) -> None:
    """Give the weights in a folder other names, or drop those whose name is None."""
    path = folder / "model.safetensors"
    tensors = {change(name): tensor.clone() for name, tensor in load_file(path).items()}
    save_file({name: tensor for name, tensor in tensors.items() if name is not None}, path)


def assert_close(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    for found, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4 * max(1.0, float(np.abs(expected).max())))


def test_logits_are_those_of_transformers(folder: Path) -> None:
    assert_close(our_logits(folder), logits_of(folder))


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_activations(bert: Path, activation: str) -> None:
    edit(bert, hidden_act=activation)
    assert_close(our_logits(bert), logits_of(bert))


def test_a_decoder_of_its_own(tmp_path: Path) -> None:
    config = transformers.BertConfig(
        vocab_size=150, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64, tie_word_embeddings=False,
    )  # fmt: skip
    transformers.BertForMaskedLM(config).save_pretrained(tmp_path)
    assert "cls.predictions.decoder.weight" in load_file(tmp_path / "model.safetensors")
    assert_close(our_logits(tmp_path), logits_of(tmp_path))


def test_the_names_of_older_files(bert: Path) -> None:
    expected = our_logits(bert)
    rename(
        bert,
        lambda name: name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"),
    )
    assert_close(our_logits(bert), expected)
    rename(bert, lambda name: name.replace("bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"))
    assert_close(our_logits(bert), expected)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes(bert: Path, kind: torch.dtype) -> None:
    path = bert / "model.safetensors"
    save_file({name: tensor.to(kind) for name, tensor in load_file(path).items()}, path)
    rounded = {name: tensor.float() for name, tensor in load_file(path).items()}
    ours = our_logits(bert)
    save_file(rounded, path)
    assert_close(our_logits(bert), ours)
    assert_close(ours, logits_of(bert))


def test_weights_in_parts_and_in_older_files(bert: Path) -> None:
    expected = our_logits(bert)
    model = transformers.AutoModelForMaskedLM.from_pretrained(bert)
    (bert / "model.safetensors").unlink()
    model.save_pretrained(bert, max_shard_size="30KB")
    assert len(list(bert.glob("model-*.safetensors"))) > 1
    assert_close(our_logits(bert), expected)
    for path in bert.glob("model*"):
        path.unlink()
    torch.save(model.state_dict(), bert / "pytorch_model.bin")
    assert_close(our_logits(bert), expected)


def test_a_backbone_alone(folder: Path, tmp_path: Path) -> None:
    transformers.AutoModel.from_pretrained(folder).save_pretrained(tmp_path)
    config = read_bert_config(tmp_path)
    assert config is not None
    ours, whole = (Float32Backbone(read_bert(each, config)).states(ROWS) for each in (tmp_path, folder))
    np.testing.assert_array_equal(ours, whole)
    with pytest.raises(CheckpointError, match="is not a masked language model: its files lack 5 of the weights"):
        read_masked_lm(tmp_path, config)


def test_what_is_not_complete(bert: Path) -> None:
    config = read_bert_config(bert)
    assert config is not None
    name = "bert.encoder.layer.1.attention.output.dense.bias"
    path = bert / "model.safetensors"
    whole = path.read_bytes()
    rename(bert, lambda each: None if each == name else each)
    with pytest.raises(CheckpointError, match=rf"lack 1 of the weights \({name}\)"):
        read_masked_lm(bert, config)
    save_file(load_file(path) | {name: torch.zeros(31)}, path)
    with pytest.raises(CheckpointError, match=rf"the weights {name} are 31, and its configuration makes them 32"):
        read_masked_lm(bert, config)
    path.write_bytes(whole[:-100])
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read"):
        read_masked_lm(bert, config)
    edit(bert, num_hidden_layers=-1)
    with pytest.raises(CheckpointError, match="num_hidden_layers is -1"):
        read_bert_config(bert)


@pytest.mark.parametrize(
    "values",
    [
        {"model_type": "electra"},
        {"is_decoder": True},
        {"hidden_act": "silu"},
        {"position_embedding_type": "relative_key"},
        {"auto_map": {"AutoModel": "own.Model"}},
    ],
)
def test_other_forms_are_left_to_torch(bert: Path, values: dict[str, object]) -> None:
    edit(bert, **values)
    assert read_bert_config(bert) is None


@pytest.mark.parametrize("pooling", ["max", "sum", "cls"])
def test_a_vector_does_not_depend_on_its_batch(folder: Path, pooling: str) -> None:
    """To the bit: the same text is as near to a query wherever it stands."""
    settings = LearnedSettings(device="cpu", precision="float32", pooling=pooling)
    sparse, dense = LearnedEncoder(folder, settings), DenseEncoder(folder, DenseSettings(device="cpu"))
    many = [*TEXTS, "wing", *(text[:9] for text in TEXTS), "wing"]
    vectors, states = sparse.encode_documents(many).toarray(), dense.encode_documents(many)
    for number, text in enumerate(many):
        np.testing.assert_array_equal(sparse.encode_documents([text]).toarray()[0], vectors[number])
        np.testing.assert_array_equal(dense.encode_documents([text])[0], states[number])


def test_torch_and_this_make_the_same_vectors(folder: Path, tmp_path: Path) -> None:
    """What a GPU would run, on the CPU; and what runs here, in float32."""
    encoder = LearnedEncoder(folder, LearnedSettings(device="cpu", precision="float32"))
    ours = encoder._encoder("document")
    assert isinstance(ours, BertEncoder)
    theirs = LanguageModelEncoder(folder, encoder.subwords("document"), encoder.layout.document, encoder.settings)
    for pooling in ("max", "sum", "cls"):
        ours._pooling = theirs._pooling = pooling
        theirs._screened = None
        (one, means), (other, others) = ours.encode_with_means(TEXTS), theirs.encode_with_means(TEXTS)
        np.testing.assert_allclose(means, others, atol=1e-4)
        for (terms, weights), (other_terms, other_weights) in zip(one, other, strict=True):
            np.testing.assert_array_equal(terms, other_terms)
            np.testing.assert_allclose(weights, other_weights, atol=1e-4 * max(1.0, *weights) if len(weights) else 0)


def test_encoders_of_one_model_hold_it_once(bert: Path) -> None:
    sparse = LearnedEncoder(bert, LearnedSettings(device="cpu"))
    dense = DenseEncoder(bert, DenseSettings(device="cpu"))
    masked_lm = sparse._encoder("document")
    assert isinstance(masked_lm, BertEncoder)
    assert dense.backbone._states_model() is masked_lm._model.backbone
    exact = DenseEncoder(bert, DenseSettings(device="cpu", precision="int16"))
    assert exact.backbone._states_model() is not masked_lm._model.backbone
    before = dense.encode_documents(TEXTS)
    path = bert / "model.safetensors"
    save_file({name: 2 * tensor for name, tensor in load_file(path).items()}, path)
    changed = DenseEncoder(bert, DenseSettings(device="cpu"))
    assert changed.backbone._states_model() is not masked_lm._model.backbone
    assert not np.array_equal(changed.encode_documents(TEXTS), before), "other weights are another model"


def test_where_a_model_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert runs_on_cpu("cpu")
    assert not runs_on_cpu("cuda")
    asked: list[str] = []
    monkeypatch.setattr(device_module, "choose_device", lambda name: asked.append(name) or torch.device("cuda"))
    monkeypatch.setattr(device_module, "_ACCELERATORS", ("/nowhere",))
    monkeypatch.setattr(sys, "platform", "linux")
    assert runs_on_cpu("auto")
    assert not asked, "torch is imported only where there may be a GPU"
    monkeypatch.setattr(device_module, "_ACCELERATORS", ("/dev/null",))
    assert not runs_on_cpu("auto")
    monkeypatch.setattr(device_module, "find_spec", lambda _: None)
    assert runs_on_cpu("auto")
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert threads() >= 1


def test_what_needs_torch_says_so(bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("torch", "transformers"):
        monkeypatch.setitem(sys.modules, package, None)
    found = LearnedEncoder(bert, LearnedSettings(device="cpu")).encode_documents(TEXTS)
    assert found.nnz
    dense = DenseEncoder(bert, DenseSettings(device="cpu")).encode_documents(TEXTS)
    assert np.linalg.norm(dense, axis=1).round(4).tolist() == [1, 0, 1, 1, 1]
    edit(bert, hidden_act="silu")
    for encode in (
        lambda: LearnedEncoder(bert, LearnedSettings(device="cpu")).encode_documents(TEXTS),
        lambda: DenseEncoder(bert, DenseSettings(device="cpu")).encode_documents(TEXTS),
    ):
        with pytest.raises(MissingExtraError, match="not of BERT's form in safetensors") as caught:
            encode()
        assert "lexhound[neural]" in str(caught.value.hint)
    with pytest.raises(MissingExtraError):
        LearnedEncoder(bert, LearnedSettings(device="cpu", precision="bfloat16")).encode_documents(TEXTS)


def test_integers_that_the_form_does_not_allow(bert: Path) -> None:
    edit(bert, hidden_act="relu")
    assert LearnedEncoder(bert, LearnedSettings(device="cpu")).encode_documents(TEXTS).nnz
    with pytest.raises(SettingsError, match="cannot be run in 16-bit integers"):
        LearnedEncoder(bert, LearnedSettings(device="cpu", precision="int16")).encode_documents(TEXTS)
    edit(bert, hidden_act="silu")
    with pytest.raises(SettingsError, match="cannot be run in 16-bit integers"):
        LearnedEncoder(bert, LearnedSettings(device="cpu", precision="int16")).encode_documents(TEXTS)


_WITHOUT = """
import sys
for package in ("torch", "transformers"):
    sys.modules[package] = None
from lexhound.encoders.load import load_encoder
for name in sys.argv[1:]:
    encoder = load_encoder(name)
    encoder.prepare()
    print(encoder.identity.kind, encoder.encode_documents(["heat transfer in flow"]).nnz > 0)
"""


def test_a_process_without_torch(bert: Path, tmp_path: Path) -> None:
    """The encoder that comes with the package, and checkpoints of others."""
    unicoil = build_tiny_term_weighting(tmp_path / "unicoil", "unicoil")
    names = ("lexhound-mini", str(bert), str(unicoil))
    result = subprocess.run([sys.executable, "-c", _WITHOUT, *names], capture_output=True, text=True, check=False)
    assert result.stdout.split("\n")[:3] == ["inference-free True", "splade True", "term-weighting True"], result.stderr
