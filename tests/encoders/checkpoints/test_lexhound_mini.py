"""The encoder that comes with the package: it is there, it means something, and others can read it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from counted import Counted

from lexhound.encoders.checkpoints.bundled import DEFAULT, MINI, bundled_folder, bundled_names
from lexhound.encoders.dense.encoder import DenseEncoder
from lexhound.encoders.dense.settings import DenseSettings
from lexhound.encoders.shared_backbone import shares_a_pass
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.sparse.settings import LearnedSettings
from lexhound.training.recipe_file import read_recipe

pytestmark = pytest.mark.model

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


def test_sentence_transformers_reads_it(mini: LearnedEncoder, vectors: np.ndarray) -> None:
    """What its model says of documents; the written words are added here alone."""
    from sentence_transformers import SparseEncoder

    theirs = SparseEncoder(str(folder()), device="cpu").encode_document(TEXTS, convert_to_sparse_tensor=False).numpy()
    rule = mini.layout.document.exact_terms
    assert rule is not None
    for row, ids in enumerate(mini.subwords("document").ids_of(TEXTS)):
        terms, weights = rule.weights(ids)
        theirs[row, terms] += weights
    kept = vectors > 0
    np.testing.assert_allclose(vectors[kept], theirs[kept], atol=1e-4)


def test_common_words_are_kept_and_left_out_of_queries(mini: LearnedEncoder) -> None:
    """Documents hold every word they are written with, so that a collection knows what is common in it."""
    texts = [
        f"the {word} of the river" for word in ("bank", "delta", "mouth", "source", "bed", "fish", "bridge", "name")
    ]
    vectors = mini.encode_documents(texts)
    held = (vectors.toarray() > 0).sum(axis=0)
    statistics = Counted(5000, {term: int(held[term]) * 600 for term in np.flatnonzero(held).tolist()})
    the, delta = mini.lookup(["the", "delta"]).tolist()
    assert held[the] == len(texts)
    assert 0 < held[delta] < len(texts)
    terms, _ = mini.encode_query("the delta of the river", statistics)
    assert delta in terms
    assert the not in terms


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
