"""Codes whose first values hold most of their length: the same hits with fewer values compared."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from spann_collections import best, similarities, unit

from lexhound.index import CorruptFileError
from lexhound.index.spann import ClusteredIndex, Effort, SpannOptions, build_clustered
from lexhound.index.spann import search as search_module
from lexhound.index.spann.codec import PostingCodec
from lexhound.index.spann.rotation import Rotation

WIDTH = 64
EVERYTHING = Effort.everything()


def narrow(count, seed):
    """Vectors that lie near a space of 12 dimensions, rotated so that no single value tells much."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(np.random.default_rng(99).normal(size=(WIDTH, WIDTH)))[0]
    centres = np.random.default_rng(98).normal(size=(40, 12))
    inner = centres[rng.integers(0, 40, count)] + 0.4 * rng.normal(size=(count, 12))
    return np.ascontiguousarray(np.hstack([inner, 0.15 * rng.normal(size=(count, WIDTH - 12))]) @ turn, np.float32)


@pytest.fixture(scope="module", params=["unequal lengths", "unit length"])
def built(request, tmp_path_factory):
    vectors = narrow(3000, 1)
    if request.param == "unit length":
        vectors = unit(vectors)
    options = SpannOptions(calibration_queries=100, vectors_per_centroid=8, graph_from=1 << 20)
    path = tmp_path_factory.mktemp("rotated") / "index"
    build_clustered(path, vectors, options, queries=narrow(200, 2))
    return path, vectors


def recall(index, vectors, queries, effort=None):
    pairs = [(best(similarities(vectors, query), 10), query) for query in queries]
    hits = [len(set(index.search(query, 10, effort=effort).rows.tolist()) & set(top)) for top, query in pairs]
    return sum(hits) / (10 * len(queries))


def test_axes_are_orthonormal_and_the_first_values_tell_most():
    vectors = narrow(3000, 1)
    rotation = Rotation.of(vectors, 0)
    np.testing.assert_allclose(rotation.axes.T @ rotation.axes, np.eye(WIDTH), atol=1e-5)
    rotated = rotation.rotated(vectors)
    np.testing.assert_allclose(rotated[:50] @ rotated[:50].T, vectors[:50] @ vectors[:50].T, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(rotation.leading(vectors), rotated[:, : rotation.first], atol=1e-4)
    for values in (rotation.first, WIDTH):  # what stands behind the vector, as for inner products, does not count
        longer = np.append(vectors[7], np.float32(50))
        np.testing.assert_allclose(rotation.rotated_query(longer, values), rotated[7, :values], atol=1e-4)
    assert rotation.first == 16
    share = (rotated[:, rotation.first :] ** 2).sum() / (rotated**2).sum()
    assert rotation.rest == pytest.approx(np.sqrt(share), rel=0.01)
    assert share < 0.2
    again = Rotation.of(vectors, 0)
    np.testing.assert_array_equal(again.axes, rotation.axes)


def test_where_no_part_holds_enough_nothing_is_rotated():
    rng = np.random.default_rng(0)
    assert Rotation.of(rng.normal(size=(5000, WIDTH)).astype(np.float32), 0) is None
    assert Rotation.of(narrow(1000, 1), 0) is None
    assert Rotation.of(np.zeros((5000, WIDTH), np.float32), 0) is None


def test_codes_stand_for_rotated_vectors():
    vectors = narrow(3000, 1)
    rotation = Rotation.of(vectors, 0)
    codes = PostingCodec("int8", WIDTH, rotation).encode(np.arange(40), vectors[:40])
    values = codes[:, 16 : 16 + WIDTH].view(np.int8).astype(np.float32) * codes.view(np.float32)[:, 2:3]
    np.testing.assert_allclose(values @ rotation.axes.T, vectors[:40], atol=0.15)


def test_hits_are_those_of_whole_comparisons(built, monkeypatch):
    path, vectors = built
    queries = narrow(60, 3)
    index = ClusteredIndex.open(path)
    assert json.loads((path / "current.json").read_text())["format"] == 2
    for query in queries[:10]:
        scores = similarities(vectors, query)
        top = index.search(query, 20, effort=EVERYTHING)
        assert top.rows.tolist() == best(scores, 20)
        np.testing.assert_allclose(top.scores, scores[top.rows], rtol=1e-5, atol=1e-5)
    effort = Effort(60)
    cut = recall(index, vectors, queries, effort)
    assert recall(index, vectors, queries) >= 0.9
    monkeypatch.setattr(search_module, "_CLOSENESS", 100.0)  # then every code is compared to its end
    assert recall(index, vectors, queries, effort) - 0.01 <= cut <= recall(index, vectors, queries, effort)
    assert cut > 0.95


def test_a_filter_with_codes_compared_in_part(built):
    path, vectors = built
    allowed = np.arange(len(vectors)) % 5 == 0
    index = ClusteredIndex.open(path)
    for query in narrow(10, 4):
        scores = np.where(allowed, similarities(vectors, query), -np.inf)
        top = index.search(query, 10, allowed=allowed, effort=Effort(200))
        assert allowed[top.rows].all()
        assert len(set(top.rows.tolist()) & set(best(scores, 10))) >= 8


def test_damaged_axes_are_told(built, tmp_path):
    path, _ = built
    copy = tmp_path / "index"
    shutil.copytree(path, copy)
    axes = next(copy.glob("state-*/axes.bin"))
    data = bytearray(axes.read_bytes())
    data[100] ^= 255
    axes.write_bytes(bytes(data))
    with pytest.raises(CorruptFileError, match="axes"):
        ClusteredIndex.open(copy)
