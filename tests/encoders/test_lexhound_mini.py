"""The encoder that comes with the package: it is there, it means something, and others can read it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lexhound.encoders.bundled import DEFAULT, MINI, bundled_folder, bundled_names
from lexhound.encoders.dense import DenseEncoder, DenseSettings
from lexhound.encoders.learned import LearnedEncoder
from lexhound.encoders.one_pass import shares_a_pass
from lexhound.encoders.settings import LearnedSettings
from lexhound.encoders.training.recipe import read_recipe

TEXTS = [
    "The kitten slept on the windowsill while rain fell outside.",
    "Petrol prices rose after the refinery fire.",
    "Statins lower cholesterol and the risk of heart attacks.",
    "Lift on a thin wing at supersonic speed was computed from linear theory.",
]
QUESTIONS = ["where did the cat sleep", "cost of fuel", "drugs against high cholesterol", "wings faster than sound"]


@pytest.fixture(scope="module")
def mini() -> LearnedEncoder:
    return LearnedEncoder(MINI, LearnedSettings(device="cpu", precision="float32"))


@pytest.fixture(scope="module")
def vectors(mini: LearnedEncoder) -> np.ndarray:
    return np.asarray(mini.encode_documents(TEXTS).toarray())


def folder() -> Path:
    found = bundled_folder(MINI)
    assert found is not None
    return found


def test_found_by_both_of_its_names(mini: LearnedEncoder) -> None:
    assert MINI in bundled_names()
    assert mini.identity.name == MINI
    assert LearnedEncoder(DEFAULT).identity == LearnedEncoder(MINI).identity


def test_words_that_are_not_there_find_what_they_mean(mini: LearnedEncoder, vectors: np.ndarray) -> None:
    assert ((vectors > 0).sum(axis=1) <= 256).all()
    scores = np.zeros((len(QUESTIONS), len(TEXTS)))
    for row, question in enumerate(QUESTIONS):
        terms, weights = mini.encode_query(question)
        scores[row] = vectors[:, terms] @ weights
    assert (scores.argmax(axis=1) == np.arange(len(TEXTS))).all()
    # Kitten and cat, petrol and fuel share no token.
    for text, word in ((0, "cat"), (1, "fuel")):
        (term,) = mini.lookup([word])
        assert word not in TEXTS[text]
        assert vectors[text, term] > 0


def test_sentence_transformers_reads_it(vectors: np.ndarray) -> None:
    from sentence_transformers import SparseEncoder

    theirs = SparseEncoder(str(folder()), device="cpu").encode_document(TEXTS, convert_to_sparse_tensor=False).numpy()
    kept = vectors > 0
    np.testing.assert_allclose(vectors[kept], theirs[kept], atol=1e-4)


def test_one_pass_makes_dense_vectors_too(mini: LearnedEncoder) -> None:
    dense = DenseEncoder(MINI, DenseSettings(device="cpu", precision="float32"))
    assert shares_a_pass(mini, dense)
    similar = dense.encode_queries(QUESTIONS) @ dense.encode_documents(TEXTS).T
    assert (similar.argmax(axis=1) == np.arange(len(TEXTS))).all()


def test_what_is_shipped() -> None:
    weights = list(folder().rglob("*.safetensors"))
    assert sum(path.stat().st_size for path in weights) < 50_000_000
    card = (folder() / "README.md").read_text()
    for part in ("License", "Data", "Recipe", "Figures", "Limits"):
        assert f"## {part}" in card
    for path in (folder() / "recipes").iterdir():
        recipe = read_recipe(path)
        assert all(not name.endswith(":test") for name in recipe.validation.sets)
