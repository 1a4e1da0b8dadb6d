"""Merging against building at once. This file also runs without the JIT and with bounds checks."""

from __future__ import annotations

import index_corpora
import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lexhound.index import InvertedIndex, MergePart, Query, build_inverted, merge_inverted
from lexhound.index.inverted.merge import Chunks

ARRAYS = ("terms", "entry_starts", "entry_windows", "entry_ends", "entry_maxima", "rows", "impacts")


@st.composite
def divisions(draw: st.DrawFn) -> tuple[list[NDArray[np.float32]], list[NDArray[np.int64]], int]:
    """Dense parts, what their rows become (in any order, some dropped, some new rows left empty), and how many."""
    width = draw(st.integers(1, 6))
    parts = [
        matrix[:, :width] if matrix.shape[1] >= width else np.pad(matrix, ((0, 0), (0, width - matrix.shape[1])))
        for matrix in draw(st.lists(index_corpora.weights(max_rows=10, max_terms=6), min_size=0, max_size=3))
    ]
    total = sum(len(part) for part in parts)
    n_rows = total + draw(st.integers(0, 3))
    if draw(st.booleans()):
        numbers = np.arange(n_rows)
    else:
        numbers = np.random.default_rng(draw(st.integers(0, 100))).permutation(n_rows)
    dropped = draw(st.sampled_from([0.0, 0.3, 1.0]))
    rng = np.random.default_rng(draw(st.integers(0, 100)))
    maps, start = [], 0
    for part in parts:
        new_rows = numbers[start : start + len(part)].astype(np.int64)
        new_rows[rng.random(len(part)) < dropped] = -1
        maps.append(new_rows)
        start += len(part)
    return parts, maps, n_rows


def assert_same_arrays(found: InvertedIndex, expected: InvertedIndex, names: tuple[str, ...] = ARRAYS) -> None:
    for name in names:
        left, right = getattr(found.postings, name), getattr(expected.postings, name)
        assert left.dtype == right.dtype, name
        assert left.tolist() == right.tolist(), name
    assert found.n_rows == expected.n_rows
    assert found.scale == expected.scale


@given(divisions(), st.sampled_from(index_corpora.SCALES), st.sampled_from([1, 7, 10_000]), st.integers(0, 4))
def test_merging_equals_building_at_once(tmp_path_factory, division, scale, chunk_postings, window_bits):
    parts, maps, n_rows = division
    indexes = [
        InvertedIndex.from_csr(index_corpora.to_csr(part), scale, window_bits=i + 1) for i, part in enumerate(parts)
    ]
    directory = tmp_path_factory.mktemp("merge") / "index"
    merged = merge_inverted(
        directory,
        [MergePart(index, new_rows) for index, new_rows in zip(indexes, maps, strict=True)],
        n_rows,
        scale=scale,
        window_bits=window_bits,
        chunks=Chunks(chunk_postings),
    )
    dense = oracle.rearranged(parts, maps, n_rows)
    expected = InvertedIndex.from_csr(index_corpora.to_csr(dense), scale, window_bits=window_bits)
    assert_same_arrays(merged, expected)
    assert merged.loss.count == expected.loss.count
    if all((new_rows >= 0).all() for new_rows in maps):
        assert merged.loss.sum_absolute_error == pytest.approx(expected.loss.sum_absolute_error)
        assert merged.loss.sum_weight == pytest.approx(expected.loss.sum_weight)
    assert list(InvertedIndex.verify(directory)) == []


@given(divisions(), st.lists(st.integers(-10, 3), min_size=3, max_size=3), st.integers(-10, 3))
def test_other_scales_are_rounded_to_the_new_one(tmp_path_factory, division, exponents, exponent):
    parts, maps, n_rows = division
    indexes = [
        InvertedIndex.from_csr(index_corpora.to_csr(part), 2.0**own, window_bits=2)
        for part, own in zip(parts, exponents, strict=False)
    ]
    merged = merge_inverted(
        tmp_path_factory.mktemp("merge") / "index",
        [MergePart(index, new_rows) for index, new_rows in zip(indexes, maps, strict=True)],
        n_rows,
        scale=2.0**exponent,
        window_bits=2,
        chunks=Chunks(7),
    )
    # What the parts hold, as weights, is what is quantised now.
    held = [
        (oracle.impacts(part, 2.0**own) * 2.0**own).astype(np.float32)
        for part, own in zip(parts, exponents, strict=False)
    ]
    expected = InvertedIndex.from_csr(
        index_corpora.to_csr(oracle.rearranged(held, maps, n_rows)), 2.0**exponent, window_bits=2
    )
    assert_same_arrays(merged, expected)
    dropped = any((new_rows < 0).any() for new_rows in maps)
    if not dropped:
        before = sum(index.loss.clipped for index in indexes)
        assert merged.loss.clipped == before + expected.loss.clipped
        lost = sum(index.loss.sum_absolute_error for index in indexes)
        assert merged.loss.sum_absolute_error == pytest.approx(lost + expected.loss.sum_absolute_error)


def test_a_finer_scale_loses_nothing_and_coarser_ones_do_not_drift(tmp_path):
    weights = index_corpora.to_csr(np.arange(1, 256, dtype=np.float32).reshape(255, 1))
    index = InvertedIndex.from_csr(weights, 1.0)
    rows = np.arange(255)
    held = index.postings.impacts.astype(np.float64)
    # Coarser seven times and copied seven times: never farther from where it began than one step of the coarsest.
    for step in range(1, 8):
        scale = 2.0**step
        for again in range(2):
            index = merge_inverted(tmp_path / f"{step}-{again}", [MergePart(index, rows)], 255, scale=scale)
        assert np.abs(index.postings.impacts * scale - held).max() <= scale
    coarse = index.postings.impacts * index.scale
    fine = merge_inverted(tmp_path / "fine", [MergePart(index, rows)], 255, scale=2.0**3)
    small = coarse <= 255 * 8
    assert ((fine.postings.impacts * 8.0) == coarse)[small].all()


def saturate(frequencies: NDArray[np.float32], lengths: NDArray[np.float32], average: float) -> NDArray[np.float32]:
    weights: NDArray[np.float32] = (frequencies / (frequencies + 0.9 * (0.6 + 0.4 * lengths / average))).astype(
        np.float32
    )
    return weights


@given(divisions(), st.sampled_from([1, 7, 10_000]))
def test_weighing_again_equals_building_with_the_new_weights(tmp_path_factory, division, chunk_postings):
    parts, maps, n_rows = division

    def lexical(dense: NDArray[np.float32], average: float) -> InvertedIndex:
        # The quarters of the corpora, as term frequencies 1, 2 and 4.
        csr = index_corpora.to_csr(dense * 4)
        lengths = (dense * 4).sum(axis=1)
        of_entries = lengths[np.repeat(np.arange(len(dense)), np.diff(csr.indptr))]
        frequencies, csr.data = csr.data.astype(np.uint8), saturate(csr.data, of_entries, average)
        return InvertedIndex.from_csr(
            csr, 1 / 255, frequencies=frequencies, lengths=lengths.astype(np.uint32), window_bits=2
        )

    merged = merge_inverted(
        tmp_path_factory.mktemp("merge") / "index",
        [MergePart(lexical(part, 10.0), new_rows) for part, new_rows in zip(parts, maps, strict=True)],
        n_rows,
        scale=1 / 255,
        reweigh=lambda frequencies, lengths: saturate(frequencies.astype(np.float32), lengths.astype(np.float32), 3.0),
        window_bits=2,
        chunks=Chunks(chunk_postings),
    )
    expected = lexical(oracle.rearranged(parts, maps, n_rows), 3.0)
    assert_same_arrays(merged, expected, (*ARRAYS, "frequencies", "lengths"))
    assert merged.loss.count == expected.loss.count
    assert merged.loss.sum_absolute_error == pytest.approx(expected.loss.sum_absolute_error)
    assert merged.loss.max_absolute_error == expected.loss.max_absolute_error
    assert merged.loss.clipped == expected.loss.clipped


@given(divisions(), index_corpora.queries())
def test_a_merged_index_ranks_like_its_parts_together(tmp_path_factory, division, query):
    parts, maps, n_rows = division
    indexes = [InvertedIndex.from_csr(index_corpora.to_csr(part), 0.01, window_bits=2) for part in parts]
    merged = merge_inverted(
        tmp_path_factory.mktemp("merge") / "index",
        [MergePart(index, new_rows) for index, new_rows in zip(indexes, maps, strict=True)],
        n_rows,
        scale=0.01,
    )
    scores = oracle.scores(oracle.rearranged(parts, maps, n_rows), 0.01, *query) if parts else np.zeros(n_rows)
    found = merged.search(Query.from_weights(*query), 5)
    assert (found.rows.tolist(), found.scores.tolist()) == oracle.top_k(scores, 5)


def test_merges_that_make_no_sense_are_refused(tmp_path):
    ones = InvertedIndex.from_csr(index_corpora.to_csr(np.ones((2, 2), np.float32)), 1.0)
    first = np.array([0, 1])
    for parts, options, message in (
        ([MergePart(ones, first), MergePart(ones, first)], {}, "taken already"),
        ([MergePart(ones, np.array([3, 3]))], {}, "taken already"),
        ([MergePart(ones, np.array([0, 4]))], {}, "outside of -1..3"),
        ([MergePart(ones, np.array([0, -2]))], {}, "outside of -1..3"),
        ([MergePart(ones, np.array([0]))], {}, "part 0 needs"),
        ([MergePart(ones, np.array([0.0, 1.0]))], {}, "part 0 needs"),
        ([MergePart(ones, first)], {"reweigh": lambda f, n: f.astype(np.float32)}, "cannot be weighed again"),
    ):
        with pytest.raises(ValueError, match=message):
            merge_inverted(tmp_path / "index", parts, 4, scale=1.0, **options)
    assert not (tmp_path / "index").exists()


def test_frequencies_are_kept_only_when_every_part_has_them(tmp_path):
    csr = index_corpora.to_csr(np.ones((2, 2), np.float32))
    extra = {"frequencies": np.array([1, 2, 3, 4], np.uint8), "lengths": np.array([3, 7], np.uint32)}
    with_them = build_inverted(tmp_path / "a", csr, scale=1.0, **extra)
    without = build_inverted(tmp_path / "b", csr, scale=1.0)
    first, second = np.array([2, 0]), np.array([1, 3])
    both = merge_inverted(tmp_path / "c", [MergePart(with_them, first), MergePart(with_them, second)], 4, scale=1.0)
    assert both.lengths is not None
    assert both.lengths.tolist() == [7, 3, 3, 7]
    assert both.postings.frequencies.tolist() == [3, 1, 1, 3, 4, 2, 2, 4]
    mixed = merge_inverted(tmp_path / "d", [MergePart(with_them, first), MergePart(without, second)], 4, scale=1.0)
    assert mixed.lengths is mixed.postings.frequencies is None


def test_a_failing_reweigh_leaves_nothing_behind(tmp_path):
    csr = index_corpora.to_csr(np.ones((2, 2), np.float32))
    index = InvertedIndex.from_csr(csr, 1.0, frequencies=np.ones(4, np.uint8), lengths=np.ones(2, np.uint32))
    with pytest.raises(ValueError, match="positive"):
        merge_inverted(
            tmp_path / "index",
            [MergePart(index, np.arange(2))],
            2,
            scale=1.0,
            reweigh=lambda frequencies, lengths: np.zeros(len(frequencies), np.float32),
        )
    with pytest.raises(ValueError, match=r"\(1,\) weights of \(4,\) frequencies"):
        merge_inverted(
            tmp_path / "index",
            [MergePart(index, np.arange(2))],
            2,
            scale=1.0,
            reweigh=lambda frequencies, lengths: np.ones(1, np.float32),
        )
    assert list(tmp_path.iterdir()) == []
