"""Losses against formulas in plain NumPy, gradients against differences, and sentence-transformers as referee."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from lexhound.training.gradient_cache import cached_step
from lexhound.training.losses import info_nce, kl_divergence, margin_mse

SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(0, 10_000))


def draw(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    queries, candidates, seed = shape
    random = np.random.default_rng(seed)
    student, teacher = (random.choice([-2.0, 0.0, 0.5, 3.0, 4.5], (queries, candidates)) for _ in range(2))
    return student, teacher, random.random((queries, candidates)) < 0.7


def softmax(row: np.ndarray) -> np.ndarray:
    shifted = np.exp(row - row.max())
    return shifted / shifted.sum()


def kl_oracle(student: np.ndarray, teacher: np.ndarray, mask: np.ndarray, temperature: float) -> float:
    values = []
    for s, t, m in zip(student, teacher, mask, strict=True):
        if m.any():
            wanted, found = softmax(t[m] / temperature), softmax(s[m] / temperature)
            values.append(float((wanted * np.log(wanted / found)).sum()))
    return float(np.mean(values)) if values else 0.0


def margin_oracle(student: np.ndarray, teacher: np.ndarray, mask: np.ndarray) -> float:
    values = []
    for s, t, m in zip(student, teacher, mask, strict=True):
        best = max((i for i in range(len(t)) if m[i]), key=lambda i: (t[i], -i), default=0)
        pairs = [((s[best] - s[i]) - (t[best] - t[i])) ** 2 for i in range(len(t)) if m[i] and i != best]
        if pairs:
            values.append(float(np.mean(pairs)))
    return float(np.mean(values)) if values else 0.0


@settings(max_examples=examples(80), deadline=None)
@given(SHAPES, st.sampled_from([0.5, 1.0, 3.0]))
def test_kl_is_the_formula(shape: tuple[int, int, int], temperature: float) -> None:
    student, teacher, mask = draw(shape)
    found = kl_divergence(
        torch.from_numpy(student), torch.from_numpy(teacher), temperature=temperature, mask=torch.from_numpy(mask)
    )
    assert float(found) == pytest.approx(kl_oracle(student, teacher, mask, temperature), abs=1e-9)


@settings(max_examples=examples(80), deadline=None)
@given(SHAPES)
def test_margin_mse_is_the_formula(shape: tuple[int, int, int]) -> None:
    student, teacher, mask = draw(shape)
    found = margin_mse(torch.from_numpy(student), torch.from_numpy(teacher), mask=torch.from_numpy(mask))
    assert float(found) == pytest.approx(margin_oracle(student, teacher, mask), abs=1e-9)


@settings(max_examples=examples(80), deadline=None)
@given(SHAPES)
def test_info_nce_is_the_formula(shape: tuple[int, int, int]) -> None:
    scores, _, mask = draw(shape)
    positive = np.random.default_rng(shape[2]).integers(0, scores.shape[1], len(scores))
    found = info_nce(torch.from_numpy(scores), torch.from_numpy(positive), mask=torch.from_numpy(mask), temperature=0.7)
    values = []
    for row, own, allowed in zip(scores, positive, mask, strict=True):
        kept = allowed.copy()
        kept[own] = True
        values.append(-np.log(softmax(np.where(kept, row, -1e9) / 0.7)[own]))
    assert float(found) == pytest.approx(float(np.mean(values)), abs=1e-9)


def test_gradients_are_those_of_differences() -> None:
    generator = torch.Generator().manual_seed(4)
    student = torch.randn(3, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 0, 1, 0, 1], [0, 0, 0, 0, 0]], dtype=torch.bool)
    positive = torch.tensor([0, 4, 2])
    for loss in (
        lambda s: kl_divergence(s, teacher, mask=mask, temperature=2.0),
        lambda s: margin_mse(s, teacher, mask=mask),
        lambda s: info_nce(s, positive, mask=mask),
    ):
        assert torch.autograd.gradcheck(loss, (student,))


def test_a_query_whose_candidates_are_all_masked_counts_nothing() -> None:
    student, teacher = torch.randn(2, 3, requires_grad=True), torch.randn(2, 3)
    mask = torch.tensor([[True] * 3, [False] * 3])
    for loss in (kl_divergence, margin_mse):
        both = loss(student, teacher, mask=mask)
        assert both.item() == pytest.approx(loss(student[:1], teacher[:1]).item())
        nothing = loss(student, teacher, mask=mask & False)
        nothing.backward()
        assert nothing.item() == 0.0


def test_sentence_transformers_has_the_same_losses() -> None:
    from sentence_transformers import SparseEncoder  # noqa: F401  its losses import it lazily
    from sentence_transformers.sparse_encoder import losses as theirs

    generator = torch.Generator().manual_seed(1)
    query, positive, negative = (torch.rand(4, 30, generator=generator) for _ in range(3))
    scores = torch.stack([(query * positive).sum(1), (query * negative).sum(1)], dim=1)
    labels = torch.randn(4, 2, generator=generator)
    margins = (labels[:, 0] - labels[:, 1]).unsqueeze(1)
    ours = margin_mse(scores, labels, positive=torch.zeros(4, dtype=torch.int64))
    found = theirs.SparseMarginMSELoss(None).compute_loss_from_embeddings([query, positive, negative], margins)
    torch.testing.assert_close(ours, found)
    found = theirs.SparseDistillKLDivLoss(None, temperature=2.0).compute_loss_from_embeddings(
        [query, positive, negative], labels
    )
    # Theirs follows Hinton et al. in multiplying by the square of the temperature.
    torch.testing.assert_close(kl_divergence(scores, labels, temperature=2.0) * 4, found)
    everything = query @ torch.cat([positive, negative]).T
    found = theirs.SparseMultipleNegativesRankingLoss(None).compute_loss_from_embeddings(
        [query, positive, negative], None
    )
    torch.testing.assert_close(info_nce(everything, torch.arange(4)), found)


@pytest.mark.parametrize("sizes", [[5], [2, 3], [1, 1, 1, 2]])
def test_cached_gradients_are_the_plain_ones(sizes: list[int]) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3)).double()
    scale = torch.nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    rows = torch.randn(5, 4, dtype=torch.float64)

    def loss_of(whole: torch.Tensor) -> torch.Tensor:
        return scale * torch.logsumexp(whole @ whole.T, dim=1).mean()

    loss_of(layer(rows)).backward()
    expected = [part.grad.clone() for part in (*layer.parameters(), scale)]
    for part in (*layer.parameters(), scale):
        part.grad = None
    loss, whole = cached_step(layer, list(rows.split(sizes)), loss_of)
    for part, gradient in zip((*layer.parameters(), scale), expected, strict=True):
        torch.testing.assert_close(part.grad, gradient)
    torch.testing.assert_close(loss, loss_of(layer(rows)).detach())
    assert whole.shape == (5, 3)


def test_cached_steps_draw_the_same_dropout_twice() -> None:
    torch.manual_seed(3)
    dropout = torch.nn.Dropout(0.5)
    weight = torch.nn.Parameter(torch.ones(4))
    seen: list[torch.Tensor] = []

    def encode(chunk: torch.Tensor) -> torch.Tensor:
        seen.append(dropout(chunk * weight))
        return seen[-1]

    cached_step(encode, [torch.ones(2, 4), torch.ones(3, 4)], lambda whole: whole.sum())
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[3])
    torch.testing.assert_close(weight.grad, (seen[2].sum(0) + seen[3].sum(0)).detach())


def test_a_frozen_encoder_is_no_error() -> None:
    scale = torch.nn.Parameter(torch.tensor(1.0))
    cached_step(lambda chunk: chunk * 2.0, [torch.ones(2, 2)], lambda whole: scale * whole.sum())
    assert scale.grad is not None
    assert scale.grad.item() == 8.0
