"""Searches of a clustered index against plain exact search, over ties, duplicates, filters and empty collections."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from spann_collections import best, clustered, similarities, unit

from lexhound.index.spann import ClusteredIndex, Effort, SpannOptions, build_clustered

EVERYTHING = Effort(1 << 30, doubt=float("inf"))
"""Every posting and every vector, by a scan; `Effort.everything()` compares all rows instead."""
TINY = SpannOptions(posting_limit=6, vectors_per_centroid=3, calibration_queries=4, graph_from=8)


@pytest.fixture(scope="module", params=["unequal lengths", "unit length"])
def built(request, tmp_path_factory):
    vectors = clustered(1500, 16)
    if request.param == "unit length":
        vectors = unit(vectors)
    options = SpannOptions(calibration_queries=80, graph_from=64, vectors_per_centroid=10)
    index = build_clustered(tmp_path_factory.mktemp("spann") / "index", vectors, options)
    return index, vectors, clustered(60, 16, seed=5)


def test_everything_probed_is_exact(built):
    index, vectors, queries = built
    for query in queries[:10]:
        scores = similarities(vectors, query)
        top = index.search(query, 20, effort=EVERYTHING)
        assert top.rows.tolist() == best(scores, 20)
        np.testing.assert_allclose(top.scores, scores[top.rows], rtol=1e-6, atol=1e-6)


def test_everything_is_exact_where_scores_differ_by_less_than_float32_tells(tmp_path):
    draw = np.random.default_rng(2)
    vectors = (unit(draw.standard_normal((1, 64))) * (1 + 1e-7 * draw.standard_normal((1000, 64)))).astype(np.float32)
    index = build_clustered(tmp_path / "index", vectors)
    for query in clustered(5, 64, seed=1):
        top, work = index.search_with_work(query, 10, effort=Effort.everything())
        exact = index.flat.search(query, 10)
        assert top.rows.tolist() == exact.rows.tolist()
        assert work == (0, 0, 1000, 256_000)


@pytest.mark.parametrize("times", [1e-8, 1, 9e17])
def test_the_length_of_a_query_does_not_matter(tmp_path, times):
    vectors = unit(clustered(1500, 16)) * np.float32(times)
    index = build_clustered(tmp_path / "index", vectors, SpannOptions(calibration_queries=40))
    for length in (3e38, 1e25, 1e-25, 1e-38):
        for query in unit(clustered(5, 16, seed=5)) * np.float32(length):
            exact = index.flat.search(query, 10).rows.tolist()
            assert index.search(query, 10, effort=EVERYTHING).rows.tolist() == exact
            assert len(set(exact) & set(index.search(query, 10, effort=Effort(1 << 30)).rows.tolist())) >= 8


def test_vectors_too_short_to_measure_are_all_compared(tmp_path):
    index = build_clustered(tmp_path / "index", unit(clustered(1500, 16)) * np.float32(1e-25))
    for query in clustered(5, 16, seed=5):
        assert index.search(query, 10).rows.tolist() == index.flat.search(query, 10).rows.tolist()


def read(index, queries, **how):
    """The mean number of codes that a search reads."""
    return np.mean([index.search_with_work(query, 10, **how)[1].codes_read for query in queries])


@pytest.mark.parametrize("target", [0.9, 0.99])
def test_recall_reaches_what_was_wanted(built, target):
    index, vectors, queries = built
    hits = sum(
        len(set(index.search(query, 10, recall=target).rows.tolist()) & set(best(similarities(vectors, query), 10)))
        for query in queries
    )
    assert hits / (10 * len(queries)) >= target - 0.04
    # It must not get there by reading everything.
    work = [index.search_with_work(query, 10, recall=target)[1] for query in queries]
    assert np.mean([each.codes_read for each in work]) < index.n_rows
    assert np.mean([each.vectors_read for each in work]) < 0.2 * index.n_rows


def test_a_higher_target_reads_more(built):
    index, _, queries = built
    work = [read(index, queries, recall=target) for target in (0.8, 0.95, 0.99)]
    assert work[0] < work[1] < work[2]


def test_more_effort_reads_more(built):
    index, _, queries = built
    work = [read(index, queries, effort=effort) for effort in (Effort(2), Effort(8), Effort(60), Effort(60, 1.2))]
    assert work[0] < work[1] < work[2]
    assert work[3] < work[2]
    doubts = [
        sum(index.search_with_work(query, 10, effort=Effort(60, doubt=doubt))[1].vectors_read for query in queries)
        for doubt in (0.0, 1.9, 4.0, np.inf)
    ]
    assert doubts[0] < doubts[1] < doubts[2] < doubts[3]


def test_filters_are_full_and_good(built):
    index, vectors, queries = built
    draw = np.random.default_rng(3)
    for share in (0.0, 0.005, 0.2, 0.5, 1.0):
        allowed = draw.random(index.n_rows) < share
        hits = wanted = 0
        for query in queries[:20]:
            top = index.search(query, 10, allowed=allowed, recall=0.95)
            assert len(top) == min(10, allowed.sum())
            assert allowed[top.rows].all()
            truth = best(similarities(vectors, query), 10, allowed)
            hits += len(set(top.rows.tolist()) & set(truth))
            wanted += len(truth)
        assert hits >= 0.9 * wanted


def test_a_filter_far_from_the_query_is_reached(built):
    # Only the rows that are least like the query may be returned: the nearest postings hold none of them.
    index, vectors, queries = built
    for query in queries[:5]:
        allowed = np.zeros(index.n_rows, np.bool_)
        allowed[np.argsort(similarities(vectors, query))[:600]] = True
        top, work = index.search_with_work(query, 10, allowed=allowed, effort=Effort(3))
        assert len(top) == 10
        assert allowed[top.rows].all()
        assert 0 < work.vectors_read < 600


def test_more_hits_than_were_calibrated(built):
    index, vectors, queries = built
    for k in (700, 1500, 5000):
        for how in ({}, {"effort": Effort(1)}):
            top = index.search(queries[0], k, **how)
            assert len(top) == min(k, 1500)
            assert len(set(top.rows.tolist())) == len(top)
            assert (np.lexsort((top.rows, -top.scores)) == np.arange(len(top))).all()
    scores = similarities(vectors, queries[0])
    assert index.search(queries[0], 1500, effort=EVERYTHING).rows.tolist() == best(scores, 1500)


def test_threads_batches_and_a_cold_start_change_nothing(built):
    index, _, queries = built
    alone = [index.search(query, 7) for query in queries]
    other = ClusteredIndex.open(index.path)  # which tells the system what it will read
    for results in (
        index.search_many(queries, 7, threads=1),
        index.search_many(queries, 7, threads=3),
        other.search_many(queries, 7, threads=2),
    ):
        assert [top.rows.tolist() for top in results] == [top.rows.tolist() for top in alone]
        assert [top.scores.tolist() for top in results] == [top.scores.tolist() for top in alone]


def test_scores_of_given_rows(built):
    index, vectors, queries = built
    rows = np.array([5, 3, 1499, 3])
    expected = similarities(vectors, queries[0])[rows]
    np.testing.assert_allclose(index.scores_of(rows, queries[0]), expected, rtol=1e-6, atol=1e-6)
    top = index.search(queries[0], 5)
    assert index.scores_of(top.rows, queries[0]).tolist() == top.scores.tolist()


def test_the_work_of_a_search(built):
    """Counts, not clocks: a search that reads more than this is slower on any machine."""
    index, _, queries = built
    work = np.array([index.search_with_work(query, 10, effort=Effort(12))[1] for query in queries])
    postings, codes, vectors, size = work.mean(axis=0)
    assert postings == 12
    assert codes < 600
    assert vectors < 150
    blocks = (size - vectors * 4 * 16) / (32 * 16 + 32 * 2)
    assert codes / 32 <= blocks <= codes / 32 + postings


def test_doubt_loses_little_of_what_is_read(built):
    index, vectors, queries = built
    lost = found = 0
    for query in queries:
        close = set(index.search(query, 10, effort=Effort(40)).rows.tolist())
        whole = set(index.search(query, 10, effort=Effort(40, doubt=np.inf)).rows.tolist())
        lost, found = lost + len(whole - close), found + len(whole)
        assert whole <= set(best(similarities(vectors, query), 10)) | whole
    assert lost <= 0.03 * found


vectors_with_ties = st.integers(0, 40).flatmap(
    lambda n: arrays(np.float32, (n, 3), elements=st.sampled_from([-1.0, 0.0, 0.5, 2.0]))
)


@settings(max_examples=examples(40), deadline=None)
@given(
    vectors_with_ties,
    arrays(np.float32, 3, elements=st.sampled_from([-1.0, 0.0, 1.0])),
    st.integers(1, 50),
    st.sampled_from(["none", "all", "one", "some", "no filter"]),
)
def test_any_small_collection(vectors, query, k, kept):
    options = SpannOptions(posting_limit=6, vectors_per_centroid=3, calibration_queries=4, graph_from=8)
    allowed = None
    if kept != "no filter":
        allowed = np.full(len(vectors), kept == "all")
        allowed[{"one": slice(0, 1), "some": slice(0, None, 3)}.get(kept, slice(0, 0))] = True
    with tempfile.TemporaryDirectory() as folder:
        index = build_clustered(Path(folder) / "index", vectors, options)
        scores = similarities(vectors, query)
        top = index.search(query, k, allowed=allowed, effort=EVERYTHING)
        assert top.rows.tolist() == best(scores, k, allowed)
        np.testing.assert_allclose(top.scores, scores[top.rows], rtol=1e-6, atol=1e-6)
        near = index.search(query, k, allowed=allowed, effort=Effort(1))
        assert len(near) == len(top)
        assert allowed is None or allowed[near.rows].all()
        np.testing.assert_allclose(near.scores, scores[near.rows], rtol=1e-6, atol=1e-6)


def test_all_vectors_equal(tmp_path):
    index = build_clustered(tmp_path / "index", np.ones((100, 4), np.float32), TINY)
    query = np.ones(4, np.float32)
    for how in ({}, {"effort": Effort(1)}, {"effort": EVERYTHING}):
        assert index.search(query, 100, **how).rows.tolist() == list(range(100))
    assert index.search(query, 5, effort=EVERYTHING).rows.tolist() == [0, 1, 2, 3, 4]


def test_a_query_that_is_a_centroid(tmp_path):
    # Its nearest distance is zero, and any ratio of zero is zero.
    vectors = unit(np.eye(30, dtype=np.float32) + 0.1)
    options = SpannOptions(posting_limit=4, vectors_per_centroid=1, calibration_queries=0)
    index = build_clustered(tmp_path / "index", vectors, options)
    for effort in (Effort(3), Effort(3, 1.5), EVERYTHING):
        for k in (1, 2, 8, 30):
            top, work = index.search_with_work(vectors[4], k, effort=effort)
            assert len(top) == k
            assert top.rows[0] == 4
            assert effort != Effort(3) or work.codes_read >= 3


def test_misuse_is_refused(built, tmp_path):
    index, _, queries = built
    with pytest.raises(ValueError, match="k must be at least 1"):
        index.search(queries[0], 0, effort=EVERYTHING)
    with pytest.raises(ValueError, match=r"queries must be float32\[m, 16\]"):
        index.search(queries[0][:3], 5, effort=EVERYTHING)
    with pytest.raises(ValueError, match="not finite"):
        index.search(np.full(16, np.nan, np.float32), 5)
    with pytest.raises(ValueError, match="a mask of rows must be"):
        index.search(queries[0], 5, allowed=np.ones(3, np.bool_), effort=EVERYTHING)
    with pytest.raises(ValueError, match="not both"):
        index.search(queries[0], 5, recall=0.9, effort=EVERYTHING)
    with pytest.raises(ValueError, match="recall must be"):
        index.search(queries[0], 5, recall=1.5)
    for bad in (np.full((2, 3), 1e30, np.float32), np.full((2, 3), np.nan, np.float32)):
        with pytest.raises(ValueError, match="lengths beyond"):
            build_clustered(tmp_path / "x", bad)
    with pytest.raises(ValueError, match="reads at least one posting"):
        Effort(0)
    assert not (tmp_path / "x").exists()
