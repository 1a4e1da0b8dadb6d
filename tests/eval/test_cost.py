"""Cost figures by hand and by definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexhound.eval.cost import Cost, flops, mean_cost, measure_latency, percentile_ms, spread

ROWS = st.lists(st.sets(st.integers(0, 9)), min_size=1, max_size=6)


@given(ROWS, ROWS)
def test_flops_by_definition(queries: list[set[int]], documents: list[set[int]]) -> None:
    """sum_j p_q(j) p_d(j) over the vocabulary."""
    expected = sum(
        (sum(term in query for query in queries) / len(queries))
        * (sum(term in document for document in documents) / len(documents))
        for term in range(10)
    )
    found = flops(
        [np.array(sorted(query), np.int32) for query in queries],
        lambda terms: np.array([sum(term in document for document in documents) for term in terms], np.int64),
        len(documents),
    )
    assert found == pytest.approx(expected)


def test_flops_of_nothing_is_0() -> None:
    def never(terms: np.ndarray) -> np.ndarray:
        raise AssertionError("nothing should be asked")

    assert flops([], never, 5) == 0
    assert flops([np.array([], np.int32)], never, 5) == 0
    assert flops([np.array([1], np.int32)], never, 0) == 0


def test_percentiles_are_observed_values() -> None:
    seconds = [number / 1000 for number in range(1, 101)]
    assert percentile_ms(seconds, 50) == pytest.approx(50)
    assert percentile_ms(seconds, 99) == pytest.approx(99)
    assert percentile_ms([], 50) == 0


def test_latency_asks_each_query_once_after_the_warm_up() -> None:
    asked: list[str] = []
    seconds = measure_latency(asked.append, ["a", "b", "c"], warm_up=2)
    assert asked == ["a", "b", "a", "b", "c"]
    assert len(seconds) == 3
    assert all(value >= 0 for value in seconds)


def test_spread_takes_even_steps() -> None:
    items = [str(number) for number in range(101)]
    assert spread(items, 5) == ["0", "25", "50", "75", "100"]
    assert spread(items[:3], 5) == ["0", "1", "2"]


def test_the_mean_of_costs_passes_over_what_is_not_known() -> None:
    one = Cost(100, 10.0, None, None, 50.0, 1.0, 3.0, 20, 10, 1000, 2, 1000, 4.0)
    two = Cost(300, 30.0, 5.0, None, 150.0, 3.0, 5.0, 20, 10, 1000, 2, None, 8.0)
    mean = mean_cost([one, two])
    assert (mean.documents, mean.document_dimensions, mean.query_dimensions, mean.flops) == (200, 20.0, 5.0, None)
    assert (mean.queries_per_second, mean.p50_ms, mean.p99_ms) == (100.0, 2.0, 4.0)
    assert (mean.index_bytes, mean.encoding_seconds) == (1000, 6.0)
    with pytest.raises(ValueError, match="no costs"):
        mean_cost([])
