"""The search kernels against the oracle. This file also runs without the JIT and with bounds checks."""

from __future__ import annotations

import index_corpora
import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexhound.index import InvertedIndex, Query, TopK
from lexhound.index.inverted.plain import search_postings
from lexhound.index.jit import avoid_kernels


def index_of(corpus: index_corpora.Corpus) -> InvertedIndex:
    return InvertedIndex.from_csr(corpus.csr, corpus.scale, window_bits=corpus.window_bits)


def same(found: TopK, expected: tuple[list[int], list[float]]) -> bool:
    return found.rows.tolist() == expected[0] and found.scores.tolist() == expected[1]


@given(st.data(), index_corpora.corpora(), index_corpora.queries(), st.sampled_from([1, 2, 3, 10, 63, 1000, 10**12]))
def test_search_equals_the_oracle(data, corpus, query, k):
    index = index_of(corpus)
    scores = oracle.scores(corpus.weights, corpus.scale, *query)
    allowed = data.draw(index_corpora.masks(len(corpus.weights)))
    found = index.search(Query.from_weights(*query), k, allowed=allowed)
    assert same(found, oracle.top_k(scores, k, allowed))
    assert found.rows.dtype == np.int64
    assert found.scores.dtype == np.float64


@given(
    st.data(),
    index_corpora.corpora(),
    index_corpora.queries(),
    st.sampled_from([1, 2, 3, 10, 1000]),
    st.sampled_from([0.0, 0.3, 1.0]),
)
def test_a_plain_search_equals_the_kernel_s(data, corpus, query, k, at_least):
    index = index_of(corpus)
    allowed = data.draw(index_corpora.masks(len(corpus.weights)))
    integers = Query.from_weights(*query)
    floor = at_least * max(index.search(integers, 1).scores.tolist(), default=0.0)
    kept = index.search(integers, k, allowed=allowed, at_least=floor)
    live = np.arange(len(corpus.weights)) % 3 > 0
    counts = index.document_frequencies(integers.terms, live)
    row = int(kept.rows[0]) if len(kept) else 0
    parts = index.contributions(row, integers) if len(corpus.weights) else None
    try:
        avoid_kernels(10**9)
        plain = index.search(integers, k, allowed=allowed, at_least=floor)
        approximate = index.search_with_stats(integers, k, bound_factor=0.5)
        np.testing.assert_array_equal(index.document_frequencies(integers.terms, live), counts)
        if parts is not None:
            np.testing.assert_array_equal(index.contributions(row, integers), parts)
    finally:
        avoid_kernels(0)
    assert same(plain, (kept.rows.tolist(), kept.scores.tolist()))
    assert (plain.rows.dtype, plain.scores.dtype) == (kept.rows.dtype, kept.scores.dtype)
    again = index.search_with_stats(integers, k, bound_factor=0.5)
    assert (approximate[0].rows.tolist(), approximate[1]) == (again[0].rows.tolist(), again[1])


def test_a_plain_search_reads_no_more_than_it_may(monkeypatch):
    index = InvertedIndex.from_csr(index_corpora.to_csr(np.ones((300, 8), np.float32)), 1 / 255)
    query = Query.from_weights(np.arange(2, dtype=np.int32), np.ones(2, np.float32))
    plain: list[int] = []

    def counted(postings, *arguments):
        plain.append(len(postings.rows))
        return search_postings(postings, *arguments)

    monkeypatch.setattr("lexhound.index.inverted.index.search_postings", counted)
    try:
        for most in (0, 599, 600):
            avoid_kernels(most)
            index.search(query, 3)
    finally:
        avoid_kernels(0)
    assert len(plain) == 1


@given(
    st.data(),
    index_corpora.corpora(),
    st.lists(index_corpora.queries(), max_size=4),
    st.sampled_from([1, 2, 5]),
    st.sampled_from([1, 3, 10**6]),
)
def test_batches_do_not_depend_on_the_number_of_threads(data, corpus, queries, threads, k):
    index = index_of(corpus)
    allowed = data.draw(index_corpora.masks(len(corpus.weights)))
    queries = queries * 10
    found = index.search_many([Query.from_weights(*query) for query in queries], k, allowed=allowed, threads=threads)
    assert len(found) == len(queries)
    for one, query in zip(found, queries, strict=True):
        assert same(one, oracle.top_k(oracle.scores(corpus.weights, corpus.scale, *query), k, allowed))


@given(index_corpora.corpora(), index_corpora.queries(), st.randoms(use_true_random=False))
def test_contributions_sum_to_the_score_in_any_order(corpus, query, random):
    index = index_of(corpus)
    scores = oracle.scores(corpus.weights, corpus.scale, *query)
    for row in range(min(len(corpus.weights), 12)):
        parts = index.contributions(row, Query.from_weights(*query)).tolist()
        assert [part > 0 for part in parts] == [
            term < corpus.weights.shape[1] and corpus.weights[row, term] > 0 for term in query[0].tolist()
        ]
        random.shuffle(parts)
        assert sum(parts) == scores[row]


@given(st.data(), index_corpora.corpora(), st.lists(st.integers(-2, 12) | st.just(2**31 - 1), max_size=8))
def test_document_frequencies_equal_the_oracle(data, corpus, terms):
    index = index_of(corpus)
    live = data.draw(index_corpora.masks(len(corpus.weights)))
    kept = corpus.weights if live is None else corpus.weights[live]
    width = corpus.weights.shape[1]
    expected = [int((kept[:, term] > 0).sum()) if 0 <= term < width else 0 for term in terms]
    found = index.document_frequencies(np.array(terms, np.int32), live)
    assert found.tolist() == expected
    assert found.dtype == np.int64


@given(index_corpora.corpora(), index_corpora.queries())
def test_a_search_leaves_no_trace(corpus, query):
    index = index_of(corpus)
    other = InvertedIndex.from_csr(index_corpora.to_csr(np.ones((300, 8), np.float32)), 1 / 255, window_bits=9)
    ones = Query.from_weights(np.arange(8, dtype=np.int32), np.ones(8, np.float32))
    before = other.search(ones, 300)
    index.search(Query.from_weights(*query), 2, allowed=np.zeros(index.n_rows, np.bool_))
    index.search(Query.from_weights(*query), 2)
    after = other.search(ones, 300)
    assert after.rows.tolist() == before.rows.tolist() == list(range(300))
    assert after.scores.tolist() == before.scores.tolist()


def test_stats_count_postings_and_rows():
    weights = np.zeros((40, 3), np.float32)
    weights[:, 0] = 1
    weights[10:30, 1] = 1
    index = InvertedIndex.from_csr(index_corpora.to_csr(weights), 1 / 255, window_bits=3)
    query = Query.from_weights(np.array([0, 1], np.int32), np.array([1, 1], np.float32))
    _, stats = index.search_with_stats(query, 40)
    assert stats.postings_read == 60
    assert stats.rows_scored == 40
    _, stats = index.search_with_stats(query, 5)
    assert stats.postings_read == 22  # two windows in full; a third cannot hold anything better than rows 10 to 14
    assert 5 <= stats.rows_scored <= 22
    allowed = np.zeros(40, np.bool_)
    allowed[12] = True
    found, stats = index.search_with_stats(query, 5, allowed=allowed)
    assert found.rows.tolist() == [12]
    assert stats.postings_read == 14  # those of the one window in which a row is allowed
    assert stats.rows_scored == 1


def test_the_greatest_possible_scores_do_not_overflow():
    weights = np.full((3, 400), 1000.0, np.float32)
    weights[1, 7] = 0
    terms = np.arange(400, dtype=np.int32)
    for values in (np.ones(400), np.linspace(1e-6, 1, 400), np.array([1e30] + [1e-30] * 399), np.full(400, 3e38)):
        query = Query.from_weights(terms, values.astype(np.float32))
        total = int(query.weights.astype(np.int64).sum())
        assert 2**21 < total <= 2**23
        index = InvertedIndex.from_csr(index_corpora.to_csr(weights), 1.0, window_bits=1)
        found = index.search(query, 3)
        best = 255 * total
        assert 2**29 < best < 2**31
        assert found.rows.tolist() == [0, 2, 1]
        assert found.scores.tolist()[:2] == [best * query.scale] * 2
        assert found.scores[2] == (best - 255 * int(query.weights[7])) * query.scale


# Windows that are scanned, windows that reach far beyond the last row, and windows so empty that they are not scanned.
@pytest.mark.parametrize(("window_bits", "density"), [(5, 0.5), (10, 0.9), (10, 0.05), (16, 0.5)])
def test_damaged_postings_stay_inside_the_index(window_bits, density):
    rng = np.random.default_rng(7)
    dense = index_corpora.Corpus((rng.random((90, 6)) < density).astype(np.float32), 1 / 255, window_bits)
    long = index_corpora.Corpus((rng.random((2000, 6)) < 0.5).astype(np.float32), 1 / 255, window_bits)
    healthy = index_of(long)
    expected = oracle.top_k(oracle.scores(long.weights, long.scale, range(6), np.ones(6, np.float32)), 2000)
    query = Query.from_weights(np.arange(6, dtype=np.int32), np.ones(6, np.float32))
    for seed in range(5):
        index = index_of(dense)
        damage = np.random.default_rng(seed)
        for name, high in (("rows", min(1 << 16, 4 << window_bits)), ("impacts", 256)):
            array = getattr(index.postings, name)
            array.base.flags.writeable = True
            array.base[:] = damage.integers(0, high, len(array))
        found = index.search(query, 100)
        assert ((found.rows >= 0) & (found.rows < 90)).all()
        live = np.ones(90, np.bool_)
        assert (index.document_frequencies(query.terms, live) <= index.document_frequencies(query.terms)).all()
        assert len(index.contributions(89, query)) == 6
        # A healthy index of the same windows, searched in the same thread, does not notice.
        assert same(healthy.search(query, 2000), expected)


@pytest.mark.parametrize("window_bits", [0, 1, 9])
def test_the_smallest_difference_decides(window_bits):
    weights = np.full((600, 2), 1.0, np.float32)
    weights[:, 1] = 0
    weights[[300, 599], 1] = 1 / 255
    index = InvertedIndex.from_csr(index_corpora.to_csr(weights), 1 / 255, window_bits=window_bits)
    query = Query.from_weights(np.array([0, 1], np.int32), np.array([1, 1e-9], np.float32))
    assert query.weights[1] == 1
    found = index.search(query, 3)
    assert found.rows.tolist() == [300, 599, 0]
    assert (np.diff(found.scores) / (query.scale * index.scale)).tolist() == [0, -1]


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one_is_refused(k):
    index = InvertedIndex.from_csr(index_corpora.to_csr(np.ones((2, 2), np.float32)), 1.0)
    query = Query.from_weights(np.array([0], np.int32), np.array([1], np.float32))
    with pytest.raises(ValueError, match="k must be at least 1"):
        index.search(query, k)
    with pytest.raises(ValueError, match="k must be at least 1"):
        index.search_many([query], k)
    with pytest.raises(ValueError, match="threads must be at least 1"):
        index.search_many([query], 1, threads=0)


def test_masks_that_do_not_fit_and_rows_that_are_not_there_are_refused():
    index = InvertedIndex.from_csr(index_corpora.to_csr(np.ones((2, 2), np.float32)), 1.0)
    query = Query.from_weights(np.array([0], np.int32), np.array([1], np.float32))
    for mask in (np.ones(3, np.bool_), np.ones(2, np.uint8), np.ones((2, 1), np.bool_)):
        with pytest.raises(ValueError, match=r"must be bool\[2\]"):
            index.search(query, 1, allowed=mask)
        with pytest.raises(ValueError, match=r"must be bool\[2\]"):
            index.document_frequencies(query.terms, mask)
    for row in (-1, 2):
        with pytest.raises(ValueError, match="there is no row"):
            index.contributions(row, query)
