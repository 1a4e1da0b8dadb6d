"""Latents of a text's dense vector (CSR) against sentence-transformers and a plain formula; folders and names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from sentence_transformers import SparseEncoder
from tiny_checkpoints import build_tiny_embedding_model

from lexhound.encoders.errors import CheckpointError, SettingsError
from lexhound.encoders.latent.autoencoder import Autoencoder, LatentActivations, read_autoencoder, write_autoencoder
from lexhound.encoders.runtime.int16.kernels import available
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.sparse.saving import save_encoder
from lexhound.encoders.sparse.settings import LearnedSettings
from lexhound.retrieval.collection.collection import Collection
from lexhound.retrieval.documents.document import Document

TEXTS = [
    "heat transfer in hypersonic flow",
    "",
    "the cat sat on the mat. " * 30,
    "wing",
    "laminar flow over a flat plate with heat transfer at high mach number and low pressure",
]
FLOAT32 = LearnedSettings(device="cpu", precision="float32")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that sentence-transformers itself wrote."""
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from sentence_transformers.sparse_encoder.modules import SparseAutoEncoder

    base = tmp_path_factory.mktemp("latents")
    body = build_tiny_embedding_model(base / "body")
    torch.manual_seed(5)
    autoencoder = SparseAutoEncoder(32, 96, k=6, k_aux=8)
    with torch.no_grad():
        autoencoder.latent_bias.normal_(0, 0.1)
        autoencoder.pre_bias.normal_(0, 0.1)
    encoder = SparseEncoder(modules=[Transformer(str(body)), Pooling(32, "mean"), autoencoder], device="cpu")
    encoder.save_pretrained(str(base / "csr"), create_model_card=False)
    return base / "csr"


def of_sentence_transformers(folder: Path, texts: list[str]) -> np.ndarray:
    return SparseEncoder(str(folder), device="cpu").encode(texts, convert_to_sparse_tensor=False).cpu().numpy()


def test_vectors_are_those_of_sentence_transformers(plain: Path) -> None:
    encoder = LearnedEncoder(plain, FLOAT32)
    ours = encoder.encode_documents(TEXTS).toarray()
    assert encoder.identity.kind == "latent"
    assert ours.shape == (len(TEXTS), 96)
    assert not ours[1].any()  # a text without a token has no vector here
    rest = [row for row, text in enumerate(TEXTS) if text]
    np.testing.assert_allclose(ours[rest], of_sentence_transformers(plain, [TEXTS[row] for row in rest]), atol=2e-5)
    assert {len(np.flatnonzero(row)) for row in ours[rest]} == {6}
    for row, (terms, weights) in enumerate(encoder.encode_queries(TEXTS)):
        vector = np.zeros(96, np.float32)
        vector[terms] = weights
        np.testing.assert_array_equal(vector, ours[row])


@pytest.mark.parametrize("most", [1, 3, 50])
def test_how_many_latents_the_folder_says(plain: Path, tmp_path: Path, most: int) -> None:
    folder = Path(shutil.copytree(plain, tmp_path / "copy"))
    path = folder / "config_sentence_transformers.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"max_active_dims": most}))
    vectors = LearnedEncoder(folder, FLOAT32).encode_documents(["wing flow"]).toarray()
    np.testing.assert_allclose(vectors, of_sentence_transformers(folder, ["wing flow"]), atol=2e-5)


def test_normalised_inputs_and_unit_vectors(plain: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(plain, tmp_path / "copy"))
    config = folder / "2_SparseAutoEncoder" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"normalize": True}))
    modules = json.loads((folder / "modules.json").read_text())
    normalize = {
        "path": "3_Normalize",
        "type": "sentence_transformers.sentence_transformer.modules.normalize.Normalize",
    }
    (folder / "3_Normalize").mkdir()
    (folder / "modules.json").write_text(json.dumps([*modules[:2], {"idx": 2, "name": "n", **normalize}, modules[2]]))
    vectors = LearnedEncoder(folder, FLOAT32).encode_documents(["wing flow", "heat"]).toarray()
    np.testing.assert_allclose(vectors, of_sentence_transformers(folder, ["wing flow", "heat"]), atol=2e-5)


def test_saved_again_it_is_the_same(plain: Path, tmp_path: Path) -> None:
    encoder = LearnedEncoder(plain, FLOAT32)
    folder = save_encoder(encoder, tmp_path / "again")
    again = LearnedEncoder(folder, FLOAT32)
    np.testing.assert_array_equal(again.encode_documents(TEXTS).toarray(), encoder.encode_documents(TEXTS).toarray())
    np.testing.assert_allclose(
        of_sentence_transformers(folder, ["wing flow"]), of_sentence_transformers(plain, ["wing flow"]), atol=1e-6
    )


def plain_largest(model: Autoencoder, vector: np.ndarray, k: int) -> dict[int, float]:
    """The formula for one vector, in float64, a latent at a time."""
    if model.normalise:
        vector = (vector - vector.mean()) / (vector.std(ddof=1) + 1e-5)
    z = [float(row @ (vector - model.centre) + bias) for row, bias in zip(model.weight, model.bias, strict=True)]
    best = sorted(range(len(z)), key=lambda latent: (-z[latent], latent))[:k]
    return {latent: z[latent] for latent in best if z[latent] > 0}


@pytest.mark.parametrize(
    "integers", [False, pytest.param(True, marks=pytest.mark.skipif(not available(), reason="AVX2"))]
)
@pytest.mark.parametrize("normalise", [False, True])
def test_latents_are_those_of_the_formula(integers: bool, normalise: bool) -> None:
    random = np.random.default_rng(3)
    model = Autoencoder(
        random.normal(size=(70, 20)).astype(np.float32), random.normal(size=70).astype(np.float32),
        random.normal(size=20).astype(np.float32), 5, normalise,
    )  # fmt: skip
    vectors = random.normal(size=(300, 20)).astype(np.float32)
    found = LatentActivations(model, integers).largest(vectors)
    for vector, (ids, values) in zip(vectors, found, strict=True):
        assert (np.diff(ids) > 0).all()
        expected = plain_largest(model, vector.astype(np.float64), 5)
        np.testing.assert_allclose(sorted(values), sorted(expected.values()), rtol=1e-3, atol=2e-3)
    alone = LatentActivations(model, integers).largest(vectors[7:8])[0]
    if integers:  # to the bit, whatever is beside it
        np.testing.assert_array_equal(alone[0], found[7][0])
        np.testing.assert_array_equal(alone[1], found[7][1])


def test_of_equal_latents_the_lower_is_kept() -> None:
    model = Autoencoder(np.ones((6, 4), np.float32), np.zeros(6, np.float32), np.zeros(4, np.float32), 3)
    [(ids, values)] = LatentActivations(model).largest(np.ones((1, 4), np.float32))
    assert ids.tolist() == [0, 1, 2]
    assert values.tolist() == [4.0, 4.0, 4.0]
    [(ids, values)] = LatentActivations(model).largest(-np.ones((1, 4), np.float32))
    assert (len(ids), len(values)) == (0, 0)


def test_an_autoencoder_is_read_as_written(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    model = Autoencoder(*(random.normal(size=size).astype(np.float32) for size in ((9, 4), 9, 4)), 3, True)
    write_autoencoder(model, tmp_path / "a")
    read = read_autoencoder(tmp_path / "a")
    assert (read.k, read.normalise, read.latents) == (3, True, 9)
    for name in ("weight", "bias", "centre"):
        np.testing.assert_array_equal(getattr(read, name), getattr(model, name))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("latent_bias"), "lacks the weights latent_bias"),
        (lambda tensors: tensors.pop("decoder.linear.weight"), "lacks the weights encoder.weight"),
        (lambda tensors: tensors.update(pre_bias=np.zeros(5, np.float32)), "do not fit each other"),
        (lambda tensors: tensors["pre_bias"].fill(np.nan), "is not a number"),
    ],
)
def test_damaged_weights_are_named(tmp_path: Path, change: object, message: str) -> None:
    random = np.random.default_rng(4)
    write_autoencoder(Autoencoder(*(random.normal(size=n).astype(np.float32) for n in ((9, 4), 9, 4)), 3), tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    change(tensors)  # type: ignore[operator]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=message):
        read_autoencoder(tmp_path)


def test_what_does_not_fit_is_refused(plain: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(plain, tmp_path / "copy"))
    write_autoencoder(read_autoencoder(folder / "2_SparseAutoEncoder"), folder / "2_SparseAutoEncoder")
    narrow = Autoencoder(np.ones((4, 6), np.float32), np.zeros(4, np.float32), np.zeros(6, np.float32), 2)
    write_autoencoder(narrow, folder / "2_SparseAutoEncoder")
    with pytest.raises(CheckpointError, match="is of vectors of 6 values, and the model makes 32"):
        LearnedEncoder(folder, FLOAT32).prepare()
    with pytest.raises(SettingsError, match="pooling and activation"):
        LearnedEncoder(plain, LearnedSettings(pooling="max", device="cpu")).prepare()
    pooling = folder / "1_Pooling" / "config.json"
    pooling.write_text(json.dumps(json.loads(pooling.read_text()) | {"include_prompt": False}))
    with pytest.raises(CheckpointError, match="include_prompt"):
        LearnedEncoder(folder, FLOAT32)


def test_names_of_latents(plain: Path) -> None:
    encoder = LearnedEncoder(plain, FLOAT32)
    assert encoder.term_text(95) == "latent:95"
    assert encoder.lookup(["latent:95", "latent:96", "latent:07", "wing", "latent:"]).tolist() == [95, -1, -1, -1, -1]
    assert encoder.special_tokens == {}
    assert encoder.spans("wing flow") == []
    for wrong in (-1, 96):
        with pytest.raises(IndexError):
            encoder.term_text(wrong)


def test_a_collection_of_latents(plain: Path, tmp_path: Path) -> None:
    texts = [text for text in TEXTS if text]
    vectors = LearnedEncoder(plain).encode_documents(texts).toarray().astype(np.float64)
    with Collection.create(tmp_path / "c", encoder=str(plain), dense="none", passages="none") as collection:
        collection.add([Document(str(number), text) for number, text in enumerate(texts)])
    with Collection.open(tmp_path / "c") as collection:
        for number, text in enumerate(texts):
            scores = vectors @ vectors[number]
            hits = collection.search(text, k=4, explain=True).hits
            assert [int(hit.id) for hit in hits] == np.argsort(-scores, kind="stable")[: len(hits)].tolist()
            assert hits[0].score == pytest.approx(scores.max(), rel=0.02)  # impacts have eight bits
