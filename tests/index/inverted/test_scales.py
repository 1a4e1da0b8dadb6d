"""Scales of groups of rows against what they promise, weighed out one row at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lexhound.index import InvertedIndex, RowRanges, choose_groups, choose_scale, group_of, row_ranges, stored_ranges
from lexhound.index.inverted import scales
from lexhound.index.inverted.quantization import quantise_with_loss
from lexhound.index.inverted.scales import MOST_GROUPS

Rows = list[list[float]]

rows = st.lists(
    st.tuples(st.floats(-12, 14), st.lists(st.floats(0.01, 1), max_size=6)).map(
        lambda pair: [float(np.float32(2 ** pair[0] * weight)) for weight in pair[1]]
    ),
    max_size=40,
)


def laid_out(rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    return np.cumsum([0, *(len(row) for row in rows)]), np.array([each for row in rows for each in row], np.float32)


def holds(row: list[float], exponent: int) -> bool:
    return all(round(weight / 2.0**exponent) <= 255 for weight in row)


def serves(row: list[float], exponent: int) -> bool:
    """Sixteen steps in the mean, or no coarser than the row itself asks for."""
    return 2.0**exponent * 16 <= math.fsum(row) / len(row) * (1 + 1e-9) or not holds(row, exponent - 1)


@given(rows)
def test_ranges_are_those_of_each_row(rows: Rows) -> None:
    ranges = row_ranges(*laid_out(rows))
    for row, finest, coarsest, empty in zip(rows, ranges.finest, ranges.coarsest, ranges.empty, strict=True):
        assert empty == (not row)
        if row:
            assert holds(row, int(finest))
            assert not holds(row, int(finest) - 1)
            assert serves(row, int(coarsest))
            assert not serves(row, int(coarsest) + 1) or coarsest + 1 <= finest


@given(rows, st.randoms())
def test_no_weight_is_clipped_and_few_rows_are_flattened(rows: Rows, random) -> None:
    ranges = row_ranges(*laid_out(rows))
    groups = choose_groups(ranges)
    assert 1 <= len(groups) <= MOST_GROUPS
    assert list(groups) == sorted(set(groups))
    numbers = group_of(ranges, groups)
    for number, exponent in enumerate(groups):
        own = [row for row, each in zip(rows, numbers.tolist(), strict=True) if row and each == number]
        _, loss = quantise_with_loss(laid_out(own)[1], 2.0**exponent)
        assert loss.clipped == 0
        assert loss.max_absolute_error <= 2.0**exponent
        if len(groups) < MOST_GROUPS:
            assert sum(not serves(row, exponent) for row in own) <= 0.1 * len(own)
    random.shuffle(rows)
    assert choose_groups(row_ranges(*laid_out(rows))) == groups


@given(rows)
def test_an_index_tells_the_ranges_of_what_it_holds(rows: Rows) -> None:
    starts, weights = laid_out(rows)
    columns = np.concatenate([np.arange(len(row)) for row in rows]) if rows else np.empty(0)
    matrix = csr_array((weights, columns.astype(np.int32), starts), shape=(len(rows), 6))
    index = InvertedIndex.from_csr(matrix, 0.03125, window_bits=2)
    kept = [[max(1, min(255, round(weight / 0.03125))) * 0.03125 for weight in row] for row in rows]
    expected = row_ranges(*laid_out(kept))
    for by_kernel in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scales, "are_few", lambda *_, by_kernel=by_kernel: not by_kernel)
            found = stored_ranges(index)
        assert found.finest.tolist() == expected.finest.tolist()
        assert found.coarsest.tolist() == expected.coarsest.tolist()


@pytest.mark.parametrize("usual", [3, 30, 3000])
@pytest.mark.parametrize("unusual", [1000.0, 1e-4])
def test_an_outlier_has_a_scale_of_its_own_or_does_no_harm(usual: int, unusual: float) -> None:
    rows = [[unusual], *([1.0 + (i % 5) / 2, 0.5] for i in range(usual))]
    ranges = row_ranges(*laid_out(rows))
    groups = choose_groups(ranges)
    numbers = group_of(ranges, groups)
    assert groups[numbers[1]] == -6  # 255 steps hold 3.98
    assert set(numbers[1:].tolist()) == {int(numbers[1])}
    if unusual > 1 or usual == 3:
        assert numbers[0] != numbers[1]


def test_rows_without_terms_decide_nothing() -> None:
    nothing = row_ranges(*laid_out([[], [], []]))
    assert choose_groups(nothing) == (0,)
    assert choose_scale(nothing) == 0
    assert group_of(nothing, (0,)).tolist() == [0, 0, 0]
    some = row_ranges(*laid_out([[3.0, 1.0]]))
    assert choose_groups(RowRanges.joined([nothing, some, nothing])) == choose_groups(some) == (-6,)


def test_one_scale_for_all_harms_the_fewest() -> None:
    usual = [[1.0 + i / 10, 2.0] for i in range(10)]
    assert choose_scale(row_ranges(*laid_out(usual))) == -6
    assert choose_scale(row_ranges(*laid_out([*usual, [1000.0]]))) == -6
    assert choose_scale(row_ranges(*laid_out([[1.0, 2.0], *([1000.0] for _ in usual)]))) == 2
    assert choose_scale(row_ranges(*laid_out([[1.0], [3.9]]))) == -6  # -7 would clip, -6 harms none
