"""Inserts, replacements and deletes in a clustered index, against a dict of vectors and a fresh build."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spann_collections import best, clustered, similarities

from lexhound.index.errors import IndexStorageError
from lexhound.index.spann import Effort, SpannIndex, SpannOptions

EVERYTHING = Effort.everything()
TINY = SpannOptions(
    metric="l2", posting_limit=6, vectors_per_centroid=3, calibration_queries=0, graph_from=8, candidates=8
)


def check(index: SpannIndex, model: dict[int, np.ndarray], query: np.ndarray) -> None:
    """The index holds the vectors of the model, and nothing else."""
    assert index.n_live == len(model)
    assert np.flatnonzero(index.live).tolist() == sorted(model)
    scores = np.full(index.n_rows, -np.inf)
    if model:
        rows = np.array(sorted(model))
        scores[rows] = similarities(np.stack([model[row] for row in rows.tolist()]), query, index.options.metric)
    top = index.search(query, max(1, len(model)), effort=EVERYTHING)
    assert top.rows.tolist() == best(scores, len(model))
    assert len(index.search(query, 5, effort=Effort(1))) == min(5, len(model))


point = st.tuples(*[st.sampled_from([-2.0, 0.0, 0.25, 1.0, 3.0])] * 2)
changes = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), st.dictionaries(st.integers(0, 40), point, max_size=25)),
        st.tuples(st.just("delete"), st.sets(st.integers(0, 45), max_size=25)),
        st.tuples(st.just("checkpoint"), st.none()),
        st.tuples(st.just("reopen"), st.none()),
        st.tuples(st.just("crash"), st.none()),
    ),
    max_size=8,
)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 30), changes)
def test_any_changes(n, steps):
    vectors = clustered(n, 2, groups=3)
    model = dict(enumerate(vectors))
    query = np.array([0.5, 1.0], np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "0"
        index = SpannIndex.build(path, vectors, options=TINY, writable=True)
        for number, (kind, what) in enumerate(steps):
            if kind == "insert":
                new = {row: np.array(value, np.float32) for row, value in what.items()}
                index.insert(np.array(list(new), np.int64), np.array(list(new.values()), np.float32).reshape(-1, 2))
                model |= new
            elif kind == "delete":
                assert index.delete(np.array(sorted(what), np.int64)) == len(what & model.keys())
                model = {row: vector for row, vector in model.items() if row not in what}
            elif kind == "checkpoint":
                index.checkpoint()
            elif kind == "reopen":
                index.close()
                index = SpannIndex.open(path, writable=True)
            else:  # what the disk holds while the process still runs is what a kill leaves
                copy = Path(folder) / f"{number + 1}"
                shutil.copytree(path, copy)
                index.close()
                path, index = copy, SpannIndex.open(copy, writable=True)
            check(index, model, query)
        index.close()
        assert list(SpannIndex.verify(path)) == []
        with SpannIndex.open(path) as again:
            check(again, model, query)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_replacing_half_in_small_batches_keeps_the_recall(tmp_path, metric):
    old, new, queries = clustered(2000, 12), clustered(1000, 12, seed=1), clustered(150, 12, seed=7)
    options = SpannOptions(
        metric=metric, calibration_queries=60, graph_from=64, posting_limit=40, vectors_per_centroid=10
    )
    index = SpannIndex.build(tmp_path / "index", old, options=options, writable=True)
    order = np.random.default_rng(0).permutation(2000)[:1000]
    present = old.copy()
    for start in range(0, 1000, 50):
        rows = order[start : start + 50]
        index.delete(rows[:25])
        index.insert(rows, new[start : start + 50])
        present[rows] = new[start : start + 50]
    fresh = SpannIndex.build(tmp_path / "fresh", present, options=options)
    effort = fresh.calibration.effort(0.95, 10)
    truth = [best(similarities(present, query, metric), 10) for query in queries]

    def measure(one: SpannIndex) -> tuple[float, float]:
        found = [one.search_with_stats(query, 10, effort=effort) for query in queries]
        hits = [len(set(top.rows.tolist()) & set(true)) for (top, _), true in zip(found, truth, strict=True)]
        return sum(hits) / (10 * len(queries)), float(np.mean([stats.entries_read for _, stats in found]))

    (recall, work), (fresh_recall, fresh_work) = measure(index), measure(fresh)
    assert recall >= fresh_recall - 0.01
    assert work <= 1.35 * fresh_work
    assert index.n_entries <= 1.4 * fresh.n_entries
    for one in (index, fresh):
        one.close()
        assert list(SpannIndex.verify(one.path)) == []


def test_growing_from_nothing(tmp_path):
    vectors = clustered(600, 8)
    options = SpannOptions(calibration_queries=0, posting_limit=20, vectors_per_centroid=10, graph_from=16)
    with SpannIndex.build(tmp_path / "index", vectors[:0], options=options, writable=True) as index:
        assert len(index.search(vectors[0], 5)) == 0
        for start in range(0, 600, 60):
            index.insert(np.arange(start, start + 60), vectors[start : start + 60])
        assert index.n_postings > 600 / 20
        found = sum(
            len(
                set(index.search(query, 10, effort=Effort(12)).rows.tolist())
                & set(best(similarities(vectors, query, "cosine"), 10))
            )
            for query in clustered(30, 8, seed=3)
        )
        assert found >= 0.9 * 300
        assert index.delete(np.arange(590)) == 590
        assert index.n_postings < 30  # the short ones have dissolved
        assert index.search(vectors[595], 100).rows.tolist()[0] == 595
        size = index.nbytes
        for start in range(0, 590, 59):
            index.insert(np.arange(start, start + 59), vectors[start : start + 59])
            index.checkpoint()
        assert index.nbytes < 3 * size  # freed pages are used again


def test_calibrating_what_has_grown(tmp_path):
    vectors, queries = clustered(700, 8), clustered(60, 8, seed=3)
    options = SpannOptions(
        metric="ip", calibration_queries=40, posting_limit=20, vectors_per_centroid=10, graph_from=16
    )
    with SpannIndex.build(tmp_path / "index", vectors[:1], options=options, writable=True) as index:
        index.insert(np.arange(1, 700), vectors[1:])
        assert index.calibration.settings == ()
        _, stats = index.search_with_stats(queries[0], 10)
        assert stats.entries_read == index.n_entries  # nothing is known, so everything is read
        index.calibrate(clustered(80, 8, seed=9))
        found = [index.search_with_stats(query, 10, recall=0.9) for query in queries]
        hits = sum(
            len(set(top.rows.tolist()) & set(best(similarities(vectors, query, "ip"), 10)))
            for query, (top, _) in zip(queries, found, strict=True)
        )
        assert hits >= 0.86 * 600
        assert np.mean([stats.entries_read for _, stats in found]) < 0.7 * index.n_entries
        measured = index.calibration
    with SpannIndex.open(tmp_path / "index") as again:
        assert again.calibration == measured


def test_searches_go_on_while_rows_change(tmp_path):
    import threading

    vectors = clustered(400, 6)
    options = SpannOptions(calibration_queries=0, posting_limit=12, vectors_per_centroid=10, graph_from=16)
    with SpannIndex.build(tmp_path / "index", vectors[:200], options=options, writable=True) as index:
        stop, problems = threading.Event(), []

        def read() -> None:
            while not stop.is_set():
                # The first hundred rows never change, and each is its own nearest.
                for row in range(0, 100, 9):
                    top = index.search(vectors[row], 3, effort=EVERYTHING)
                    if top.rows[0] != row or abs(top.scores[0] - 1) > 1e-6:
                        problems.append((row, top))

        reader = threading.Thread(target=read)
        reader.start()
        try:
            for turn in range(6):
                rows = np.arange(100, 400)[turn % 2 :: 2]
                index.insert(rows, vectors[rows])
                index.delete(rows[::3])
                index.checkpoint()
        finally:
            stop.set()
            reader.join()
        assert problems == []


def test_reading_does_not_change(tmp_path):
    with SpannIndex.build(tmp_path / "index", clustered(30, 4), options=TINY) as index:
        with pytest.raises(IndexStorageError, match="is open for reading"):
            index.insert(np.array([1]), np.ones((1, 4), np.float32))
        with pytest.raises(IndexStorageError, match="writable=True"):
            index.delete(np.array([1]))
        with pytest.raises(IndexStorageError, match="one process may have it open for writing"):
            SpannIndex.open(tmp_path / "index", writable=True)
    with SpannIndex.open(tmp_path / "index", writable=True) as writer:
        with pytest.raises(IndexStorageError, match="is being written to"):
            SpannIndex.open(tmp_path / "index")
        with pytest.raises(ValueError, match="one per vector"):
            writer.insert(np.array([1, 2]), np.ones((1, 4), np.float32))
        writer.insert(np.empty(0, np.int64), np.empty((0, 4), np.float32))
        assert writer.delete(np.array([999, 3, 3])) == 1
        assert writer.n_live == 29
