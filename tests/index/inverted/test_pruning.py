"""What the search leaves unread: lists that cannot matter, rows below a threshold, and what approximation gives up."""

from __future__ import annotations

from dataclasses import dataclass

import index_corpora
import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lexhound.index import InvertedIndex, Query, RecallCalibration, build_inverted
from lexhound.index.inverted.calibration import RECALLS, calibrate, rows_of
from lexhound.index.inverted.merge import MergePart, merge_inverted

SCALE = 1 / 255


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A corpus with frequent and rare terms, so that lists are worth looking up, and a query for it."""

    weights: NDArray[np.float32]
    terms: NDArray[np.int32]
    query: NDArray[np.float32]

    @property
    def scores(self) -> NDArray[np.float64]:
        return oracle.scores(self.weights, SCALE, self.terms.tolist(), self.query)


def case(seed: int, n_rows: int, repeated: bool) -> Case:
    rng = np.random.default_rng(seed)
    n_terms = int(rng.integers(2, 12))
    chance = np.minimum(0.9, rng.choice([0.5, 2.0, 8.0]) / np.arange(1, n_terms + 1) ** 1.5)
    rows = max(1, n_rows // 64) if repeated else n_rows
    few = rng.choice([2, 40])
    weights = ((rng.random((rows, n_terms)) < chance) * rng.integers(1, few + 1, (rows, n_terms)) / few).astype(
        np.float32
    )
    weights[rng.random(rows) < 0.05] = 0  # empty documents
    if repeated:
        weights = np.repeat(weights, 64, axis=0)
    terms = np.sort(rng.choice(n_terms, int(rng.integers(1, n_terms + 1)), replace=False)).astype(np.int32)
    query = rng.choice(np.array([0.1, 0.5, 1, 1, 4], np.float32), len(terms)).astype(np.float32)
    return Case(weights, terms, query)


def mask_of(kind: str, n_rows: int, seed: int) -> NDArray[np.bool_] | None:
    rng = np.random.default_rng(seed)
    if kind == "no mask":
        return None
    share = {"none": 0, "few": 0.01, "more": 0.06, "some": 0.3, "one": 0, "all": 2}[kind]
    mask = (rng.random(n_rows + 1) < share)[seed % 2 :][:n_rows]  # some begin at an odd address
    if kind == "one":
        mask[rng.integers(n_rows)] = True
    return mask


@settings(deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([1, 63, 64, 65, 700, 1500]),
    st.booleans(),
    st.sampled_from([6, 9, 11]),
    st.sampled_from([1, 3, 10, 64, 1000]),
    st.sampled_from(["no mask", "none", "one", "few", "more", "some", "all"]),
)
def test_pruned_search_equals_the_oracle(seed, n_rows, repeated, window_bits, k, kind):
    given_case = case(seed, n_rows, repeated)
    index = InvertedIndex.from_csr(index_corpora.to_csr(given_case.weights), SCALE, window_bits=window_bits)
    allowed = mask_of(kind, index.n_rows, seed)
    query = Query.from_weights(given_case.terms, given_case.query)
    expected = oracle.top_k(given_case.scores, k, allowed)
    found = index.search(query, k, allowed=allowed)
    assert (found.rows.tolist(), found.scores.tolist()) == expected
    (batched,) = index.search_many([query], k, allowed=allowed, threads=1)
    assert (batched.rows.tolist(), batched.scores.tolist()) == expected
    if expected[1]:  # those that reach a threshold come in the same order; a tie with it is kept
        at_least = expected[1][len(expected[1]) // 2]
        wanted = [score for score in expected[1] if score >= at_least]
        for found in (
            index.search(query, k, allowed=allowed, at_least=at_least),
            index.search_many([query], k, allowed=allowed, at_least=[at_least], threads=1)[0],
        ):
            assert found.rows.tolist()[: len(wanted)] == expected[0][: len(wanted)]
            assert found.scores.tolist()[: len(wanted)] == wanted


@settings(deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([700, 1500]), st.floats(0, 1), st.sampled_from([1, 10, 1000]))
def test_approximate_search_gives_exact_scores_of_fewer_rows(seed, n_rows, bound_factor, k):
    given_case = case(seed, n_rows, False)
    index = InvertedIndex.from_csr(index_corpora.to_csr(given_case.weights), SCALE, window_bits=8)
    query = Query.from_weights(given_case.terms, given_case.query)
    found = index.search(query, k, bound_factor=bound_factor)
    assert found.scores.tolist() == given_case.scores[found.rows].tolist()
    order = sorted(range(len(found)), key=lambda i: (-found.scores[i], found.rows[i]))
    assert order == list(range(len(found)))
    assert len(set(found.rows.tolist())) == len(found) <= k
    exact = oracle.top_k(given_case.scores, k)
    off = index.search(query, k, bound_factor=1.0)
    assert (off.rows.tolist(), off.scores.tolist()) == exact


@settings(deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 5, 40]))
def test_a_threshold_shared_between_indexes_changes_nothing(seed, k):
    given_case = case(seed, 900, seed % 2 == 0)
    bounds = [0, len(given_case.weights) // 5, len(given_case.weights) // 2, len(given_case.weights)]
    query = Query.from_weights(given_case.terms, given_case.query)
    hits, at_least = [], 0.0
    for first, last in ((1, 2), (0, 1), (2, 3)):  # whichever comes first
        rows = given_case.weights[bounds[first] : bounds[last]]
        index = InvertedIndex.from_csr(index_corpora.to_csr(rows), SCALE, window_bits=6)
        top = index.search(query, k, at_least=at_least)
        hits += zip((top.rows + bounds[first]).tolist(), top.scores.tolist(), strict=True)
        hits = sorted(hits, key=lambda hit: (-hit[1], hit[0]))[:k]
        at_least = hits[-1][1] if len(hits) == k else 0.0
    assert ([row for row, _ in hits], [score for _, score in hits]) == oracle.top_k(given_case.scores, k)


def test_a_threshold_beyond_every_score_leaves_nothing():
    index = InvertedIndex.from_csr(index_corpora.to_csr(np.ones((300, 2), np.float32)), SCALE)
    query = Query.from_weights(np.array([0, 1], np.int32), np.ones(2, np.float32))
    assert len(index.search(query, 5, at_least=1e300)) == 0
    assert len(index.search(query, 5, at_least=-1.0)) == 5


@pytest.mark.parametrize("bound_factor", [-0.1, 1.5, float("nan")])
def test_a_bound_factor_outside_of_0_to_1_is_refused(bound_factor):
    index = InvertedIndex.from_csr(index_corpora.to_csr(np.ones((2, 2), np.float32)), 1.0)
    with pytest.raises(ValueError, match="bound_factor must be from 0 to 1"):
        index.search(Query.from_weights(np.array([0], np.int32), np.ones(1, np.float32)), 1, bound_factor=bound_factor)


def topical(n_rows: int, seed: int) -> csr_array:
    """Rows of some 30 terms around topics, weights as a log-normal model would give them; 250,002 terms."""
    rng = np.random.default_rng(seed)
    topics = rng.integers(0, 3000, (200, 60))
    own = topics[rng.integers(0, 200, n_rows)[:, None], rng.integers(0, 60, (n_rows, 20))]
    common = np.minimum(rng.zipf(1.3, (n_rows, 12)), 240_000) + 5000
    columns = np.concatenate([own, common], axis=1)
    data = rng.lognormal(-0.5, 0.5, columns.shape).astype(np.float32)
    matrix = csr_array(
        (data.ravel(), (np.repeat(np.arange(n_rows), columns.shape[1]), columns.ravel())), shape=(n_rows, 250_002)
    )
    matrix.sum_duplicates()
    matrix.sort_indices()
    return matrix


def queries_like(matrix: csr_array, index: InvertedIndex, seed: int) -> list[Query]:
    """Inference-free queries: some terms of a row, weighted by idf."""
    rng = np.random.default_rng(seed)
    found = []
    for row in rng.integers(0, matrix.shape[0], 60).tolist():
        terms = matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]
        terms = np.sort(rng.choice(terms, 6, replace=False)).astype(np.int32)
        idf = np.log1p(index.n_rows / index.document_frequencies(terms)).astype(np.float32)
        found.append(Query.from_weights(terms, idf))
    return found


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory) -> tuple[csr_array, InvertedIndex]:
    matrix = topical(21_000, 1)
    directory = tmp_path_factory.mktemp("calibrated") / "index"
    return matrix, build_inverted(directory, matrix, scale=float(matrix.data.max()) / 255, window_bits=12)


def test_every_setting_of_the_dial_keeps_its_recall(calibrated):
    matrix, index = calibrated
    assert [setting.recall for setting in index.recall_calibration.settings] == list(RECALLS)
    queries = queries_like(matrix, index, 5)
    exact = [index.search(query, 10) for query in queries]
    deep = [index.search(query, 100) for query in queries]
    for setting in index.recall_calibration.settings:
        assert setting.measured >= setting.recall
        assert index.recall_calibration.factor_for(setting.recall) == setting.bound_factor
        found = [index.search(query, 10, bound_factor=setting.bound_factor) for query in queries]
        recall = np.mean([np.isin(best.rows, top.rows).mean() for best, top in zip(exact, found, strict=True)])
        assert recall >= setting.recall - 0.03
        found = [index.search(query, 100, bound_factor=setting.bound_factor) for query in queries]
        recall = np.mean([np.isin(best.rows, top.rows).mean() for best, top in zip(deep, found, strict=True)])
        assert setting.measured_deep is not None
        assert 0 < setting.measured_deep <= recall + 0.03  # the least of all kinds of queries, of which these are one
    factors = [setting.bound_factor for setting in index.recall_calibration.settings]
    assert factors == sorted(factors)
    assert factors[0] < 1
    work = [
        sum(index.search_with_stats(query, 10, bound_factor=s)[1].postings_read for query in queries)
        for s in (factors[0], 1)
    ]
    assert work[0] < work[1]


def test_the_dial_is_kept_and_measured_again_at_a_merge(calibrated, tmp_path):
    _, index = calibrated
    assert InvertedIndex.open(index.path).recall_calibration == index.recall_calibration == calibrate(index)
    rows = np.arange(index.n_rows)
    whole = merge_inverted(
        tmp_path / "whole", [MergePart(index, rows)], index.n_rows, scale=index.scale, window_bits=12
    )
    assert whole.recall_calibration == index.recall_calibration
    few = np.where(rows < 300, rows, -1)
    small = merge_inverted(tmp_path / "small", [MergePart(index, few)], 300, scale=index.scale)
    assert small.recall_calibration == RecallCalibration()


def test_a_dial_gives_the_next_setting_that_is_good_enough():
    recall_calibration = RecallCalibration.from_json([[0.9, 0.5, 0.91], [0.95, 0.7, 0.96]])
    assert RecallCalibration.from_json(recall_calibration.to_json()) == recall_calibration
    deep = RecallCalibration.from_json([[0.9, 0.5, 0.91, 0.88]])
    assert deep.settings[0].measured_deep == 0.88
    assert RecallCalibration.from_json(deep.to_json()) == deep
    assert [recall_calibration.factor_for(recall) for recall in (None, 1.0, 0.951, 0.95, 0.93, 0.9, 0.5)] == [
        1,
        1,
        1,
        0.7,
        0.7,
        0.5,
        0.5,
    ]
    assert RecallCalibration().factor_for(0.9) == 1
    for recall in (0.0, 1.1, -1.0, float("nan")):
        with pytest.raises(ValueError, match="recall must be"):
            recall_calibration.factor_for(recall)
    for damaged in ([[0.9, 2.0, 0.9]], [[2.0, 0.5, 0.9]]):
        with pytest.raises(ValueError, match="out of range"):
            RecallCalibration.from_json(damaged)


def test_rows_are_gathered_from_the_lists(calibrated):
    matrix, index = calibrated
    picked = np.array([0, 3, 4095, 4096, 20_999])
    impacts = oracle.impacts(matrix[picked].toarray(), index.scale)
    for expected, (terms, values) in zip(impacts, rows_of(index.postings, picked), strict=True):
        assert terms.tolist() == np.flatnonzero(expected).tolist()
        assert values.tolist() == expected[terms].tolist()


def test_a_selective_filter_makes_less_work(calibrated):
    matrix, index = calibrated
    rng = np.random.default_rng(9)
    queries = queries_like(matrix, index, 6)

    def work(allowed: NDArray[np.bool_] | None) -> int:
        return sum(index.search_with_stats(query, 10, allowed=allowed)[1].postings_read for query in queries)

    assert work(rng.random(index.n_rows) < 0.0005) < work(None) / 4
    # 210 rows: the tenth best of them scores so much less that more has to be read to be sure of it.
    assert work(rng.random(index.n_rows) < 0.01) < 1.5 * work(None)
