"""Fusion against plain formulas, one candidate at a time."""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexhound.retrieval.collection.query.fusion import FieldScores, best, fuse
from lexhound.retrieval.collection.request import METHODS, Fusion
from lexhound.retrieval.errors import QueryError

Scores = list[tuple[float, float, bool]]
"""Of each candidate: its sparse and its dense score, and whether the sparse side matches it."""

CEILING = 12.5
numbers = st.sampled_from([0.0, 0.25, 0.5, 1.0, 3.0, 12.0])


@st.composite
def candidates(draw: st.DrawFn) -> Scores:
    found = draw(st.lists(st.tuples(numbers, st.sampled_from([-0.5, 0.0, 0.25, 0.5, 1.0])), min_size=1, max_size=8))
    return [(sparse, dense, sparse > 0) for sparse, dense in found]


fusions = st.builds(
    Fusion,
    method=st.sampled_from(METHODS),
    dense_weight=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    rank_constant=st.sampled_from([0.0, 1.0, 60.0]),
    sparse_low=st.sampled_from([None, 0.0]),
    dense_low=st.sampled_from([None, -1.0]),
    sparse_high=st.sampled_from([None, 20.0]),
    dense_high=st.sampled_from([None, 2.0]),
)


def plain(fusion: Fusion, scores: Scores) -> list[tuple[float, float]]:
    """Each candidate's two shares, as the definitions say them."""
    shares = []
    for side, weight in ((0, 1 - fusion.dense_weight), (1, fusion.dense_weight)):
        own = [candidate[side] for candidate in scores]
        low = (fusion.sparse_low, fusion.dense_low)[side]
        high = (fusion.sparse_high, fusion.dense_high)[side]
        if fusion.method == "rrf":
            ranked = sorted(range(len(own)), key=lambda place: (-own[place], place))
            ranked = [place for place in ranked if side == 1 or scores[place][2]]
            values = [
                1 / (fusion.rank_constant + ranked.index(place) + 1) if place in ranked else 0.0
                for place in range(len(own))
            ]
        elif fusion.method == "z-score":
            mean, deviation = statistics.fmean(own), statistics.pstdev(own)
            values = [(score - mean) / deviation if deviation else 0.0 for score in own]
        else:
            if fusion.method == "fixed":
                low = 0.0 if low is None else low
                high = (CEILING, 1.0)[side] if high is None else high
            else:
                low = min(own) if low is None else low
                high = max(own) if high is None else high
            values = [(score - low) / (high - low) if high > low else 0.0 for score in own]
        shares.append([weight * value for value in values])
    return list(zip(*shares, strict=True))


def sides_of(scores: Scores) -> list[FieldScores]:
    return [
        FieldScores(
            "sparse", np.array([one for one, _, _ in scores]), np.array([matched for _, _, matched in scores]), CEILING
        ),
        FieldScores("dense", np.array([other for _, other, _ in scores]), np.ones(len(scores), np.bool_), 1.0),
    ]


@given(fusions, candidates())
def test_fusion_is_its_formula(fusion: Fusion, scores: Scores) -> None:
    total, shares = fuse(fusion, sides_of(scores))
    expected = plain(fusion, scores)
    for place, (sparse, dense) in enumerate(expected):
        assert math.isclose(shares[0].shares[place], sparse, rel_tol=1e-12, abs_tol=1e-12)
        assert math.isclose(shares[1].shares[place], dense, rel_tol=1e-12, abs_tol=1e-12)
        assert total[place] == shares[0].shares[place] + shares[1].shares[place]
        assert (shares[0].ranks[place] > 0) == scores[place][2]
        assert shares[1].ranks[place] > 0
    for given_shares in shares:
        assert (given_shares.shares == given_shares.weight * given_shares.values).all()


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0]), max_size=9), st.integers(1, 12))
def test_the_best_are_those_of_a_stable_sort(scores: list[float], k: int) -> None:
    expected = sorted(range(len(scores)), key=lambda place: (-scores[place], place))[:k]
    assert best(np.array(scores), k).tolist() == expected


@given(candidates(), st.sampled_from(["min-max", "z-score", "rrf", "fixed"]))
def test_a_side_without_weight_does_not_count(scores: Scores, method: str) -> None:
    total, _ = fuse(Fusion(method, dense_weight=1.0), sides_of(scores))
    dense = [other for _, other, _ in scores]
    assert [dense[place] for place in best(total, len(scores)).tolist()] == sorted(dense, reverse=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "sum"}, "the fusion method is 'sum'"),
        ({"dense_weight": 1.5}, "dense_weight of the fusion is 1.5"),
        ({"dense_weight": True}, "dense_weight"),
        ({"dense_weight": math.nan}, "dense_weight"),
        ({"depth": 0}, "depth of the fusion is 0"),
        ({"depth": 2.5}, "depth"),
        ({"rank_constant": -1}, "rank_constant"),
        ({"sparse_low": math.inf}, "sparse_low"),
        ({"dense_low": 1, "dense_high": 1}, "dense_low of the fusion is 1 and dense_high 1"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(QueryError, match=message) as caught:
        Fusion(**options)
    assert caught.value.hint
