"""The clustered index of a segment: held against the flat index, whose scores it must give to the last bit."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from spann_collections import clustered, unit

from lexhound.index import FlatIndex, FlatPart, VectorIndex, merge_flat
from lexhound.index.array_files import ArrayDirectory, ArrayDirectoryWriter
from lexhound.index.errors import CorruptFileError
from lexhound.index.spann import ClusteredIndex, Effort, SpannOptions, build_clustered
from lexhound.index.topk import TopK

OPTIONS = SpannOptions(calibration_queries=100, vectors_per_centroid=10, graph_from=64)
Case = tuple[ClusteredIndex, FlatIndex, NDArray[np.float32]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Case:
    vectors = unit(clustered(1500, 16))
    vectors[700] = vectors[3]  # a tie
    index = build_clustered(tmp_path_factory.mktemp("clustered") / "dense", vectors, OPTIONS)
    return index, FlatIndex.from_vectors(vectors), unit(clustered(60, 16, seed=5))


def pairs(found: TopK) -> list[tuple[int, float]]:
    return list(zip(found.rows.tolist(), found.scores.tolist(), strict=True))


def test_it_is_what_a_collection_asks_for(built: Case) -> None:
    index, flat, _ = built
    assert isinstance(index, VectorIndex)
    assert isinstance(flat, VectorIndex)
    assert (index.n_rows, index.width) == (1500, 16)
    assert 0 < index.resident_bytes < index.nbytes
    np.testing.assert_array_equal(index.vectors_of(np.array([5, 3])), flat.vectors_of(np.array([5, 3])))


def test_with_recall_1_it_is_the_flat_index(built: Case) -> None:
    index, flat, queries = built
    allowed = np.random.default_rng(0).random(1500) < 0.3
    for mask in (None, allowed, np.zeros(1500, np.bool_)):
        for k in (1, 10, 2000):
            wanted = [pairs(each) for each in flat.search_many(queries, k, allowed=mask)]
            assert [pairs(each) for each in index.search_many(queries, k, allowed=mask, recall=1)] == wanted
            found, stats = index.search_with_stats(queries[0], k, allowed=mask, recall=1)
            assert pairs(found) == wanted[0]
            assert stats.rows_scored == (1500 if mask is None else mask.sum())


def test_the_default_recall_is_reached_without_comparing_everything(built: Case) -> None:
    index, flat, queries = built
    hits = codes = read = 0
    for query in queries:
        found, work = index.search_with_work(query, 10)
        exact = flat.search(query, 10)
        hits += len(np.intersect1d(found.rows, exact.rows))
        codes, read = codes + work.codes_read, read + work.vectors_read
        assert index.search_with_stats(query, 10)[1].rows_scored == work.vectors_read
        assert found.scores.tolist() == flat.scores_of(found.rows, query).tolist()
        assert found.scores.tolist() == index.scores_of(found.rows, query).tolist()
    assert hits >= 0.92 * 10 * len(queries)
    assert codes < 0.8 * 1500 * len(queries)
    assert read < 0.2 * 1500 * len(queries)


@pytest.mark.parametrize("share", [0.0, 1 / 1500, 0.1, 0.5, 1.0])
def test_a_filter_leaves_as_many_hits_as_there_can_be(built: Case, share: float) -> None:
    index, flat, queries = built
    allowed = np.zeros(1500, np.bool_)
    allowed[np.random.default_rng(1).permutation(1500)[: round(share * 1500)]] = True
    hits = wanted = 0
    for query in queries[:20]:
        found, exact = index.search(query, 10, allowed=allowed), flat.search(query, 10, allowed=allowed)
        assert len(found) == len(exact)
        assert allowed[found.rows].all()
        hits += len(np.intersect1d(found.rows, exact.rows))
        wanted += len(exact)
    assert hits >= 0.9 * wanted


def test_many_are_those_of_one_for_any_number_of_threads(built: Case) -> None:
    index, _, queries = built
    alone = [pairs(index.search(query, 7, recall=0.9)) for query in queries]
    for threads in (1, 3, None):
        assert [pairs(each) for each in index.search_many(queries, 7, recall=0.9, threads=threads)] == alone


def test_so_many_hits_that_comparing_everything_is_less_work(built: Case) -> None:
    index, flat, queries = built
    assert pairs(index.search(queries[0], 1400)) == pairs(flat.search(queries[0], 1400))


@settings(max_examples=examples(25), deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.integers(1, 9), st.integers(1, 70), st.booleans())
def test_any_small_collection(
    tmp_path_factory: pytest.TempPathFactory, seed: int, n: int, width: int, k: int, filtered: bool
) -> None:
    random = np.random.default_rng(seed)
    vectors = random.integers(-2, 3, (n, width)).astype(np.float32) / 2
    query = random.integers(-2, 3, width).astype(np.float32)
    allowed = random.random(n) < 0.5 if filtered else None
    options = SpannOptions(posting_limit=6, vectors_per_centroid=3, calibration_queries=4, graph_from=8)
    index = build_clustered(tmp_path_factory.mktemp("any") / "dense", vectors, options)
    flat = FlatIndex.from_vectors(vectors)
    exact = flat.search(query, k, allowed=allowed)
    assert pairs(index.search(query, k, allowed=allowed, recall=1)) == pairs(exact)
    near = index.search(query, k, allowed=allowed, recall=0.8)
    assert len(near) == len(exact)
    assert near.scores.tolist() == flat.scores_of(near.rows, query).tolist()
    assert list(ClusteredIndex.verify(index.path)) == []


def test_it_is_merged_with_others(built: Case, tmp_path: Path) -> None:
    index, flat, _ = built
    more = FlatIndex.from_vectors(unit(clustered(40, 16, seed=8)))
    kept = np.arange(1500) % 3 > 0
    new_rows = np.where(kept, np.cumsum(kept) - 1, -1)
    parts = [FlatPart(index, new_rows), FlatPart(more, np.arange(40) + 1000)]
    merged = merge_flat(tmp_path / "merged", parts, 1040, 16)
    np.testing.assert_array_equal(merged.vectors, np.concatenate([flat.vectors[kept], more.vectors]))


def test_damage_is_found(built: Case, tmp_path: Path) -> None:
    shutil.copytree(built[0].path, tmp_path / "dense")
    assert list(ClusteredIndex.verify(tmp_path / "dense")) == []
    for name in ("vectors.bin", "postings.bin", "state-000001/centroids.bin"):
        path = tmp_path / "dense" / name
        whole = path.read_bytes()
        path.write_bytes(whole[:9] + bytes([whole[9] ^ 1]) + whole[10:])
        assert [problem.path for problem in ClusteredIndex.verify(tmp_path / "dense")] == [path]
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(CorruptFileError, match=name):
            ClusteredIndex.open(tmp_path / "dense")
        path.write_bytes(whole)


FORMER = Path(__file__).parent / "former_index"
"""`build_clustered(path, clustered(30, 4), SpannOptions(calibration_queries=0, vectors_per_centroid=10))`, as the
version before format 3 wrote it."""


def test_an_index_of_an_earlier_version_compares_all_rows(tmp_path: Path) -> None:
    shutil.copytree(FORMER, tmp_path / "former")
    index, flat = ClusteredIndex.open(tmp_path / "former"), FlatIndex.from_vectors(clustered(30, 4))
    assert index.is_former
    assert (index.n_rows, index.width, index.resident_bytes) == (30, 4, 0)
    for query in clustered(5, 4, seed=1):
        for how in ({}, {"recall": 0.8}, {"effort": Effort(1)}):
            top, work = index.search_with_work(query, 7, **how)  # type: ignore[arg-type]
            assert pairs(top) == pairs(flat.search(query, 7))
            assert work == (0, 0, 30, 480)
        assert [pairs(top) for top in index.search_many(query[None], 7)] == [pairs(flat.search(query, 7))]
    assert list(ClusteredIndex.verify(index.path)) == []
    vectors = index.path / "vectors.bin"
    whole = vectors.read_bytes()
    vectors.write_bytes(whole[:9] + bytes([whole[9] ^ 1]) + whole[10:])
    assert [problem.path for problem in ClusteredIndex.verify(index.path)] == [vectors]


def rewritten(directory: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
    """Store the tables of an index again, after `change` of its attributes and arrays."""
    state = directory / "state-000001"
    stored = ArrayDirectory(state, kind="spann", format=2)
    attributes, arrays = stored.attributes, {f.stem: stored.array(f.stem).copy() for f in state.glob("*.bin")}
    change(attributes, arrays)
    shutil.rmtree(state)
    with ArrayDirectoryWriter(state, kind="spann", format=stored.format) as writer:
        for name, array in arrays.items():
            writer.write(name, array, structure=True)
        writer.finish(attributes)


def other_metric(attributes: dict[str, Any], _: dict[str, Any]) -> None:
    attributes["options"]["metric"] = "l2"


def replaced_row(_: dict[str, Any], arrays: dict[str, Any]) -> None:
    arrays["versions"][3] = 3


def dropped_posting(_: dict[str, Any], arrays: dict[str, Any]) -> None:
    arrays["dead"][0] = 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_metric, "reads indexes of inner products"),
        (replaced_row, "was changed after it was built"),
        (dropped_posting, "was changed after it was built"),
    ],
)
def test_an_index_of_another_make_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any], dict[str, Any]], None], message: str
) -> None:
    path = tmp_path / "index"
    shutil.copytree(FORMER, path)
    rewritten(path, lambda attributes, arrays: None)
    assert ClusteredIndex.open(path).n_rows == 30
    rewritten(path, change)
    with pytest.raises(CorruptFileError, match=message):
        ClusteredIndex.open(path)
    assert message in str(next(iter(ClusteredIndex.verify(path))))


def test_changes_in_the_log_of_an_earlier_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "index"
    shutil.copytree(FORMER, path)
    log = path / "log-000001.bin"
    log.write_bytes(b"LHSL")
    with pytest.raises(CorruptFileError, match="was changed after it was built"):
        ClusteredIndex.open(path)
    assert [problem.path for problem in ClusteredIndex.verify(path)] == [log]
    with pytest.raises(FileNotFoundError):
        ClusteredIndex.open(tmp_path / "nothing")


def test_a_search_needs_no_faiss(built: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    index, _, queries = built
    monkeypatch.setitem(sys.modules, "faiss", None)
    other = ClusteredIndex.open(index.path)
    for query in queries[:10]:
        assert pairs(other.search(query, 10)) == pairs(index.search(query, 10))


def test_misuse_is_refused(built: Case, tmp_path: Path) -> None:
    index, _, queries = built
    with pytest.raises(ValueError, match="k must be"):
        index.search(queries[0], 0)
    with pytest.raises(ValueError, match="queries must be"):
        index.search(queries[0][:3], 5)
    with pytest.raises(ValueError, match="recall must be"):
        index.search(queries[0], 5, recall=0)
    with pytest.raises(ValueError, match="a mask of rows must be"):
        index.search(queries[0], 5, allowed=np.ones(3, np.bool_))
    with pytest.raises(ValueError, match="vectors must be"):
        build_clustered(tmp_path / "x", np.ones((3, 2)))  # type: ignore[arg-type]
    with pytest.raises(IndexError):
        index.scores_of(np.array([1500]), queries[0])
