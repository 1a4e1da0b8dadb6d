from __future__ import annotations

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexhound.index import QuantisationLoss, Query, quantise_weights
from lexhound.index.inverted.quantization import exact_scale, quantise_with_loss

positive = st.floats(2.0**-100, 2.0**100, width=32)


@given(st.floats(2.0**-126, 2.0**127))
def test_scales_keep_22_bits(scale):
    exact = exact_scale(scale)
    assert exact == oracle.exact_scale(scale)
    assert abs(exact - scale) <= scale * 2.0**-22
    assert exact_scale(exact) == exact
    assert (exact * (2**31 - 1)) / (2**31 - 1) == exact
    assert float.fromhex(exact.hex()).as_integer_ratio()[0].bit_length() <= 22 or exact >= 2.0**21


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf"), 1e-40])
def test_scales_that_are_no_scales_are_refused(scale):
    with pytest.raises(ValueError, match="impact scale"):
        exact_scale(scale)


@given(st.lists(positive, max_size=20), st.sampled_from([1 / 255, 0.01, 3.0, 2.0**-30]))
def test_impacts_and_their_loss_equal_the_oracle(weights, scale):
    array = np.array(weights, np.float32)
    impacts, loss = quantise_with_loss(array, scale)
    expected = oracle.impacts(array, scale)
    assert impacts.dtype == np.uint8
    assert impacts.tolist() == expected.tolist()
    assert quantise_weights(array, scale).tolist() == expected.tolist()
    errors = [abs(int(i) * exact_scale(scale) - float(w)) for i, w in zip(expected, array, strict=True)]
    assert loss.count == len(weights)
    assert loss.sum_absolute_error == pytest.approx(sum(errors), rel=1e-12)
    assert loss.max_absolute_error == max(errors, default=0.0)
    assert loss.sum_weight == pytest.approx(sum(float(w) for w in array), rel=1e-12)
    assert loss.clipped == sum(1 for w in array if round(float(w) / exact_scale(scale)) > 255)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_weights_that_are_not_positive_are_refused(bad):
    with pytest.raises(ValueError, match="entry 2 is"):
        quantise_weights(np.array([1, 2, bad, 3], np.float32), 1.0)


def test_losses_add_up():
    whole = quantise_with_loss(np.linspace(0.1, 3, 100, dtype=np.float32), 0.01)[1]
    left = quantise_with_loss(np.linspace(0.1, 3, 100, dtype=np.float32)[:40], 0.01)[1]
    right = quantise_with_loss(np.linspace(0.1, 3, 100, dtype=np.float32)[40:], 0.01)[1]
    merged = left.merge(right)
    assert merged.sum_absolute_error == pytest.approx(whole.sum_absolute_error)
    assert (merged.count, merged.max_absolute_error, merged.clipped) == (100, whole.max_absolute_error, whole.clipped)
    assert merged.mean_absolute_error == pytest.approx(whole.sum_absolute_error / 100)
    assert merged.relative_error == pytest.approx(whole.sum_absolute_error / whole.sum_weight)
    assert QuantisationLoss().merge(whole) == whole
    assert whole.of_survivors(100) is whole
    assert whole.of_survivors(50).sum_weight == pytest.approx(whole.sum_weight / 2)
    assert whole.of_survivors(0) == QuantisationLoss()
    assert QuantisationLoss().mean_absolute_error == QuantisationLoss().relative_error == 0


@given(st.lists(st.floats(2.0**-140, 2.0**120, width=32), min_size=1, max_size=30))
def test_query_integers_equal_the_oracle_and_stay_in_budget(weights):
    values = np.array(weights, np.float32)
    query = Query.from_weights(np.arange(len(values), dtype=np.int32), values)
    integers, scale = oracle.query_integers(values)
    assert query.weights.tolist() == integers.tolist()
    assert query.scale == scale
    assert int(query.weights.astype(np.int64).sum()) <= 2**23
    assert query.weights.min() >= 1
    heaviest = int(np.argmax(values))
    assert query.weights[heaviest] * query.scale == pytest.approx(float(values[heaviest]), rel=1e-4)


@pytest.mark.parametrize(
    ("terms", "weights", "message"),
    [
        ([1, 0], [1, 1], "ascending"),
        ([1, 1], [1, 1], "ascending"),
        ([-1, 1], [1, 1], "non-negative"),
        ([0], [1, 1], "one weight per term"),
        ([0], [0], "positive and finite"),
        ([0], [float("nan")], "positive and finite"),
        ([0], [-2], "positive and finite"),
    ],
)
def test_query_vectors_that_break_the_rules_are_refused(terms, weights, message):
    with pytest.raises(ValueError, match=message):
        Query.from_weights(np.array(terms, np.int32), np.array(weights, np.float32))


def test_an_empty_query_is_a_query():
    query = Query.from_weights(np.empty(0, np.int32), np.empty(0, np.float32))
    assert len(query) == 0
