"""The fused head against the formula over all logits at once: values, gradients, and what it never makes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lexhound.encoders.runtime import pooling as module
from lexhound.encoders.runtime.pooling import ACTIVATIONS, POOLINGS, activate, pooled, pooled_reference

WIDTH, TERMS = 6, 37


@pytest.fixture
def small_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products so small that every edge between them is met."""
    monkeypatch.setattr(module, "_ROWS", 14)
    monkeypatch.setattr(module, "_COLUMNS", 8)


def case(seed: int, batch: int = 5, length: int = 7) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(batch, length, WIDTH, generator=generator)
    mask = torch.zeros(batch, length, dtype=torch.bool)
    for row in range(batch):
        mask[row, : 1 + (row * 3 + seed) % length] = True
    return hidden, mask, torch.randn(TERMS, WIDTH, generator=generator), torch.randn(TERMS, generator=generator)


@pytest.mark.usefixtures("small_products")
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("biased", [True, False])
def test_values_and_gradients_equal_the_reference(pooling: str, activation: str, biased: bool) -> None:
    hidden, mask, weight, bias = case(len(activation))
    leaves = []
    results = []
    for function in (pooled, pooled_reference):
        own = [tensor.clone().requires_grad_() for tensor in (hidden, weight, bias)]
        result = function(own[0], mask, own[1], own[2] if biased else None, pooling=pooling, activation=activation)
        # Away from 0: the slope of a square root has no bound there.
        (result * (result > 1e-3) * torch.arange(1.0, TERMS + 1)).sum().backward()
        leaves.append(own)
        results.append(result.detach())
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(leaves[0], leaves[1], strict=True):
        if theirs.grad is None:
            assert ours.grad is None
        else:
            assert ours.grad is not None
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("small_products")
@pytest.mark.parametrize("pooling", POOLINGS)
def test_inference_equals_training(pooling: str) -> None:
    hidden, mask, weight, bias = case(3)
    with torch.inference_mode():
        fast = pooled(hidden, mask, weight, bias, pooling=pooling, activation="log1p_relu")
    slow = pooled(hidden, mask, weight.requires_grad_(), bias, pooling=pooling, activation="log1p_relu")
    torch.testing.assert_close(fast, slow.detach(), rtol=1e-5, atol=1e-6)


def test_a_mask_may_have_its_tokens_anywhere() -> None:
    hidden, _, weight, bias = case(4, batch=2)
    mask = torch.tensor([[False, True, False, True, False, False, False], [False] * 6 + [True]])
    for pooling in ("max", "sum"):
        found, expected = (
            function(hidden, mask, weight, bias, pooling=pooling, activation="relu")
            for function in (pooled, pooled_reference)
        )
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_activations_are_their_formulas() -> None:
    logits = np.linspace(-3, 9, 101, dtype=np.float32)
    positive = np.maximum(logits, 0)
    formulas = {
        "relu": positive,
        "log1p_relu": np.log1p(positive),
        "log1p_log1p_relu": np.log1p(np.log1p(positive)),
        "sqrt_relu": np.sqrt(positive),
    }
    assert formulas.keys() == set(ACTIVATIONS)
    for activation, expected in formulas.items():
        np.testing.assert_allclose(activate(torch.from_numpy(logits), activation), expected, atol=1e-6)


@pytest.mark.usefixtures("small_products")
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("pooling", ["max", "sum"])
def test_nothing_of_the_size_of_all_logits_is_made(pooling: str, training: bool) -> None:
    sizes: list[int] = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = func(*args, **(kwargs or {}))
            sizes.extend(
                each.numel()
                for each in (result if isinstance(result, tuple) else (result,))
                if isinstance(each, torch.Tensor)
            )
            return result

    hidden, mask, weight, bias = case(5, batch=12)
    with Watch(), torch.set_grad_enabled(training):
        result = pooled(hidden, mask, weight.requires_grad_(training), bias, pooling=pooling, activation="log1p_relu")
        if training:
            result.sum().backward()
    assert sizes
    assert max(sizes) <= max(12 * TERMS, 12 * 7 * WIDTH)  # the result, or the hidden states
    assert max(sizes) < 12 * 7 * TERMS / 4
