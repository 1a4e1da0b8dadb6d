"""Regularisers against formulas in plain NumPy; schedules; averages."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from lexhound.encoders.errors import SettingsError
from lexhound.training.averaging import ExponentialAverage
from lexhound.training.regularization import (
    KINDS,
    build_regulariser,
    df_flops,
    effective_flops,
    flops,
    idf_flops,
    l1,
)
from lexhound.training.schedule import quadratic, warmup_linear

MATRICES = st.tuples(st.integers(1, 6), st.integers(1, 7), st.integers(0, 9999))


def draw(shape: tuple[int, int, int]) -> np.ndarray:
    random = np.random.default_rng(shape[2])
    return random.choice([0.0, 0.0, 0.25, 1.0, 2.5], shape[:2])


def flops_oracle(weights: np.ndarray) -> float:
    return sum((sum(abs(row[term]) for row in weights) / len(weights)) ** 2 for term in range(weights.shape[1]))


@settings(max_examples=examples(60), deadline=None)
@given(MATRICES)
def test_penalties_are_the_formulas(shape: tuple[int, int, int]) -> None:
    weights = draw(shape)
    idf = np.linspace(0.0, 4.0, weights.shape[1])
    found = torch.from_numpy(weights)
    assert float(flops(found)) == pytest.approx(flops_oracle(weights))
    assert float(effective_flops(found, torch.from_numpy(idf))) == pytest.approx(flops_oracle(weights * idf))
    assert float(l1(found)) == pytest.approx(sum(map(sum, weights)) / len(weights))


@settings(max_examples=examples(60), deadline=None)
@given(MATRICES)
def test_the_two_forms_of_the_idf_aware_penalty_are_one(shape: tuple[int, int, int]) -> None:
    weights = torch.from_numpy(draw(shape))
    idf = torch.linspace(0.5, 9.0, weights.shape[1], dtype=torch.float64)
    assert float(idf_flops(weights * idf, idf)) == pytest.approx(float(flops(weights)))
    # As a penalty beside a score, too: the gradient on the document's own weights is the same.
    own = weights.clone().requires_grad_()
    flops(own).backward()
    other = weights.clone().requires_grad_()
    idf_flops(other * idf, idf).backward()
    torch.testing.assert_close(own.grad, other.grad)


def test_without_idf_in_the_match_the_penalties_are_on_what_scores() -> None:
    weights = torch.from_numpy(draw((5, 7, 1)))
    idf = torch.linspace(0.5, 3.5, 7, dtype=torch.float64)
    columns = torch.arange(7)
    plain = build_regulariser("flops", idf=idf, in_match=False)
    aware = build_regulariser("idf-flops", idf=idf, in_match=False)
    assert float(plain(weights, columns=columns)) == pytest.approx(flops_oracle(weights.numpy()))
    scaled = (idf / idf.mean()).numpy()
    assert float(aware(weights, columns=columns)) == pytest.approx(flops_oracle(weights.numpy() / scaled))


def test_a_term_without_idf_adds_nothing() -> None:
    weights = torch.tensor([[1.0, 2.0]])
    assert float(idf_flops(weights, torch.tensor([0.0, 2.0]))) == 1.0


def test_df_flops_weighs_by_how_many_documents_use_a_term() -> None:
    weights = torch.ones(10, 4, dtype=torch.float64)
    frequency = torch.tensor([0.0, 0.001, 0.1, 1.0], dtype=torch.float64)
    scales = [0.0, 1 / (1 + (0.001 ** (np.log(2) / np.log(0.1)) - 1) ** 10), 0.5, 1.0]
    for column, scale in enumerate(scales):
        alone = torch.zeros(4, dtype=torch.float64)
        alone[column] = 1.0
        assert float(df_flops(weights * alone, frequency)) == pytest.approx(scale**2, abs=1e-9)


@settings(max_examples=examples(40), deadline=None)
@given(MATRICES, st.sampled_from(KINDS))
def test_a_penalty_does_not_depend_on_the_size_of_the_batch(shape: tuple[int, int, int], kind: str) -> None:
    weights = torch.from_numpy(draw(shape))
    columns = torch.arange(weights.shape[1])
    penalty = build_regulariser(kind, idf=torch.linspace(0.1, 3, weights.shape[1], dtype=torch.float64))
    once, twice = penalty(weights, columns=columns), penalty(torch.cat([weights, weights]), columns=columns)
    assert float(once) == pytest.approx(float(twice))
    doubled = penalty(weights, columns=columns, multiplier=torch.full((len(columns),), 2.0, dtype=torch.float64))
    assert float(doubled) == pytest.approx(2 * float(once))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_differences(kind: str) -> None:
    penalty = build_regulariser(kind, idf=torch.linspace(0.1, 3, 5, dtype=torch.float64))
    weights = torch.rand(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.1
    columns = torch.arange(5)
    assert torch.autograd.gradcheck(lambda own: penalty(own, columns=columns), (weights.requires_grad_(),))


def test_columns_take_their_own_idf() -> None:
    idf = torch.tensor([1.0, 2.0, 3.0])
    penalty = build_regulariser("flops", idf=idf)
    assert float(penalty(torch.ones(1, 1), columns=torch.tensor([2]))) == pytest.approx((3 / 2) ** 2)


def test_unknown_penalties_are_refused() -> None:
    with pytest.raises(SettingsError, match="idf-flops"):
        build_regulariser("idfflops", idf=torch.ones(3))


def test_sentence_transformers_has_the_same_flops() -> None:
    from sentence_transformers.sparse_encoder import losses as theirs

    weights = torch.rand(6, 40, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(flops(weights), theirs.FlopsLoss(None).compute_loss_from_embeddings(weights))


def test_schedules() -> None:
    assert [quadratic(step, 4) for step in range(6)] == [1 / 16, 4 / 16, 9 / 16, 1.0, 1.0, 1.0]
    rates = [warmup_linear(step, 10, 2, 0.1) for step in range(11)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[10] == pytest.approx(0.1)
    assert all(later <= earlier for earlier, later in pairwise(rates[1:]))


def test_the_average_is_that_of_its_definition_and_goes_on_after_a_pause() -> None:
    random = np.random.default_rng(0)
    values = random.random((6, 3)).astype(np.float32)
    weight = torch.zeros(3)
    average = ExponentialAverage({"w": weight}, 0.8)
    average.copy_to({"w": weight})
    assert not weight.any()
    for number, row in enumerate(values):
        if number == 3:
            stored = average.state_dict()
            average = ExponentialAverage({"w": weight}, 0.8)
            average.load_state_dict(stored)
        average.update({"w": torch.from_numpy(row)})
    shares = np.array([0.2 * 0.8 ** (5 - number) for number in range(6)])
    average.copy_to({"w": weight})
    np.testing.assert_allclose(weight.numpy(), shares @ values / shares.sum(), rtol=1e-5)


def test_an_average_that_would_never_move_is_refused() -> None:
    with pytest.raises(SettingsError, match="below 1"):
        ExponentialAverage({"w": torch.zeros(2)}, 1.0)


def test_a_stored_average_does_not_change_with_later_steps() -> None:
    average = ExponentialAverage({"w": torch.zeros(2)}, 0.5)
    average.update({"w": torch.ones(2)})
    stored = {name: value.clone() for name, value in average.state_dict().items()}
    kept = average.state_dict()
    average.update({"w": torch.full((2,), 9.0)})
    assert all(torch.equal(kept[name], value) for name, value in stored.items())
