"""Significance tests against scipy, against full enumeration, and under the null hypothesis."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexhound.eval import significance
from lexhound.eval.significance import bootstrap_interval, holm, paired_t_test, randomisation_test, wins_ties_losses

DIFFERENCES = st.lists(st.sampled_from([-1.0, -0.5, -0.125, 0.0, 0.25, 0.5, 1.0]), min_size=2, max_size=30)


@given(DIFFERENCES)
def test_t_test_is_scipys(differences: list[float]) -> None:
    from scipy import stats

    values = np.array(differences)
    if np.ptp(values) == 0:
        assert paired_t_test(values) == (1.0 if values[0] == 0 else 0.0)
    else:
        assert paired_t_test(values) == pytest.approx(stats.ttest_rel(values, np.zeros(len(values))).pvalue, abs=1e-12)


def test_t_test_of_one_query_says_nothing() -> None:
    assert paired_t_test([0.7]) == 1.0


@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=9))
def test_randomisation_test_is_near_the_exact_one(differences: list[float]) -> None:
    values = np.array(differences)
    observed = abs(values.sum())
    signs = np.array(list(product([-1, 1], repeat=len(values))))
    exact = float(np.mean(np.abs(signs @ values) >= observed - 1e-12))
    # Five standard deviations of a share of 10,000 draws, at most .025.
    assert randomisation_test(values, seed=3) == pytest.approx(exact, abs=0.026)


def test_randomisation_test_is_scipys() -> None:
    from scipy import stats

    generator = np.random.default_rng(5)
    values = generator.normal(0.08, 0.3, size=80)
    expected = stats.permutation_test(
        (values, np.zeros(80)),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=10_000,
        rng=np.random.default_rng(1),
    ).pvalue
    # Two independent estimates of one share: five standard deviations of their difference.
    tolerance = 5 * np.sqrt(2 * expected * (1 - expected) / 10_000)
    assert randomisation_test(values) == pytest.approx(expected, abs=tolerance)


def test_randomisation_test_is_seeded_and_independent_of_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(2).normal(0.05, 0.3, size=53)
    first = randomisation_test(values, seed=9)
    assert randomisation_test(values, seed=9) == first
    assert randomisation_test(values, seed=10) != first
    monkeypatch.setattr(significance, "BLOCK_ELEMENTS", 997)
    assert randomisation_test(values, seed=9) == first


def test_p_is_never_0_and_equal_systems_give_1() -> None:
    assert randomisation_test(np.full(40, 0.5)) == pytest.approx(1 / 10_001)
    assert randomisation_test(np.zeros(40)) == 1.0
    assert randomisation_test([]) == 1.0


def test_rounding_does_not_hide_equal_sums() -> None:
    # 0.1 + 0.2 and 0.3 differ in the last bit; all four signings of these have |sum| 0 or 0.6 in truth.
    assert randomisation_test([0.1, 0.2, -0.3]) == 1.0


@pytest.mark.parametrize("queries", [30, 200])
def test_under_the_null_it_rejects_at_its_nominal_rate(queries: int) -> None:
    """1,500 experiments in which two systems differ by chance only: p <= .05 in about 5 % of them."""
    generator = np.random.default_rng(queries)
    experiments = 1500
    scores = generator.beta(0.6, 0.9, size=(experiments, 2, queries)).round(2)  # many ties, many near 0 or 1
    p_values = np.array(
        [
            randomisation_test(second - first, permutations=1000, seed=number)
            for number, (first, second) in enumerate(scores)
        ]
    )
    for alpha in (0.01, 0.05, 0.2):
        # Four standard deviations of a binomial share.
        slack = 4 * np.sqrt(alpha * (1 - alpha) / experiments)
        assert np.mean(p_values <= alpha) == pytest.approx(alpha, abs=slack)


def test_a_real_difference_is_found() -> None:
    generator = np.random.default_rng(4)
    values = generator.normal(0.05, 0.2, size=300)
    assert randomisation_test(values) < 0.001
    assert paired_t_test(values) < 0.001
    interval = bootstrap_interval(values)
    assert 0 < interval.low < values.mean() < interval.high


def test_bootstrap_interval_covers_the_truth() -> None:
    generator = np.random.default_rng(6)
    covered = 0
    for number in range(400):
        values = generator.normal(0.1, 0.4, size=100)
        interval = bootstrap_interval(values, resamples=500, seed=number)
        covered += interval.low <= 0.1 <= interval.high
    assert covered / 400 == pytest.approx(0.95, abs=0.05)


def test_bootstrap_interval_is_scipys() -> None:
    from scipy import stats

    values = np.random.default_rng(8).normal(0.02, 0.3, size=120)
    expected = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=10_000, rng=np.random.default_rng(1)
    ).confidence_interval
    found = bootstrap_interval(values)
    assert found.low == pytest.approx(expected.low, abs=0.004)
    assert found.high == pytest.approx(expected.high, abs=0.004)
    assert bootstrap_interval(values) == found
    assert bootstrap_interval([]) == significance.Interval(0.0, 0.0)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_stepping_down_rejects(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(after >= before for before, after in zip(p_values, adjusted, strict=True))
    for alpha in (0.01, 0.05, 0.3):
        rejected = set()
        for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
            if (len(p_values) - place) * p_values[index] > alpha:
                break
            rejected.add(index)
        assert {index for index, value in enumerate(adjusted) if value <= alpha} == rejected


def test_wins_ties_losses() -> None:
    assert wins_ties_losses([0.5, 1e-12, 0.0, -0.2, 0.1]) == (2, 2, 1)


@pytest.mark.parametrize("values", [[float("nan")], [[0.1, 0.2]]])
def test_bad_differences_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError):
        paired_t_test(values)
