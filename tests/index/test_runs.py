"""A run of an index answers as an index of its rows alone does: rows, scores, counts, and what is read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array

from lexhound.index.dense.flat import FlatIndex
from lexhound.index.inverted.index import InvertedIndex
from lexhound.index.inverted.quantization import QuantisationLoss, Query
from lexhound.index.jit import frozen
from lexhound.index.runs import IndexRun, vector_run

TERMS = 60
SCALE = 1 / 255


def _weights(draw: np.random.Generator, rows: int) -> csr_array:
    """Vectors with many equal weights, so that scores tie."""
    weights = draw.random((rows, TERMS)) * (draw.random((rows, TERMS)) < 0.3)
    return csr_array((np.round(weights * 8) / 8).astype(np.float32))


@pytest.mark.parametrize("window_bits", [8, 9, None])
def test_a_run_is_an_index_of_its_own(window_bits: int | None) -> None:
    draw = np.random.default_rng(window_bits or 0)
    weights = _weights(draw, 1500)
    index = InvertedIndex.from_csr(weights, SCALE, window_bits=window_bits)
    for number in range(60):
        first, stop = sorted(draw.integers(0, 1501, 2).tolist())
        if number % 2:
            stop = min(1500, first + int(draw.integers(1, 60)))
        first = min(first, stop - 1)
        run, alone = IndexRun(index, first, stop), InvertedIndex.from_csr(weights[first:stop], SCALE)
        mask = draw.random(stop - first) < (0.02, 0.5, 1.1)[number % 3]
        allowed = None if number % 4 == 0 else mask
        terms = np.sort(draw.choice(TERMS, int(draw.integers(1, 20)), replace=False)).astype(np.int32)
        query = Query.from_weights(terms, draw.random(len(terms)).astype(np.float32) + np.float32(0.1))
        k = int(draw.integers(1, 30))
        expected = alone.search(query, k, allowed=allowed)
        for top in (run.search(query, k, allowed=allowed), run.search_many([query] * 2, k, allowed=allowed)[1]):
            assert (top.rows.tolist(), top.scores.tolist()) == (expected.rows.tolist(), expected.scores.tolist())
        assert run.document_frequencies(terms).tolist() == alone.document_frequencies(terms).tolist()
        assert run.document_frequencies(terms, mask).tolist() == alone.document_frequencies(terms, mask).tolist()
        assert (run.n_rows, run.n_postings, run.n_terms) == (alone.n_rows, alone.n_postings, alone.n_terms)
        assert run.greatest_weight == alone.greatest_weight
        last = stop - first - 1
        assert run.contributions(last, query).tolist() == alone.contributions(last, query).tolist()


def test_no_posting_of_others_is_read() -> None:
    draw = np.random.default_rng(5)
    weights = _weights(draw, 2000)
    index = InvertedIndex.from_csr(weights, SCALE, window_bits=8)
    terms = np.arange(TERMS, dtype=np.int32)
    query = Query.from_weights(terms, np.ones(TERMS, np.float32))
    _, stats = IndexRun(index, 700, 740).search_with_stats(query, 10)
    assert 0 < stats.postings_read <= weights[700:740].nnz


def test_damaged_lists_lead_to_no_row_of_others_and_leave_nothing_behind() -> None:
    draw = np.random.default_rng(11)
    weights = _weights(draw, 1500)
    intact = InvertedIndex.from_csr(weights, SCALE, window_bits=9)
    rows = draw.integers(0, 1 << 9, len(intact.postings.rows)).astype(np.uint16)
    broken = InvertedIndex(replace(intact.postings, rows=frozen(rows)), scale=SCALE, loss=QuantisationLoss())
    terms = np.arange(0, TERMS, 3, dtype=np.int32)
    query = Query.from_weights(terms, np.ones(len(terms), np.float32))
    expected = intact.search(query, 20)
    for number in range(80):
        first = int(draw.integers(0, 1490))
        stop = min(1500, first + int(draw.integers(1, (20, 700)[number % 2])))
        mask = None if number % 3 else draw.random(stop - first) < 0.4
        found = IndexRun(broken, first, stop).search(query, 5, allowed=mask)
        assert ((found.rows >= 0) & (found.rows < stop - first)).all()
        again = intact.search(query, 20)
        assert (again.rows.tolist(), again.scores.tolist()) == (expected.rows.tolist(), expected.scores.tolist())


def test_an_empty_run_has_no_hits() -> None:
    index = InvertedIndex.from_csr(_weights(np.random.default_rng(6), 50), SCALE)
    query = Query.from_weights(np.arange(3, dtype=np.int32), np.ones(3, np.float32))
    run = IndexRun(index, 20, 20)
    assert not len(run.search(query, 5))
    assert run.document_frequencies(query.terms).tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="a run must lie in the rows 0 to 50"):
        IndexRun(index, 20, 51)


def test_a_run_of_vectors() -> None:
    vectors = np.random.default_rng(7).standard_normal((300, 16)).astype(np.float32)
    run, alone = vector_run(FlatIndex.from_vectors(vectors), 100, 180), FlatIndex.from_vectors(vectors[100:180])
    for query in vectors[:10]:
        expected, top = alone.search(query, 7), run.search(query, 7)
        assert (top.rows.tolist(), top.scores.tolist()) == (expected.rows.tolist(), expected.scores.tolist())
    with pytest.raises(ValueError, match="a run must lie"):
        vector_run(FlatIndex.from_vectors(vectors), 200, 100)
