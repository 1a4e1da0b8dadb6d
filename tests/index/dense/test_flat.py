"""The flat index against a sort of all scores, on vectors full of ties, zeros, duplicates and near-ties."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from lexhound.index.dense.exact import exact_scores
from lexhound.index.dense.flat import FlatIndex, FlatPart, VectorIndex, build_flat, merge_flat
from lexhound.index.errors import CorruptFileError, IndexStorageError
from lexhound.index.jit import avoid_kernels, frozen
from lexhound.index.topk import TopK

Vectors = NDArray[np.float32]


def oracle(vectors: Vectors, query: Vectors, k: int, allowed: NDArray[np.bool_] | None) -> list[tuple[int, float]]:
    """Every row scored by a plain loop in float64, and all of them sorted."""
    scores = [float(np.dot(row.astype(np.float64), query.astype(np.float64))) for row in vectors]
    rows = [row for row in range(len(vectors)) if allowed is None or allowed[row]]
    return [(row, scores[row]) for row in sorted(rows, key=lambda row: (-scores[row], row))[:k]]


def pairs(found: TopK) -> list[tuple[int, float]]:
    return list(zip(found.rows.tolist(), found.scores.tolist(), strict=True))


# Halves and small integers: sums are exact, so that ties are ties in every order of summation.
values = st.sampled_from([0.0, -0.0, 0.5, 1.0, -1.0, 2.0, 3.0])


@st.composite
def cases(draw: st.DrawFn) -> tuple[Vectors, Vectors, int, NDArray[np.bool_] | None]:
    n, width = draw(st.integers(0, 30)), draw(st.integers(1, 9))
    vectors = draw(hnp.arrays(np.float32, (n, width), elements=values))
    queries = draw(hnp.arrays(np.float32, (draw(st.integers(1, 4)), width), elements=values))
    allowed = draw(st.one_of(st.none(), hnp.arrays(np.bool_, n)))
    return vectors, queries, draw(st.integers(1, 40)), allowed


@given(cases())
@settings(max_examples=examples(150), deadline=None)
def test_search_is_a_sort_of_all_scores(case: tuple[Vectors, Vectors, int, NDArray[np.bool_] | None]) -> None:
    vectors, queries, k, allowed = case
    index = FlatIndex.from_vectors(vectors)
    together = index.search_many(queries, k, allowed=allowed)
    for query, found in zip(queries, together, strict=True):
        assert pairs(found) == oracle(vectors, query, k, allowed)
        assert pairs(index.search(query, k, allowed=allowed)) == pairs(found)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 7, 1024, 2500]), st.sampled_from([1, 7, 8, 64, 385]))
@settings(max_examples=examples(30), deadline=None)
def test_numpy_adds_up_as_the_kernel_does(seed: int, n: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    scale = 2.0 ** rng.integers(-60, 60, (max(n, 1), width))
    index = FlatIndex.from_vectors((rng.normal(size=(max(n, 1), width)) * scale).astype(np.float32))
    rows, query = rng.integers(0, max(n, 1), n), rng.normal(size=width)
    words, stride = index.words
    expected = exact_scores(words, stride, frozen(rows), frozen(query))
    try:
        avoid_kernels(10**9)
        found = exact_scores(words, stride, frozen(rows), frozen(query))
    finally:
        avoid_kernels(0)
    assert found.tobytes() == expected.tobytes()


@given(st.integers(0, 2**32 - 1), st.integers(1, 400), st.sampled_from([1, 3, 64, 385]), st.integers(1, 50))
@settings(max_examples=examples(40), deadline=None)
def test_near_ties_are_told_apart_as_float64_does(seed: int, n: int, width: int, k: int) -> None:
    """Rows that differ in their last bits: a product in float32 could not order them."""
    random = np.random.default_rng(seed)
    base = random.normal(size=width).astype(np.float32)
    vectors = np.repeat(base[None], n, axis=0)
    steps = random.integers(-2, 3, size=vectors.shape)
    vectors = (vectors.view(np.int32) + steps.astype(np.int32)).view(np.float32)
    query = random.normal(size=width).astype(np.float32)
    index = FlatIndex.from_vectors(vectors)
    found = index.search(query, k)
    # Products of two float32 are exact in float64, and fsum rounds their sum once.
    exact = [math.fsum((row.astype(np.float64) * query.astype(np.float64)).tolist()) for row in vectors]
    rounding = 1e-15 * width * float(np.abs(vectors * query).sum(axis=1).max())
    best = sorted(exact, reverse=True)[: len(found)]
    for (row, score), wanted in zip(pairs(found), best, strict=True):
        assert abs(score - exact[row]) <= rounding
        assert abs(score - wanted) <= 2 * rounding


@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.integers(1, 5), st.integers(1, 40))
@settings(max_examples=examples(40), deadline=None)
def test_a_score_is_the_same_wherever_it_comes_from(seed: int, n: int, m: int, k: int) -> None:
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(n, 33)).astype(np.float32)
    queries = random.normal(size=(m, 33)).astype(np.float32)
    allowed = random.random(n) < random.random()
    index = FlatIndex.from_vectors(vectors)
    for query, found in zip(queries, index.search_many(queries, k, allowed=allowed), strict=True):
        assert len(found) == min(k, int(allowed.sum()))
        assert allowed[found.rows].all()
        np.testing.assert_array_equal(index.scores_of(found.rows, query), found.scores)
        for row, score in pairs(found)[:3]:
            assert index.scores_of(np.array([row]), query)[0] == score
        whole = dict(pairs(index.search(query, n)))
        assert all(whole[row] == score for row, score in pairs(found))


def test_many_queries_are_taken_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    index = FlatIndex.from_vectors(random.normal(size=(50, 8)).astype(np.float32))
    queries = random.normal(size=(23, 8)).astype(np.float32)
    expected = [pairs(found) for found in index.search_many(queries, 7)]
    monkeypatch.setattr("lexhound.index.dense.flat._PRODUCTS", 120)
    monkeypatch.setattr("lexhound.index.dense.flat._COPY_ROWS", 3)
    assert [pairs(found) for found in index.search_many(queries, 7)] == expected


def test_huge_and_tiny_values() -> None:
    """Products that overflow float32 or vanish in it are still ordered."""
    vectors = np.array([[1e30], [3e30], [2e30], [1e-30], [3e-30], [-1e30]], np.float32)
    index = FlatIndex.from_vectors(vectors)
    assert index.search(np.array([1e30], np.float32), 4).rows.tolist() == [1, 2, 0, 4]
    assert index.search(np.array([1e-30], np.float32), 6).rows.tolist() == [1, 2, 0, 4, 3, 5]
    assert index.search(np.array([0.0], np.float32), 3).rows.tolist() == [0, 1, 2]


# Files


@pytest.mark.parametrize("n", [0, 1, 40])
def test_a_directory_holds_the_same_index(tmp_path: Path, n: int) -> None:
    vectors = np.random.default_rng(n).normal(size=(n, 5)).astype(np.float32)
    built = build_flat(tmp_path / "flat", vectors)
    opened = FlatIndex.open(tmp_path / "flat")
    assert isinstance(opened, VectorIndex)
    assert (opened.n_rows, opened.width, opened.path) == (n, 5, tmp_path / "flat")
    assert opened.nbytes == built.nbytes > vectors.nbytes
    np.testing.assert_array_equal(opened.vectors, vectors)
    query = np.ones(5, np.float32)
    assert pairs(opened.search(query, 9)) == pairs(FlatIndex.from_vectors(vectors).search(query, 9))
    assert list(FlatIndex.verify(tmp_path / "flat")) == []


def test_damage_is_found(tmp_path: Path) -> None:
    build_flat(tmp_path / "flat", np.ones((7, 3), np.float32))
    path = tmp_path / "flat" / "vectors.bin"
    whole = path.read_bytes()
    for place in range(0, len(whole), 11):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 64]) + whole[place + 1 :])
        (problem,) = FlatIndex.verify(tmp_path / "flat")
        assert problem.path == path
    path.write_bytes(whole[:-1])
    with pytest.raises(CorruptFileError, match="bytes where"):
        FlatIndex.open(tmp_path / "flat")
    path.write_bytes(whole)
    header = tmp_path / "flat" / "arrays.json"
    header.write_text(json.dumps(json.loads(header.read_text())))
    with pytest.raises(CorruptFileError, match="checksum"):
        FlatIndex.open(tmp_path / "flat")
    with pytest.raises(FileNotFoundError):
        FlatIndex.open(tmp_path / "nothing")
    with pytest.raises(IndexStorageError, match="not empty"):
        build_flat(tmp_path / "flat", np.ones((1, 1), np.float32))


# Merging


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 12), min_size=1, max_size=4))
@settings(max_examples=examples(25), deadline=None)
def test_a_merge_is_the_index_of_what_is_left(
    tmp_path_factory: pytest.TempPathFactory, seed: int, sizes: list[int]
) -> None:
    random = np.random.default_rng(seed)
    folder = tmp_path_factory.mktemp("merge")
    parts, kept_total = [], 0
    sources = [random.normal(size=(size, 4)).astype(np.float32) for size in sizes]
    keeps = [random.random(size) < 0.7 for size in sizes]
    total = int(sum(keep.sum() for keep in keeps))
    targets = random.permutation(total)
    expected = np.zeros((total, 4), np.float32)
    for source, keep in zip(sources, keeps, strict=True):
        new_rows = np.full(len(source), -1, np.int64)
        new_rows[keep] = targets[kept_total : kept_total + int(keep.sum())]
        kept_total += int(keep.sum())
        expected[new_rows[keep]] = source[keep]
        parts.append(FlatPart(FlatIndex.from_vectors(source), new_rows))
    merged = merge_flat(folder / "merged", parts, total, 4)
    np.testing.assert_array_equal(merged.vectors, expected)
    assert merged.largest_norm == FlatIndex.from_vectors(expected).largest_norm


@pytest.mark.parametrize(
    ("maps", "n_rows", "width"),
    [([[0, 0]], 1, 2), ([[0, 1], [1, 2]], 3, 2), ([[0, 5]], 2, 2), ([[0]], 1, 2), ([[0, 1]], 3, 2), ([[0, 1]], 2, 3)],
)
def test_maps_that_do_not_fit(tmp_path: Path, maps: list[list[int]], n_rows: int, width: int) -> None:
    index = FlatIndex.from_vectors(np.ones((2, 2), np.float32))
    parts = [FlatPart(index, np.array(new_rows, np.int64)) for new_rows in maps]
    with pytest.raises(ValueError, match=r"part|rows come from no part"):
        merge_flat(tmp_path / "merged", parts, n_rows, width)
    assert not (tmp_path / "merged").exists()


# What is refused


def test_arrays_that_are_no_vectors() -> None:
    for wrong in (np.ones(3, np.float32), np.ones((2, 2)), np.ones((2, 0), np.float32)):
        with pytest.raises(ValueError, match=r"must be float32\[n, width\]"):
            FlatIndex.from_vectors(wrong)
    for value in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match="row 1 has a value that is not finite"):
            FlatIndex.from_vectors(np.array([[1.0], [value]], np.float32))


def test_requests_that_do_not_fit() -> None:
    index = FlatIndex.from_vectors(np.ones((3, 2), np.float32))
    query = np.ones(2, np.float32)
    with pytest.raises(ValueError, match="k must be at least 1"):
        index.search(query, 0)
    with pytest.raises(ValueError, match=r"float32\[m, 2\]"):
        index.search(np.ones(3, np.float32), 1)
    with pytest.raises(ValueError, match=r"float32\[m, 2\]"):
        index.search(np.ones(2), 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not finite"):
        index.search(np.array([np.nan, 1], np.float32), 1)
    with pytest.raises(ValueError, match="mask of rows"):
        index.search(query, 1, allowed=np.ones(2, np.bool_))
    assert len(index.search(query, 5, allowed=np.zeros(3, np.bool_))) == 0
