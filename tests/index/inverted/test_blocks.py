"""Maxima of blocks: what they hold, that searches with them are exact, and how much work a search is allowed to be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import oracle
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lexhound.index import CorruptFileError, InvertedIndex, Query, build_inverted
from lexhound.index.inverted.blocks import BLOCK_BITS, blocks_of_window
from lexhound.index.inverted.format import Postings
from lexhound.index.inverted.merge import MergePart, merge_inverted
from lexhound.index.runs import IndexRun
from lexhound.index.topk import SearchStats

SCALE = 1 / 255
TERMS = 40
ROWS = 20_000
WITHOUT = {
    "blocked_terms": np.empty(0, np.uint32),
    "blocked_starts": np.zeros(1, np.uint32),
    "block_maxima": np.empty(0, np.uint8),
}


def _impacts(rows: int, seed: int, levels: int = 255) -> NDArray[np.int64]:
    """Impacts of frequent and rare terms, most low, in few levels where scores tie; int64[rows, TERMS]."""
    draw = np.random.default_rng(seed)
    chance = np.minimum(0.6, 2.0 / np.arange(1, TERMS + 1) ** 1.6)
    weights = draw.beta(1.5, 6, (rows, TERMS)) * (draw.random((rows, TERMS)) < chance)
    impacts = np.where(weights > 0, np.maximum(1, np.ceil(weights * levels)), 0).astype(np.int64) * (255 // levels)
    impacts[draw.random(rows) < 0.02] = 0
    impacts[7000:7064] = impacts[3]  # rows that are the same, over several windows
    impacts[9000:9032] = impacts[3]
    return impacts


def _csr(impacts: NDArray[np.int64]) -> csr_array:
    return csr_array((impacts * SCALE).astype(np.float32))


@pytest.fixture(scope="module", params=[255, 5])
def impacts(request) -> NDArray[np.int64]:
    return _impacts(ROWS, 1, request.param)


@pytest.fixture(scope="module")
def index(impacts) -> InvertedIndex:
    return InvertedIndex.from_csr(_csr(impacts), SCALE, window_bits=13)


def _query(seed: int) -> Query:
    draw = np.random.default_rng(seed)
    terms = np.sort(draw.choice(TERMS, int(draw.integers(1, 30)), replace=False)).astype(np.int32)
    return Query.from_weights(terms, draw.choice(np.array([0.2, 1, 1, 3], np.float32), len(terms)))


def _expected(impacts, query, k, allowed=None) -> tuple[list[int], list[float]]:
    sums = impacts[:, query.terms] @ query.weights.astype(np.int64)
    best = np.lexsort((np.arange(len(sums)), -sums))
    good = best[(sums[best] > 0) & (True if allowed is None else allowed[best])][:k]
    return good.tolist(), (sums[good] * (query.scale * oracle.exact_scale(SCALE))).tolist()


def _without_blocks(index: InvertedIndex) -> InvertedIndex:
    """Return the index as format 2 had it."""
    return InvertedIndex(replace(index.postings, **WITHOUT), scale=index.scale, loss=index.loss)


def _assert_maxima(postings: Postings, impacts: NDArray[np.int64]) -> None:
    blocks, width = blocks_of_window(postings.window_bits), 1 << postings.window_bits
    maxima = postings.block_maxima.reshape(-1, blocks)
    at = 0
    for place in postings.blocked_terms.tolist():
        column = impacts[:, postings.terms[place]]
        for window in range(-(-len(column) // width)):
            part = column[window * width : (window + 1) * width]
            if part.any():
                own = np.append(part, np.zeros(width - len(part), np.int64)).reshape(-1, 1 << BLOCK_BITS)
                assert maxima[at].tolist() == own.max(axis=1).tolist()
                at += 1
    assert at == len(maxima) == postings.blocked_starts[-1]


def test_maxima_are_those_of_the_blocks_however_an_index_was_made(tmp_path, impacts, index):
    _assert_maxima(index.postings, impacts)
    assert index.postings.problem() == ""
    assert 3 < len(index.postings.blocked_terms) < TERMS
    built = build_inverted(tmp_path / "built", _csr(impacts), scale=SCALE, window_bits=13, threads=2)
    halves = [InvertedIndex.from_csr(_csr(impacts[part::2]), SCALE, window_bits=13) for part in (0, 1)]
    maps = [np.arange(part, ROWS, 2) for part in (0, 1)]
    parts = [MergePart(*pair) for pair in zip(halves, maps, strict=True)]
    merged = merge_inverted(tmp_path / "merged", parts, ROWS, scale=SCALE, window_bits=13)
    assert built.directory.format == merged.directory.format == 3
    for other in (built, merged, InvertedIndex.open(tmp_path / "built")):
        for name in WITHOUT:
            assert getattr(other.postings, name).tolist() == getattr(index.postings, name).tolist()


def test_small_windows_have_no_blocks_and_older_versions_read_them(tmp_path, impacts, index):
    few = build_inverted(tmp_path / "few", _csr(impacts[:4096]), scale=SCALE)
    merged = merge_inverted(tmp_path / "merged", [MergePart(few, np.arange(4096))], 4096, scale=SCALE)
    for each in (few, merged):
        assert len(each.postings.blocked_terms) == len(each.postings.block_maxima) == 0
        assert each.directory.format == 2
        assert not (each.path / "block_maxima.bin").exists()


@pytest.mark.parametrize("share", [None, 0.0, 0.0005, 0.01, 0.3, 1.1])
def test_searches_with_blocks_equal_the_oracle(impacts, index, share):
    draw = np.random.default_rng(7)
    allowed = None if share is None else draw.random(ROWS) < share
    for seed in range(12):
        query, k = _query(seed), (1, 10, 100)[seed % 3]
        expected = _expected(impacts, query, k, allowed)
        for each in (index, _without_blocks(index)):
            found = each.search(query, k, allowed=allowed)
            assert (found.rows.tolist(), found.scores.tolist()) == expected
        if expected[1]:  # what ties with a score to reach is kept
            at_least = expected[1][len(expected[1]) // 2]
            found = index.search(query, k, allowed=allowed, at_least=at_least)
            wanted = sum(score >= at_least for score in expected[1])
            assert found.rows.tolist()[:wanted] == expected[0][:wanted]


def test_runs_and_approximate_searches_have_exact_scores(impacts, index):
    for seed in range(10):
        query, (first, stop) = _query(seed), sorted(np.random.default_rng(seed).integers(0, ROWS, 2).tolist())
        run = IndexRun(index, first, stop + 1)
        found = run.search(query, 10)
        assert (found.rows.tolist(), found.scores.tolist()) == _expected(impacts[first : stop + 1], query, 10)
        near = index.search(query, 10, bound_factor=0.5)
        every = dict(zip(*_expected(impacts, query, ROWS), strict=True))
        assert near.scores.tolist() == [every[row] for row in near.rows.tolist()]


def test_scores_of_named_rows(impacts, index):
    query, rows = _query(3), np.array([0, 3, 7001, 8191, 8192, ROWS - 1])
    every = dict(zip(*_expected(impacts, query, ROWS), strict=True))
    assert index.score_rows(query, rows).tolist() == [every.get(row, 0.0) for row in rows.tolist()]
    assert (
        IndexRun(index, 3, ROWS).score_rows(query, rows[1:] - 3).tolist() == index.score_rows(query, rows[1:]).tolist()
    )


def test_damaged_maxima_lead_nowhere(tmp_path: Path, impacts):
    build_inverted(tmp_path / "index", _csr(impacts), scale=SCALE, window_bits=13)
    file = tmp_path / "index" / "block_maxima.bin"
    file.write_bytes(np.random.default_rng(2).bytes(file.stat().st_size))
    damaged = InvertedIndex.open(tmp_path / "index")
    for seed in range(8):
        top = damaged.search(_query(seed), 10)
        assert ((top.rows >= 0) & (top.rows < ROWS)).all()
    assert [problem.path.name for problem in InvertedIndex.verify(tmp_path / "index")] == ["block_maxima.bin"]
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CorruptFileError, match="block_maxima"):
        InvertedIndex.open(tmp_path / "index")


@pytest.mark.parametrize("name", ["blocked_terms", "blocked_starts"])
def test_damaged_places_of_frequent_terms_are_found_at_open(tmp_path: Path, impacts, name):
    build_inverted(tmp_path / "index", _csr(impacts), scale=SCALE, window_bits=13)
    file = tmp_path / "index" / f"{name}.bin"
    file.write_bytes(file.read_bytes()[:-4] + b"\xff\xff\xff\xff")
    with pytest.raises(CorruptFileError, match=name):
        InvertedIndex.open(tmp_path / "index")


@pytest.mark.parametrize("name", ["blocked_terms", "blocked_starts"])
def test_frequent_terms_that_do_not_fit_are_refused(index, name):
    broken = replace(index.postings, **{name: getattr(index.postings, name) + np.uint32(TERMS)})
    assert index.postings.problem() == ""
    assert "frequent terms" in broken.problem()


# Work is counted and not timed: on any machine these searches read so much. Less is welcome, more is not.


def _work(index: InvertedIndex, **options) -> SearchStats:
    found = [index.search_with_stats(_query(seed), 10, **options)[1] for seed in range(20)]
    return SearchStats(
        *(
            sum(column)
            for column in zip(*((s.postings_read, s.rows_scored, s.windows_entered) for s in found), strict=True)
        )
    )


def test_a_search_reads_no_more_than_it_did():
    index = InvertedIndex.from_csr(_csr(_impacts(ROWS, 1)), SCALE, window_bits=13)
    every = sum(int(index.document_frequencies(_query(seed).terms).sum()) for seed in range(20))
    work = _work(index)
    assert every == 531_482
    assert work.postings_read <= 348_226
    assert work.rows_scored <= 1_655
    assert work.windows_entered <= 60
    assert work.postings_read < _work(_without_blocks(index)).postings_read


def test_a_search_with_a_selective_filter_reads_no_more_than_it_did():
    index = InvertedIndex.from_csr(_csr(_impacts(ROWS, 1)), SCALE, window_bits=13)
    work = _work(index, allowed=np.random.default_rng(3).random(ROWS) < 0.001)
    assert work.postings_read <= 70_596
    assert work.rows_scored <= 250


def test_windows_without_a_hit_are_not_entered():
    index = InvertedIndex.from_csr(_csr(_impacts(ROWS, 1)), SCALE, window_bits=13)
    one = np.zeros(ROWS, np.bool_)
    one[8192:8200] = True
    assert _work(index, allowed=one).windows_entered == 20  # of the three windows that which has a row
    assert _work(index, at_least=1e9) == SearchStats(0, 0, 0)
    low = csr_array(np.concatenate([np.full((8192, 1), 1.0), np.full((8192, 1), 0.5)]).astype(np.float32))
    falling = InvertedIndex.from_csr(low, SCALE, window_bits=13)
    query = Query.from_weights(np.array([0], np.int32), np.ones(1, np.float32))
    assert falling.search_with_stats(query, 10)[1].windows_entered == 1
