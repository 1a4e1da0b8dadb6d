"""Query weights that follow the collection: the formula against plain Python, and its two ends."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counted import Counted
from hypothesis import given
from hypothesis import strategies as st
from tiny_checkpoints import build_tiny_masked_lm, vocabulary

from lexhound.encoders.errors import CheckpointError, SettingsError
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.sparse.live_idf import PRIOR, live_idf
from lexhound.encoders.sparse.settings import LearnedSettings
from lexhound.retrieval import Collection, Document

IDF = {token: round(0.5 + number / 40, 3) for number, token in enumerate(vocabulary()) if number % 7}
QUERY = "heat transfer in shock wave"


def slow(table: float, frequency: int, n_documents: int, prior: int) -> float:
    share = (frequency + prior * math.exp(-table)) / (n_documents + prior)
    return -math.log(min(1.0, max(share, 0.5 / (n_documents + prior))))


@given(
    st.lists(st.tuples(st.floats(0.01, 15), st.integers(0, 10**7)), max_size=20),
    st.integers(0, 10**7),
    st.integers(1, 10**6),
)
def test_the_formula(terms: list[tuple[float, int]], more: int, prior: int) -> None:
    n_documents = max([frequency for _, frequency in terms], default=0) + more
    table = np.array([weight for weight, _ in terms], dtype=np.float32)
    frequencies = np.array([frequency for _, frequency in terms], dtype=np.int64)
    found = live_idf(table, frequencies, n_documents, prior)
    wanted = [slow(float(t), int(f), n_documents, prior) for t, f in zip(table, frequencies, strict=True)]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.array(wanted, dtype=np.float32), rtol=1e-5, atol=1e-6)
    assert (found >= 0).all()


def test_an_empty_collection_leaves_the_table_and_a_large_one_overrules_it() -> None:
    table = np.array([1.0, 3.0, 9.0], dtype=np.float32)
    np.testing.assert_allclose(live_idf(table, np.zeros(3, np.int64), 0, PRIOR), np.minimum(table, math.log(1000)))
    frequencies = np.array([10**6, 10**8, 0], dtype=np.int64)
    found = live_idf(table, frequencies, 10**8, PRIOR)
    assert found[0] == pytest.approx(math.log(100), abs=0.01)
    assert found[1] == pytest.approx(0, abs=1e-4)
    assert found[2] > found[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = build_tiny_masked_lm(tmp_path_factory.mktemp("live") / "model")
    (folder / "idf.json").write_text(json.dumps(IDF))
    return folder


def load(folder: Path, **settings: Any) -> LearnedEncoder:
    return LearnedEncoder(folder, LearnedSettings(device="cpu", precision="float32", **settings))


def own_layout(folder: Path, target: Path, **query: Any) -> Path:
    shutil.copytree(folder, target)
    sides = {"document": {"kind": "mlm"}, "query": {"kind": "table", "weights": "idf.json", **query}}
    (target / "lexhound_encoder.json").write_text(json.dumps({"format": 1, **sides}))
    return target


def test_asked_for_by_setting_or_by_the_checkpoint(folder: Path, tmp_path: Path) -> None:
    plain = load(folder)
    terms, weights = plain.encode_query(QUERY)
    statistics = Counted(200, {int(term): 3 * place for place, term in enumerate(terms)})
    np.testing.assert_array_equal(plain.encode_query(QUERY, statistics)[1], weights)

    asked = load(folder, query_idf="collection")
    np.testing.assert_array_equal(asked.encode_query(QUERY)[1], weights)
    found, live = asked.encode_query(QUERY, statistics)
    np.testing.assert_array_equal(found, terms)
    wanted = [slow(float(w), 3 * place, 200, PRIOR) for place, w in enumerate(weights)]
    np.testing.assert_allclose(live, wanted, rtol=1e-5)

    own = load(own_layout(folder, tmp_path / "own", prior=50, counted=True))
    _, live = own.encode_query(f"{QUERY} heat heat", statistics)
    times = [3 if own.term_text(int(term)) == "heat" else 1 for term in terms]
    wanted = [n * slow(float(w), 3 * place, 200, 50) for place, (w, n) in enumerate(zip(weights, times, strict=True))]
    np.testing.assert_allclose(live, wanted, rtol=1e-5)
    assert 3 in times

    told = load(tmp_path / "own", query_idf="model")
    np.testing.assert_array_equal(told.encode_query(QUERY, statistics)[1], weights)
    assert len({each.identity.fingerprint for each in (plain, asked, own, told)}) == 4


def test_refused_where_it_has_no_meaning(tmp_path: Path) -> None:
    splade = build_tiny_masked_lm(tmp_path / "splade")
    with pytest.raises(CheckpointError, match="no table of idf"):
        load(splade, query_idf="collection").prepare()
    with pytest.raises(SettingsError, match="query_idf"):
        LearnedSettings(query_idf="live")
    with pytest.raises(CheckpointError, match="prior is -1"):
        load(own_layout(splade, tmp_path / "own", prior=-1))


def test_a_collection_searches_with_its_own_frequencies(folder: Path, tmp_path: Path) -> None:
    texts = ["heat transfer", "shock wave heat", "wing flow", "heat", "heat engine pressure"]
    settings = LearnedSettings(device="cpu", precision="float32", query_idf="collection")
    encoder = load(folder, query_idf="collection")
    with Collection.create(tmp_path / "c", encoder=str(folder), learned=settings) as collection:
        for stop in (2, 5):
            collection.put([Document(str(number), text) for number, text in enumerate(texts[:stop])])
            collection.refresh()
            vectors = encoder.encode_documents(texts[:stop]).toarray()
            terms, weights = load(folder).encode_query(QUERY)
            counts = (vectors[:, terms] > 0).sum(axis=0)
            wanted = [slow(float(w), int(n), stop, PRIOR) for w, n in zip(weights, counts, strict=True)]
            scores = vectors[:, terms] @ np.array(wanted)
            result = collection.search(QUERY, k=5)
            assert {hit.id for hit in result.hits} == {str(place) for place in np.flatnonzero(scores > 0)}
            for hit in result.hits:
                assert hit.score == pytest.approx(scores[int(hit.id)], rel=0.05, abs=0.02)
    with Collection.open(tmp_path / "c") as collection:
        assert collection.manifest.encoder.settings["query_idf"] == "collection"
