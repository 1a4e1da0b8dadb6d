"""Candidates by turns, and teachers that know some pairs alone."""

from __future__ import annotations

import numpy as np
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from lexhound.training.data.candidate_lists import ListTeacher, interleaved, led_by, normalised_lists


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(0, 5), st.integers(1, 4), st.integers(1, 4), st.integers(0, 999))
def test_lists_are_joined_by_turns(rows: int, first: int, second: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    lists = [random.integers(-1, 6, (rows, depth)).astype(np.int32) for depth in (first, second)]
    found = interleaved(lists)
    assert found.shape == (rows, first + second)
    for row in range(rows):
        expected: list[int] = []
        for place in range(max(first, second)):
            for each in lists:
                if place < each.shape[1] and each[row, place] >= 0 and each[row, place] not in expected:
                    expected.append(int(each[row, place]))
        assert found[row].tolist() == expected + [-1] * (first + second - len(expected))


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.lists(st.integers(0, 6), max_size=4), max_size=4), st.integers(0, 3), st.integers(0, 999))
def test_lists_begin_with_what_is_given(given: list[list[int]], depth: int, seed: int) -> None:
    found = np.random.default_rng(seed).integers(-1, 7, (len(given), depth)).astype(np.int32)
    merged, counts = led_by(given, found)
    for row, named in enumerate(given):
        expected: list[int] = []
        for document in [*named, *found[row].tolist()]:
            if document >= 0 and document not in expected:
                expected.append(document)
        assert merged[row].tolist() == expected + [-1] * (merged.shape[1] - len(expected))
        assert counts[row] == len(set(named))


def test_known_pairs_are_normalised_over_their_list_and_others_are_unknown() -> None:
    documents = np.array([[4, 2, -1], [1, 3, 0]], dtype=np.int32)
    scores = np.array([[1.0, 3.0, 99.0], [5.0, 5.0, 5.0]], dtype=np.float32)
    teacher = ListTeacher(np.array([7, 9]), documents, scores, "min-max")
    found = teacher.block(np.array([9, 7, 8]), np.array([2, 4, 1]))
    np.testing.assert_array_equal(found, [[np.nan, np.nan, 0.0], [1.0, 0.0, np.nan], [np.nan] * 3])
    assert teacher.block(np.array([7]), np.empty(0, np.int64)).shape == (1, 0)


@pytest.mark.parametrize("kind", ["min-max", "z-score", "none"])
def test_normalisation_is_the_formula(kind: str) -> None:
    random = np.random.default_rng(2)
    scores = random.random((20, 5)).astype(np.float32)
    known = random.random((20, 5)) < 0.6
    found = normalised_lists(scores, known, kind)
    for row in range(20):
        own = scores[row][known[row]].astype(np.float64)
        if not len(own) or kind == "none":
            continue
        low, width = (own.min(), np.ptp(own)) if kind == "min-max" else (own.mean(), own.std())
        expected = (own - low) / width if width > 1e-9 else np.zeros(len(own))
        np.testing.assert_allclose(found[row][known[row]], expected, atol=1e-5)
