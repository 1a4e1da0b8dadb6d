"""Entries whose first values tell most: the same hits with fewer values compared, through changes and reopening."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from spann_collections import best, similarities

from lexhound.index import CorruptFileError
from lexhound.index.spann import Effort, SpannIndex, SpannOptions
from lexhound.index.spann import search as search_module
from lexhound.index.spann.codec import EntryFormat
from lexhound.index.spann.rotation import Rotation

WIDTH = 64
EVERYTHING = Effort.everything()


def narrow(count, seed):
    """Vectors that lie near a space of 12 dimensions, turned so that no single value tells much."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(np.random.default_rng(99).normal(size=(WIDTH, WIDTH)))[0]
    centres = np.random.default_rng(98).normal(size=(40, 12))
    inner = centres[rng.integers(0, 40, count)] + 0.4 * rng.normal(size=(count, 12))
    return np.ascontiguousarray(np.hstack([inner, 0.15 * rng.normal(size=(count, WIDTH - 12))]) @ turn, np.float32)


@pytest.fixture(scope="module", params=["cosine", "ip", "l2"])
def built(request, tmp_path_factory):
    vectors = narrow(3000, 1)
    options = SpannOptions(metric=request.param, calibration_queries=100, vectors_per_centroid=8, graph_from=1 << 20)
    path = tmp_path_factory.mktemp("rotated") / "index"
    SpannIndex.build(path, vectors, options=options, queries=narrow(100, 2)).close()
    return path, vectors, request.param


def recall(index, vectors, queries, effort=None):
    pairs = [(best(similarities(vectors, query, index.options.metric), 10), query) for query in queries]
    found = [len(set(index.search(query, 10, effort=effort).rows.tolist()) & set(top)) for top, query in pairs]
    return sum(found) / (10 * len(queries))


def test_axes_are_orthonormal_and_the_first_values_tell_most():
    vectors = narrow(3000, 1)
    rotation = Rotation.of(vectors, 0)
    np.testing.assert_allclose(rotation.axes.T @ rotation.axes, np.eye(WIDTH), atol=1e-5)
    turned = rotation.turned(vectors)
    np.testing.assert_allclose(turned[:50] @ turned[:50].T, vectors[:50] @ vectors[:50].T, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(rotation.leading(vectors), turned[:, : rotation.first], atol=1e-4)
    for values in (rotation.first, WIDTH):  # what stands behind the vector, as for inner products, does not count
        longer = np.append(vectors[7], np.float32(50))
        np.testing.assert_allclose(rotation.turned_query(longer, values), turned[7, :values], atol=1e-4)
    np.testing.assert_allclose(rotation.back(turned), vectors, atol=1e-4)
    assert rotation.first == 16
    share = (turned[:, rotation.first :] ** 2).sum() / (turned**2).sum()
    assert rotation.rest == pytest.approx(np.sqrt(share), rel=0.01)
    assert share < 0.2
    again = Rotation.of(vectors, 0)
    np.testing.assert_array_equal(again.axes, rotation.axes)


def test_where_no_part_tells_much_nothing_is_turned():
    rng = np.random.default_rng(0)
    assert Rotation.of(rng.normal(size=(5000, WIDTH)).astype(np.float32), 0) is None
    assert Rotation.of(narrow(1000, 1), 0) is None
    assert Rotation.of(np.zeros((5000, WIDTH), np.float32), 0) is None


def test_entries_come_back_as_they_were():
    vectors = narrow(3000, 1)
    form = EntryFormat("int8", WIDTH, Rotation.of(vectors, 0))
    entries = form.encode(np.arange(40), np.ones(40, np.uint16), vectors[:40])
    np.testing.assert_allclose(form.decode(entries), vectors[:40], atol=0.15)
    assert form.rows(entries)[0].tolist() == list(range(40))


def test_hits_are_those_of_whole_comparisons(built, monkeypatch):
    path, vectors, metric = built
    queries = narrow(60, 3)
    with SpannIndex.open(path) as index:
        assert json.loads((path / "current.json").read_text())["format"] == 2
        for query in queries[:10]:
            scores = similarities(vectors, query, metric)
            top = index.search(query, 20, effort=EVERYTHING)
            assert top.rows.tolist() == best(scores, 20)
            np.testing.assert_allclose(top.scores, scores[top.rows], rtol=1e-5, atol=1e-5)
        effort = Effort(60)
        cut = recall(index, vectors, queries, effort)
        assert recall(index, vectors, queries) >= 0.9
        monkeypatch.setattr(search_module, "_CLOSENESS", 100.0)  # then every entry is compared to its end
        assert recall(index, vectors, queries, effort) - 0.01 <= cut <= recall(index, vectors, queries, effort)
        assert cut > 0.95


def test_a_filter_with_entries_compared_in_part(built):
    path, vectors, metric = built
    allowed = np.arange(len(vectors)) % 7 == 0
    with SpannIndex.open(path) as index:
        for query in narrow(10, 4):
            scores = np.where(allowed, similarities(vectors, query, metric), -np.inf)
            top = index.search(query, 10, allowed=allowed, effort=Effort(200))
            assert allowed[top.rows].all()
            assert len(set(top.rows.tolist()) & set(best(scores, 10))) >= 8


def test_changes_and_reopening(built, tmp_path):
    path, vectors, metric = built
    copy = tmp_path / "index"
    shutil.copytree(path, copy)
    new = narrow(1500, 5)
    with SpannIndex.open(copy, writable=True) as index:
        for start in range(0, 1500, 250):
            rows = np.arange(start, start + 250)
            index.delete(rows)
            index.insert(len(vectors) + rows, new[rows])
    now = np.concatenate([vectors, new])
    gone = np.arange(len(now)) < 1500
    assert not list(SpannIndex.verify(copy))
    with SpannIndex.open(copy) as index:
        found = 0
        for query in narrow(40, 6):
            scores = np.where(gone, -np.inf, similarities(now, query, metric))
            found += len(set(index.search(query, 10).rows.tolist()) & set(best(scores, 10)))
            top = index.search(query, 10, effort=EVERYTHING)
            assert top.rows.tolist() == best(scores, 10)
        assert found / 400 >= 0.9


def test_damaged_axes_are_told(built, tmp_path):
    path, _, _ = built
    copy = tmp_path / "index"
    shutil.copytree(path, copy)
    axes = next(copy.glob("state-*/axes.bin"))
    data = bytearray(axes.read_bytes())
    data[100] ^= 255
    axes.write_bytes(bytes(data))
    with pytest.raises(CorruptFileError, match="axes"):
        SpannIndex.open(copy)
