"""Written words beside a model's weights: the formula against plain Python, in documents, in queries, in training."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counted import Counted
from hypothesis import given
from hypothesis import strategies as st
from tiny_checkpoints import build_tiny_masked_lm, vocabulary

from lexhound.encoders.dense.encoder import DenseEncoder
from lexhound.encoders.errors import CheckpointError, SettingsError
from lexhound.encoders.shared_backbone import encode_both, shares_a_pass
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.sparse.exact_terms import ExactTermBoost, surface_match_ratios
from lexhound.encoders.sparse.saving import write_tensor
from lexhound.encoders.sparse.settings import LearnedSettings

IDF = {token: round(0.5 + number / 40, 3) for number, token in enumerate(vocabulary()) if number % 7}
TEXTS = ["heat transfer in a wing heat", "the boundary layer", "", "shock wave of a blunt body " * 9, "heat"]
RULE = {"weight": 0.7, "k1": 1.5, "b": 0.6, "length": 9}


def slow(ids: list[int], rule: ExactTermBoost) -> dict[int, float]:
    found = {}
    for term, count in Counter(ids).items():
        longer = 1 - rule.b + rule.b * len(ids) / rule.length
        found[term] = rule.weight * count * (rule.k1 + 1) / (count + rule.k1 * longer)
    return found


@given(
    st.lists(st.integers(0, 12), max_size=30),
    st.dictionaries(st.integers(0, 15), st.floats(0.03125, 3, width=32), max_size=10),
    st.builds(ExactTermBoost, st.floats(0.03125, 4), st.floats(0, 4), st.floats(0, 1), st.integers(1, 40)),
)
def test_the_formula(ids: list[int], model: dict[int, float], rule: ExactTermBoost) -> None:
    terms = np.array(sorted(model), np.int32)
    found, weights = rule.added((terms, np.array([model[t] for t in terms.tolist()], np.float32)), ids)
    wanted = slow(ids, rule)
    assert found.tolist() == sorted(set(ids) | set(model))
    assert (found.dtype, weights.dtype) == (np.int32, np.float32)
    for term, weight in zip(found.tolist(), weights.tolist(), strict=True):
        assert weight == pytest.approx(wanted.get(term, 0) + model.get(term, 0), rel=1e-5)


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=9))
def test_shares_are_shares_and_follow_the_counts(counts: list[tuple[int, int]]) -> None:
    written, held = (np.array(column, np.int64) for column in zip(*counts, strict=True))
    shares = surface_match_ratios(written, held)
    assert ((shares > 0) & (shares <= 1)).all()
    wanted = [min(1.0, (w + 2.5) / (h + 5)) for w, h in counts]
    np.testing.assert_allclose(shares, wanted, rtol=1e-6)


@pytest.mark.parametrize("wrong", [{"weight": 0.0}, {"k1": -1.0}, {"b": 1.5}, {"length": 0}])
def test_wrong_constants_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=f"written.{next(iter(wrong))} is"):
        ExactTermBoost(**{**RULE, **wrong})


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = build_tiny_masked_lm(tmp_path_factory.mktemp("written") / "model")
    (folder / "idf.json").write_text(json.dumps(IDF))
    return folder


def with_layout(folder: Path, target: Path, document: dict[str, Any], query: dict[str, Any] | None = None) -> Path:
    shutil.copytree(folder, target)
    sides = {
        "document": {"kind": "mlm", **document},
        "query": {"kind": "table", "weights": "idf.json", **(query or {})},
    }
    (target / "lexhound_encoder.json").write_text(json.dumps({"format": 1, **sides}))
    return target


def load(folder: Path, **settings: Any) -> LearnedEncoder:
    return LearnedEncoder(folder, LearnedSettings(device="cpu", precision="float32", **settings))


@pytest.mark.parametrize("settings", [{"max_length": 12}, {"max_length": 12, "long_texts": "windows"}])
def test_documents_weigh_what_the_model_says_and_their_words(
    plain: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    bare, encoder = load(plain, **settings), load(with_layout(plain, tmp_path / "own", {"written": RULE}), **settings)
    expected = bare.encode_documents(TEXTS).toarray().astype(np.float64)
    subwords, rule = bare.subwords("document"), ExactTermBoost(**RULE)
    for row, ids in enumerate(subwords.ids_of(TEXTS)):
        read = ids if "long_texts" in settings else ids[:10]  # two of the twelve are special
        for term, weight in slow([term for term in read if not subwords.special[term]], rule).items():
            expected[row, term] += weight
    np.testing.assert_allclose(encoder.encode_documents(TEXTS).toarray(), expected, rtol=1e-5, atol=1e-6)
    assert encoder.identity.fingerprint != bare.identity.fingerprint
    assert encoder.identity.parts["document"] != bare.identity.parts["document"]


def test_one_pass_gives_the_same_vectors(plain: Path, tmp_path: Path) -> None:
    folder = with_layout(plain, tmp_path / "own", {"written": RULE, "dense": "mean", "top_k": 6})
    sparse, dense = load(folder), DenseEncoder(folder)
    assert shares_a_pass(sparse, dense)
    vectors, _ = encode_both(sparse, dense, TEXTS)
    np.testing.assert_allclose(vectors.toarray(), sparse.encode_documents(TEXTS).toarray(), atol=1e-5)
    assert np.diff(vectors.indptr).max() == 6


def test_queries_count_words_by_a_power_and_leave_common_ones_out(plain: Path, tmp_path: Path) -> None:
    query = {"counted": True, "power": 0.5, "common": 0.3, "prior": 10}
    encoder, table = load(with_layout(plain, tmp_path / "own", {}, query)), load(plain)
    text = "heat transfer in shock wave heat heat"
    terms, weights = table.encode_query(text)
    by_id = dict(zip(terms.tolist(), weights.tolist(), strict=True))
    heat = int(encoder.lookup(["heat"])[0])
    frequencies = {term: 90 if place % 2 else 2 for place, term in enumerate(by_id)} | {heat: 3}

    def live(term: int, n: int, df: float) -> float:
        return -math.log((df + 10 * math.exp(-by_id[term])) / (n + 10))

    found = dict(zip(*(part.tolist() for part in encoder.encode_query(text, Counted(100, frequencies))), strict=True))
    assert set(found) == {term for term in by_id if frequencies[term] < 90}
    assert set(found) != set(by_id)
    for term, weight in found.items():
        times = math.sqrt(3) if term == heat else 1.0
        assert weight == pytest.approx(times * live(term, 100, frequencies[term]), rel=1e-4)
    # Where all are common, all stay.
    everywhere = dict.fromkeys(by_id, 90)
    assert set(encoder.encode_query(text, Counted(100, everywhere))[0].tolist()) == set(by_id)
    # Without a collection the table speaks.
    alone = dict(zip(*(part.tolist() for part in encoder.encode_query(text)), strict=True))
    assert alone[heat] == pytest.approx(math.sqrt(3) * by_id[heat], rel=1e-5)


def test_queries_count_the_documents_that_are_written_with_a_word(plain: Path, tmp_path: Path) -> None:
    folder = with_layout(plain, tmp_path / "own", {}, {"prior": 10, "shares": True})
    with pytest.raises(CheckpointError, match=r"shares\.safetensors cannot be read"):
        load(folder)
    size = load(plain).identity.vocabulary_size or 0
    shares = np.linspace(0.1, 1, size, dtype=np.float32)
    write_tensor(folder / "shares.safetensors", shares[:-1])
    with pytest.raises(CheckpointError, match="does not hold a ratio above 0"):
        load(folder)
    write_tensor(folder / "shares.safetensors", shares)
    encoder = load(folder)
    terms, weights = load(plain).encode_query("heat transfer in shock wave")
    statistics = Counted(200, {int(term): 30 for term in terms})
    found, live = encoder.encode_query("heat transfer in shock wave", statistics)
    np.testing.assert_array_equal(found, terms)
    wanted = [
        -math.log((30 * shares[t] + 10 * math.exp(-w)) / 210)
        for t, w in zip(terms.tolist(), weights.tolist(), strict=True)
    ]
    np.testing.assert_allclose(live, wanted, rtol=1e-4)
    before = encoder.identity.parts["query"]
    write_tensor(folder / "shares.safetensors", shares[::-1].copy())
    assert load(folder).identity.parts["query"] != before


@pytest.mark.parametrize(
    ("document", "query", "said"),
    [
        ({"written": {"weight": -1}}, {}, "written.weight is -1"),
        ({"written": {"wait": 1}}, {}, "written is"),
        ({"written": 3}, {}, "written is 3"),
        ({}, {"power": 2}, "out of range"),
        ({}, {"common": 1.0}, "out of range"),
        ({}, {"common": "all"}, "common is 'all'"),
        ({}, {"power": None}, "power is None"),
    ],
)
def test_a_layout_that_says_nonsense_is_refused(
    plain: Path, tmp_path: Path, document: dict[str, Any], query: dict[str, Any], said: str
) -> None:
    with pytest.raises(CheckpointError, match=said):
        load(with_layout(plain, tmp_path / "own", document, query))
