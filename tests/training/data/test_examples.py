"""Steps and columns: drawn without state, the same again after a resume, every seed in turn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from lexhound.training.data.examples import TrainingSet, draw_step
from lexhound.training.recipe import OptimiserRecipe
from lexhound.training.sampled_vocabulary import ColumnSampler


class Constant:
    def __init__(self, value: float) -> None:
        self.value = value

    def block(self, queries: np.ndarray, documents: np.ndarray) -> np.ndarray:
        return np.full((len(queries), len(documents)), self.value, dtype=np.float32)


def make_training(documents: int, queries: int, seed: int = 0) -> TrainingSet:
    random = np.random.default_rng(seed)
    own = random.integers(-1, documents, queries).astype(np.int32)
    seeds = np.arange(0, queries, 2, dtype=np.int64)
    candidates = np.full((len(seeds), 5), -1, dtype=np.int32)
    for row in candidates:
        found = random.permutation(documents)[: random.integers(1, 6)]
        row[: len(found)] = found
    return TrainingSet(
        documents=[np.array([5, 6], np.int32)] * documents,
        queries=[np.array([5], np.int32)] * queries,
        own=own,
        candidates=candidates,
        seeds=seeds,
        teachers=[(Constant(1.0), 1.0), (Constant(3.0), 3.0)],
        idf=np.ones(10, np.float32),
    )


@settings(max_examples=examples(50), deadline=None)
@given(
    st.integers(1, 30), st.integers(1, 40), st.integers(1, 6), st.integers(2, 6), st.integers(0, 3), st.integers(0, 50)
)
def test_a_step_is_sound(documents: int, queries: int, seeds: int, candidates: int, own: int, number: int) -> None:
    training = make_training(documents, queries)
    recipe = OptimiserRecipe(seeds=seeds, candidates=candidates, own_queries=own)
    step = draw_step(training, recipe, 3, number)
    again = draw_step(training, recipe, 3, number)
    assert np.array_equal(step.queries, again.queries)
    assert np.array_equal(step.documents, again.documents)
    assert len(set(step.queries.tolist())) == len(step.queries)
    assert len(set(step.documents.tolist())) == len(step.documents) <= seeds * candidates
    for query, column in zip(step.queries, step.positive, strict=True):
        if column >= 0:
            assert step.documents[column] == training.own[query]
        else:
            assert training.own[query] not in step.documents


def test_candidates_that_the_data_names_are_taken_before_others() -> None:
    training = make_training(30, 1)
    candidates = np.arange(20, dtype=np.int32)[None]
    named = replace(training, own=np.array([25], np.int32), candidates=candidates, given=np.array([6], np.int32))
    few, some, many = (
        set(draw_step(named, OptimiserRecipe(seeds=1, candidates=count, own_queries=0), 1, 0).documents.tolist())
        for count in (4, 7, 12)
    )
    assert 25 in few
    assert few - {25} < set(range(6))
    assert some == {25, *range(6)}
    assert many > some
    assert 6 in many  # the best that was found is there too
    assert len(many) == 12


def test_every_seed_has_its_turn_before_any_has_its_second() -> None:
    training = make_training(20, 30)
    recipe = OptimiserRecipe(seeds=4, candidates=2, own_queries=0)
    drawn = [int(query) for number in range(4) for query in draw_step(training, recipe, 0, number).queries]
    assert len(drawn) >= 15
    assert set(drawn[:15]) == set(training.seeds.tolist())


def test_teachers_are_averaged_by_weight_where_they_have_an_opinion() -> None:
    training = make_training(3, 3)
    rows, columns = np.array([0, 1]), np.array([0, 2])
    assert training.teach(rows, columns) == pytest.approx(2.5)
    silent = TrainingSet(
        training.documents, training.queries, training.own, training.candidates, training.seeds,
        [(Constant(float("nan")), 1.0), (Constant(3.0), 3.0)], training.idf,
    )  # fmt: skip
    assert silent.teach(rows, columns) == pytest.approx(3.0)


def test_sampled_columns_stand_for_the_others() -> None:
    allowed = np.ones(100, dtype=bool)
    allowed[[0, 1]] = False
    sampler = ColumnSampler(allowed, frequent=10, sampled=20)
    sampler.usage[:50] = np.linspace(1, 0.5, 50)
    drawn = sampler.draw(np.array([99, 3]), 0, 7)
    assert {3, 99} <= set(drawn.terms.tolist())
    assert not {0, 1} & set(drawn.terms.tolist())
    assert drawn.multiplier.sum() == pytest.approx(98)
    assert set(range(2, 12)) <= set(drawn.terms[drawn.multiplier == 1].tolist())
    assert drawn.terms[drawn.positions(np.array([3, 99]))].tolist() == [3, 99]


def test_the_estimate_over_sampled_columns_is_right_on_average() -> None:
    values = np.random.default_rng(1).random(60)
    sampler = ColumnSampler(np.ones(60, dtype=bool), frequent=5, sampled=11)
    sampler.usage[:] = values
    totals = []
    for step in range(3000):
        drawn = sampler.draw(np.array([0]), 5, step)
        totals.append(float((values[drawn.terms] * drawn.multiplier).sum()))
    assert np.mean(totals) == pytest.approx(values.sum(), rel=0.01)


def test_all_columns_are_taken_where_they_are_not_more_than_asked_for() -> None:
    drawn = ColumnSampler(np.ones(30, dtype=bool), 10, 20).draw(np.array([1]), 0, 0)
    assert drawn.terms.tolist() == list(range(30))
    assert (drawn.multiplier == 1).all()
