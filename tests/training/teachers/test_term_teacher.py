"""The dense teacher's idea of which terms belong to a document, against a slow twin."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_checkpoints import build_tiny_masked_lm

from lexhound.encoders.text.subwords import Subwords
from lexhound.training.teachers.terms import is_word, make_term_teacher, term_shortfall, word_terms


@pytest.fixture(scope="module")
def subwords(tmp_path_factory: pytest.TempPathFactory) -> Subwords:
    return Subwords.open(build_tiny_masked_lm(tmp_path_factory.mktemp("terms") / "model"))


def unit(rows: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(rows, 8))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_words_only(subwords: Subwords) -> None:
    terms, words = word_terms(subwords)
    assert (np.diff(terms) > 0).all()
    assert words == [subwords.text(int(term)) for term in terms]
    assert "heat" in words
    assert not {"[CLS]", "[PAD]", ",", "##ing"} & set(words)
    assert [each for each in ("a", "of", "##of", "3d", "[unk]", "über") if is_word(each)] == ["of", "über"]


@pytest.mark.parametrize("documents", [1, 7, 5000])
def test_targets(subwords: Subwords, documents: int) -> None:
    terms, words = word_terms(subwords)
    asked: list[str] = []

    def encode(texts: list[str]) -> np.ndarray:
        asked.extend(texts)
        return unit(len(texts), 1)

    pool = unit(documents, 2)
    teacher = make_term_teacher(subwords, encode, pool, above=0.5, strength=0.3)
    assert asked == words
    columns = np.arange(0, subwords.size, 2)
    found = teacher.targets(pool[:3], columns)
    similar = pool.astype(np.float64) @ unit(len(terms), 1).T
    wanted = np.zeros((min(3, documents), len(columns)))
    for row in range(len(wanted)):
        for place, column in enumerate(columns):
            if column in terms:
                own = similar[:, list(terms).index(column)]
                z = (own[row] - own.mean()) / max(own.std(), 1e-6)
                wanted[row, place] = 0.3 * max(0.0, z - 0.5)
    assert documents == 1 or wanted.any()
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=2e-3)
    assert teacher.targets(pool[:3], np.empty(0, np.int64)).shape == (min(3, documents), 0)


@given(st.integers(0, 10_000))
def test_shortfall(seed: int) -> None:
    random = np.random.default_rng(seed)
    logits, targets = random.normal(size=(3, 5)), np.maximum(random.normal(size=(3, 5)), 0)
    multiplier = random.integers(0, 3, 5).astype(float)
    above = below = 0.0
    for row in range(3):
        for place in range(5):
            weight = multiplier[place] * targets[row, place]
            below += weight * max(0.0, targets[row, place] - logits[row, place])
            above += weight
    tensors = [torch.tensor(each) for each in (logits, targets, multiplier)]
    assert term_shortfall(*tensors).item() == pytest.approx(below / max(above, 1e-6))
    tensors[0].requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: term_shortfall(x, tensors[1], tensors[2]), (tensors[0],))
