"""Densified sparse vectors against dictionaries: slices, gates, searches, files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lexhound.index.densified import DensifiedIndex, GatedQuery, SparseRows, build_densified, densify
from lexhound.index.errors import CorruptFileError, IndexStorageError

Weights = dict[int, float]

# Sums of such numbers are exact, so ties are ties in every order of summation; slices are few, so terms meet in them.
_WEIGHTS = st.sampled_from([0.5, 1.0, 2.0, 3.0])
_SPARSE = st.dictionaries(st.integers(0, 40), _WEIGHTS, max_size=12)
_VALUES = st.sampled_from([-1.0, 0.0, 0.5, 1.0])


def packed(rows: list[Weights]) -> SparseRows:
    """Rows of dictionaries, in row-compressed form."""
    indptr = np.cumsum([0, *(len(row) for row in rows)], dtype=np.int64)
    entries = [(term, weight) for row in rows for term, weight in sorted(row.items())]
    return SparseRows(
        indptr,
        np.array([term for term, _ in entries], np.int32),
        np.array([weight for _, weight in entries], np.float32),
    )


def asked(weights: Weights, dense: NDArray[np.float32]) -> GatedQuery:
    """A query; its terms in no order."""
    terms = list(weights)
    return GatedQuery(np.array(terms, np.int32), np.array([weights[t] for t in terms], np.float32), dense)


def kept(row: Weights, width: int) -> Weights:
    """The heaviest term of each slice, of equal ones the smallest."""
    slices: dict[int, int] = {}
    for term in sorted(row):
        best = slices.get(term % width)
        if best is None or row[term] > row[best]:
            slices[term % width] = term
    return {term: row[term] for term in slices.values()}


def oracle(row: Weights, near: NDArray[np.float32], query: Weights, dense: NDArray[np.float32], width: int) -> float:
    left = kept(row, width)
    return sum(weight * left.get(term, 0.0) for term, weight in query.items()) + float(near @ dense)


def plain(row: Weights, near: NDArray[np.float32], query: Weights, dense: NDArray[np.float32], width: int) -> float:
    """The product without a gate, by which candidates are found."""
    a = {term % width: weight for term, weight in kept(row, width).items()}
    b = {term % width: weight for term, weight in kept(query, width).items()}
    return sum(weight * a.get(part, 0.0) for part, weight in b.items()) + float(near @ dense)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Weights], NDArray[np.float32], Weights, NDArray[np.float32], int]:
    rows = draw(st.lists(_SPARSE, max_size=15))
    if rows and draw(st.booleans()):
        rows += rows[: draw(st.integers(0, len(rows)))]  # duplicates
    width = draw(st.integers(0, 3))
    dense = draw(st.lists(st.lists(_VALUES, min_size=width, max_size=width), min_size=len(rows), max_size=len(rows)))
    query = draw(st.lists(_VALUES, min_size=width, max_size=width))
    near = np.array(dense, np.float32).reshape(len(rows), width)
    return rows, near, draw(_SPARSE), np.array(query, np.float32), draw(st.integers(1, 9))


Case = tuple[list[Weights], NDArray[np.float32], Weights, NDArray[np.float32], int]


@given(st.lists(_SPARSE, max_size=10), st.integers(1, 9))
@settings(max_examples=examples(50), deadline=None)
def test_a_slice_keeps_its_heaviest_term(rows: list[Weights], width: int) -> None:
    slices = densify(packed(rows), width)
    assert slices.values.shape == slices.positions.shape == (len(rows), width)
    for row, values, positions in zip(rows, slices.values, slices.positions, strict=True):
        found = {
            int(position) * width + part: float(value)
            for part, (value, position) in enumerate(zip(values, positions, strict=True))
            if value
        }
        assert found == kept(row, width)


@given(cases(), st.integers(1, 40), st.data())
@settings(max_examples=examples(60), deadline=None)
def test_a_search_of_all_rows_is_a_sort_of_all_scores(case: Case, k: int, data: st.DataObject) -> None:
    rows, near, query, dense, width = case
    index = DensifiedIndex.from_rows(packed(rows), near, width)
    mask = data.draw(st.one_of(st.none(), st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))))
    allowed = None if mask is None else np.array(mask, np.bool_)
    found = index.search(asked(query, dense), k, depth=1000, allowed=allowed)
    scores = [oracle(row, vector, query, dense, width) for row, vector in zip(rows, near, strict=True)]
    passing = [row for row in range(len(rows)) if mask is None or mask[row]]
    wanted = sorted(passing, key=lambda row: (-scores[row], row))[:k]
    assert found.rows.tolist() == wanted
    assert found.scores.tolist() == [scores[row] for row in wanted]


@given(cases(), st.integers(1, 6), st.integers(1, 6))
@settings(max_examples=examples(50), deadline=None)
def test_candidates_are_those_of_the_product_without_gates(case: Case, k: int, depth: int) -> None:
    rows, near, query, dense, width = case
    index = DensifiedIndex.from_rows(packed(rows), near, width)
    pairs = list(zip(rows, near, strict=True))
    open_scores = [plain(row, vector, query, dense, width) for row, vector in pairs]
    candidates = sorted(range(len(rows)), key=lambda row: (-open_scores[row], row))[: max(depth, k)]
    scores = [oracle(row, vector, query, dense, width) for row, vector in pairs]
    wanted = sorted(candidates, key=lambda row: (-scores[row], row))[:k]
    found = index.search(asked(query, dense), k, depth=depth)
    assert found.rows.tolist() == wanted
    for row, score in zip(found.rows, found.scores, strict=True):
        assert index.scores_of(np.array([row]), asked(query, dense)).tolist() == [score]


def corpus(n: int, seed: int = 1) -> tuple[list[Weights], NDArray[np.float32]]:
    """Rows of groups, so that clusters have something to find."""
    random = np.random.default_rng(seed)
    rows: list[Weights] = []
    dense = np.empty((n, 16), np.float32)
    centres = random.normal(size=(8, 16))
    for row in range(n):
        group = int(random.integers(0, 8))
        terms = np.unique(
            np.concatenate([random.integers(group * 50, group * 50 + 50, 12), random.integers(0, 900, 4)])
        )
        rows.append(
            {int(term): float(weight) for term, weight in zip(terms, random.random(len(terms)) + 0.1, strict=True)}
        )
        dense[row] = centres[group] + random.normal(size=16) * 0.3
    return rows, dense


@pytest.mark.parametrize("clustered", [False, True])
def test_an_index_on_disk_answers_as_one_in_memory(tmp_path: Path, clustered: bool) -> None:
    if clustered:
        pytest.importorskip("faiss")
    rows, dense = corpus(600)
    kept_in_memory = DensifiedIndex.from_rows(packed(rows), dense, 64)
    built = build_densified(tmp_path / "d", packed(rows), dense, 64, clustered=clustered)
    opened = DensifiedIndex.open(tmp_path / "d")
    assert (opened.n_rows, opened.width, opened.dense_width) == (600, 64, 16)
    assert not list(DensifiedIndex.verify(tmp_path / "d"))
    found = 0
    for number in range(20):
        query = asked(rows[number], dense[number])
        exact = kept_in_memory.search(query, 10, depth=600)
        for index in (built, opened):
            same = index.search(query, 10, depth=600, recall=1)
            assert same.rows.tolist() == exact.rows.tolist()
            assert same.scores.tolist() == exact.scores.tolist()
        near = opened.search(query, 10, depth=60)
        assert near.scores.tolist() == kept_in_memory.scores_of(near.rows, query).tolist()
        found += len(np.intersect1d(near.rows, exact.rows))
    assert found >= 150


def test_vocabularies_of_any_size() -> None:
    rows = packed([{70_000: 2.0, 3: 1.0}, {70_001: 1.0}])
    index = DensifiedIndex.from_rows(rows, np.empty((2, 0), np.float32), 10)
    nothing = np.empty(0, np.float32)
    assert densify(rows, 10).positions.dtype == np.uint16
    assert index.search(asked({70_000: 3.0}, nothing), 2).scores.tolist() == [6.0, 0.0]
    assert index.search(asked({70_000 - 10 * 256: 3.0}, nothing), 2).scores.tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="too few"):
        densify(rows, 1)


def test_damage_is_found_and_named(tmp_path: Path) -> None:
    rows, dense = corpus(30)
    build_densified(tmp_path / "d", packed(rows), dense, 16)
    gates = tmp_path / "d" / "gates" / "positions.bin"
    whole = gates.read_bytes()
    gates.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    assert [problem.path for problem in DensifiedIndex.verify(tmp_path / "d")] == [gates]
    gates.write_bytes(whole[:-1])
    with pytest.raises(CorruptFileError, match=r"positions\.bin"):
        DensifiedIndex.open(tmp_path / "d")
    gates.unlink()
    with pytest.raises(CorruptFileError, match="missing"):
        DensifiedIndex.open(tmp_path / "d")
    with pytest.raises(IndexStorageError, match="there already"):
        build_densified(tmp_path / "d", packed(rows), dense, 16)
    with pytest.raises(FileNotFoundError):
        DensifiedIndex.open(tmp_path / "none")


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    rows, dense = corpus(5)
    index = DensifiedIndex.from_rows(packed(rows), dense, 16)
    with pytest.raises(ValueError, match="dense vectors must be"):
        build_densified(tmp_path / "d", packed(rows), dense[:4], 16)
    with pytest.raises(ValueError, match="finite"):
        build_densified(tmp_path / "d", packed(rows), np.full_like(dense, np.nan), 16)
    assert not (tmp_path / "d").exists()
    query = asked({1: 1.0}, dense[0])
    for wrong in (asked({1: 1.0}, dense[0, :3]), asked({-1: 1.0}, dense[0]), asked({1: np.nan}, dense[0])):
        with pytest.raises(ValueError):
            index.search(wrong, 1)
    with pytest.raises(ValueError, match="at least 1"):
        index.search(query, 0)
    with pytest.raises(IndexError):
        index.scores_of(np.array([5]), query)
