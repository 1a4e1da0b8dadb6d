"""The document side under training: columns, gradients, freezing, the head in closed form, what is written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from tiny_checkpoints import build_tiny_masked_lm

from lexhound.encoders.dense.encoder import DenseEncoder
from lexhound.encoders.errors import CheckpointError, TrainingError
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.sparse.settings import LearnedSettings
from lexhound.training.export import DocumentUse, export_encoder
from lexhound.training.initialization import solve_head
from lexhound.training.model import ModelSettings, TrainableEncoder
from lexhound.training.recipe import QueryRecipe

TEXTS = ["heat transfer in a wing", "the boundary layer", "cat", "", "shock wave of a blunt body " * 9]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return build_tiny_masked_lm(tmp_path / "base", seed=3)


def body_alone(folder: Path, into: Path) -> Path:
    """The same checkpoint without its head."""
    model = transformers.BertForMaskedLM.from_pretrained(folder)
    model.bert.save_pretrained(into)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (into / name).write_bytes((folder / name).read_bytes())
    return into


def test_vectors_are_those_of_the_encoder_that_searches(folder: Path) -> None:
    model = TrainableEncoder(ModelSettings(str(folder), max_length=32))
    expected = LearnedEncoder(folder, LearnedSettings(max_length=32)).encode_documents(TEXTS).toarray()
    found = model.encode(model.token_ids(TEXTS)).toarray()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not found[3].any()


def test_some_columns_are_the_same_as_all_of_them_and_so_are_their_gradients(folder: Path) -> None:
    model = TrainableEncoder(ModelSettings(str(folder), max_length=32))
    token_ids = [text_ids for text_ids in model.token_ids(TEXTS) if len(text_ids)]
    columns = torch.tensor([7, 9, 30, 55])
    pull = torch.randn(len(token_ids), 4, generator=torch.Generator().manual_seed(0))
    gradients = []
    for chosen in (None, columns):
        model.zero_grad()
        logits, _ = model.logits_and_means(token_ids, chosen, batch_tokens=40)
        some = logits[:, columns] if chosen is None else logits
        (some * pull).sum().backward()
        gradients.append(
            (some.detach(), {n: p.grad.clone() for n, p in model.network.named_parameters() if p.grad is not None})
        )
    torch.testing.assert_close(gradients[0][0], gradients[1][0])
    assert gradients[0][1].keys() == gradients[1][1].keys()
    for name, gradient in gradients[0][1].items():
        torch.testing.assert_close(gradient, gradients[1][1][name], atol=1e-5, rtol=1e-4)


def test_means_are_those_of_a_plain_pass(folder: Path) -> None:
    model = TrainableEncoder(ModelSettings(str(folder), max_length=32))
    token_ids = model.token_ids(TEXTS)
    _, means = model.logits_and_means(token_ids, torch.tensor([5]))
    body = transformers.BertForMaskedLM.from_pretrained(folder).eval().bert
    for text_ids, mean in zip(token_ids, means, strict=True):
        ids = torch.tensor([[2, *text_ids.tolist(), 3]])
        with torch.no_grad():
            plain = body(input_ids=ids).last_hidden_state[0].mean(dim=0)
        torch.testing.assert_close(mean.detach(), plain, atol=1e-5, rtol=1e-4)


def test_frozen_layers_stay_and_the_others_learn(folder: Path) -> None:
    model = TrainableEncoder(ModelSettings(str(folder), frozen_layers=1))
    logits, _ = model.logits_and_means(model.token_ids(TEXTS[:2]))
    logits.sum().backward()
    learning = {name for name, weight in model.network.named_parameters() if weight.grad is not None}
    assert not any("layer.0." in name or "position_embeddings" in name for name in learning)
    assert any("layer.1." in name for name in learning)
    assert "bert.embeddings.word_embeddings.weight" in learning  # as the decoder
    with pytest.raises(CheckpointError, match="2 layers"):
        TrainableEncoder(ModelSettings(str(folder), frozen_layers=3))


def test_a_body_without_a_head_gets_one_that_finds_its_own_words(folder: Path, tmp_path: Path) -> None:
    model = TrainableEncoder(ModelSettings(str(body_alone(folder, tmp_path / "body")), max_length=32))
    assert not model.has_head
    words = [word for word in model.subwords.ids_by_token if word.isalpha() and len(word) > 2]
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(words, 12)) for _ in range(60)]
    start = solve_head(model, model.token_ids(texts), own=3.0, absent_quantile=0.9)
    assert model.has_head
    assert start.own_first > 0.5
    vectors = model.encode(model.token_ids(texts)).toarray()
    own = np.zeros_like(vectors, dtype=bool)
    for row, text_ids in enumerate(model.token_ids(texts)):
        own[row, text_ids] = True
    assert (vectors[own] > 0).mean() > 0.8
    assert (vectors[~own & model.terms] > 0).mean() == pytest.approx(0.1, abs=0.05)


def test_a_head_of_another_kind_is_refused(tmp_path: Path) -> None:
    model = TrainableEncoder(ModelSettings(str(build_tiny_masked_lm(tmp_path / "r", architecture="distilbert"))))
    with pytest.raises(CheckpointError, match="no head of BERT's kind"):
        solve_head(model, model.token_ids(["heat transfer"]))


@pytest.mark.parametrize("activation", ["log1p_relu", "log1p_log1p_relu"])
def test_what_is_written_makes_the_same_vectors(folder: Path, tmp_path: Path, activation: str) -> None:
    model = TrainableEncoder(ModelSettings(str(folder), max_length=32, activation=activation))
    table = np.linspace(0.1, 5, model.vocabulary_size, dtype=np.float32) * model.terms
    written = export_encoder(model, table, tmp_path / "out", half=False)
    encoder = LearnedEncoder(written, LearnedSettings(max_length=32))
    found = encoder.encode_documents(TEXTS).toarray()
    np.testing.assert_allclose(found, model.encode(model.token_ids(TEXTS)).toarray(), atol=1e-5)
    terms, weights = encoder.encode_query("heat transfer heat")
    np.testing.assert_allclose(weights, table[terms], rtol=1e-6)
    assert len(terms) == 2
    with pytest.raises(TrainingError, match="not empty"):
        export_encoder(model, table, tmp_path / "out")


def test_what_sentence_transformers_cannot_say_stands_beside_it(folder: Path, tmp_path: Path) -> None:
    model = TrainableEncoder(ModelSettings(str(folder), max_length=32))
    table = np.linspace(0.1, 5, model.vocabulary_size, dtype=np.float32) * model.terms
    query = QueryRecipe(counted=True, prior=70)
    written = export_encoder(
        model, table, tmp_path / "out", half=False, query=query, document=DocumentUse(top_k=9, dense="mean")
    )
    encoder = LearnedEncoder(written, LearnedSettings(max_length=32))
    assert (encoder.layout.query.counted, encoder.layout.query.prior) == (True, 70)
    assert (encoder.layout.document.pooling, encoder.layout.document.dense) == ("max", "mean")
    assert DenseEncoder(written).encode_documents(TEXTS).shape[0] == len(TEXTS)
    full = model.encode(model.token_ids(TEXTS)).toarray()
    kept = encoder.encode_documents(TEXTS).toarray()
    assert (np.count_nonzero(kept, axis=1) == np.minimum(9, np.count_nonzero(full, axis=1))).all()
    np.testing.assert_allclose(kept[kept > 0], full[kept > 0], atol=1e-5)
    wider = LearnedEncoder(written, LearnedSettings(max_length=32, top_k=12)).encode_documents(TEXTS).toarray()
    assert np.count_nonzero(wider, axis=1).max() == min(12, np.count_nonzero(full, axis=1).max())
    terms, weights = encoder.encode_query("heat transfer heat")
    twice = [2 if encoder.term_text(int(term)) == "heat" else 1 for term in terms]
    np.testing.assert_allclose(weights, table[terms] * twice, rtol=1e-6)
    (written / "lexhound_encoder.json").unlink()
    plain = LearnedEncoder(written, LearnedSettings(max_length=32, top_k=9))
    np.testing.assert_array_equal(plain.encode_documents(TEXTS).toarray(), kept)


def test_a_run_starts_from_the_document_side_of_a_whole_encoder(folder: Path, tmp_path: Path) -> None:
    first = TrainableEncoder(ModelSettings(str(folder), max_length=32))
    table = np.ones(first.vocabulary_size, np.float32) * first.terms
    for name, more in (("plain", {}), ("own", {"query": QueryRecipe(counted=True)})):
        written = export_encoder(first, table, tmp_path / name, half=False, **more)
        again = TrainableEncoder(ModelSettings(str(written), max_length=32))
        np.testing.assert_array_equal(
            again.encode(again.token_ids(TEXTS)).toarray(), first.encode(first.token_ids(TEXTS)).toarray()
        )
        assert again.has_head


def test_half_precision_is_of_the_file_alone(folder: Path, tmp_path: Path) -> None:
    model = TrainableEncoder(ModelSettings(str(folder), max_length=32))
    written = export_encoder(model, np.ones(model.vocabulary_size, np.float32), tmp_path / "out")
    (weights,) = written.glob("*Transformer/model.safetensors")
    assert weights.stat().st_size < 0.6 * (folder / "model.safetensors").stat().st_size
    assert json.loads((weights.parent / "config.json").read_text())["dtype"] == "float32"
    found = LearnedEncoder(written, LearnedSettings(max_length=32)).encode_documents(TEXTS).toarray()
    expected = model.encode(model.token_ids(TEXTS)).toarray()
    np.testing.assert_allclose(found, expected, atol=0.05)

    from sentence_transformers import SparseEncoder

    theirs = SparseEncoder(str(written), device="cpu").encode_document(TEXTS[:3], convert_to_sparse_tensor=False)
    # They let special tokens be terms of documents, which no query asks for.
    np.testing.assert_allclose(theirs.float().numpy() * model.terms, found[:3], atol=1e-4)
