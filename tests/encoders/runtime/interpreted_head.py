"""The kernels of the fused head in Triton's interpreter, against the plain paths. Run by `test_fused_head.py`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lexhound.encoders.runtime import fused_head, pooling
from lexhound.encoders.runtime.fused_head import Blocks
from lexhound.encoders.runtime.pooling import ACTIVATIONS

TEXTS, LENGTH, WIDTH, TERMS = 4, 21, 23, 37
BLOCKS = fused_head.BLOCKS
Results = list[torch.Tensor | None]


@pytest.fixture(autouse=True, scope="module")
def small_blocks() -> Iterator[None]:
    """Blocks so small that every edge between them is met."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused_head, "BLOCKS", dict.fromkeys((2, 4), Blocks(16, 16, 16, 4, 1)))
        patch.setattr(fused_head, "_PAIRS", 2 * TERMS)
        patch.setattr(fused_head, "_SLOPES", TERMS * LENGTH * 3)
        yield


def case(seed: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(TEXTS, LENGTH, WIDTH, generator=generator)
    mask = torch.rand(TEXTS, LENGTH, generator=generator) < 0.6
    mask[:, 5] = True
    mask[0] = True
    mask[1, 6:] = False
    weight, bias = (torch.randn(*shape, generator=generator) for shape in ((TERMS, WIDTH), (TERMS,)))
    return hidden.to(dtype), mask, weight.to(dtype), bias.to(dtype)


def both(
    hidden: torch.Tensor,
    mask: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    kind: str,
    activation: str,
    dtype: torch.dtype | None = None,
) -> tuple[Results, Results, Results]:
    """Values and gradients of kernels, plain path and reference; the latter two in `dtype`, if given."""
    found = []
    for path in ("kernel", "plain", "reference"):
        numbers = hidden.dtype if path == "kernel" else dtype or hidden.dtype
        own = [
            None if part is None else part.to(numbers, copy=True).requires_grad_() for part in (hidden, weight, bias)
        ]
        assert own[0] is not None
        assert own[1] is not None
        if path == "reference":
            result = pooling.pooled_reference(own[0], mask, own[1], own[2], pooling=kind, activation=activation)
        else:
            result = pooling.pooled(own[0], mask, own[1], own[2], pooling=kind, activation=activation, path=path)
        assert result.dtype == torch.float32
        # Away from 0: the slope of a square root has no bound there.
        (result * (result > 1e-3) * torch.arange(1.0, len(weight) + 1)).sum().backward()
        found.append([result.detach(), *(None if part is None else part.grad for part in own)])
    return found[0], found[1], found[2]


def assert_close(ours: Results, theirs: Results, tolerance: float) -> None:
    for one, other in zip(ours, theirs, strict=True):
        if other is None:
            assert one is None
        else:
            assert one is not None
            assert one.shape == other.shape
            scale = max(1.0, float(other.abs().max()))
            torch.testing.assert_close(one.float(), other.float(), rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", ["max", "sum"])
def test_values_and_gradients_equal_the_plain_path_and_the_reference(kind: str, activation: str) -> None:
    hidden, mask, weight, bias = case(len(activation))
    biased = activation != "relu"
    ours, plain, reference = both(hidden, mask, weight, bias if biased else None, kind=kind, activation=activation)
    assert_close(ours, plain, 2e-5)
    assert_close(ours, reference, 2e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["max", "sum"])
def test_half_precision(kind: str, dtype: torch.dtype) -> None:
    """Products in float32 of the same rounded numbers; gradients are rounded once, at the end (max), or in parts."""
    hidden, mask, weight, bias = case(8, dtype)
    ours, plain, _ = both(hidden, mask, weight, bias, kind=kind, activation="log1p_relu", dtype=torch.float32)
    assert all(part is not None and part.dtype == dtype for part in ours[1:])
    assert_close(ours[:1], plain[:1], 2e-5)
    assert_close(ours[1:], plain[1:], 2e-2)


numbers = st.integers(-2, 2)


@settings(max_examples=8, deadline=None)
@given(
    hidden=st.lists(st.lists(st.tuples(numbers, numbers), min_size=19, max_size=19), min_size=2, max_size=2),
    weight=st.lists(st.tuples(numbers, numbers), min_size=1, max_size=18),
    counted=st.lists(st.lists(st.booleans(), min_size=19, max_size=19), min_size=2, max_size=2),
    sure=st.integers(0, 18),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_of_equal_logits_the_first_counts_everywhere(
    hidden: list[list[tuple[int, int]]],
    weight: list[tuple[int, int]],
    counted: list[list[bool]],
    sure: int,
    dtype: torch.dtype,
) -> None:
    """Small whole numbers make no rounding, many ties and terms without a positive logit: all must be equal."""
    states, decoder = torch.tensor(hidden, dtype=dtype), torch.tensor(weight, dtype=dtype)
    mask = torch.tensor(counted)
    mask[:, sure] = True
    ours, plain, reference = both(states, mask, decoder, None, kind="max", activation="relu")
    for one, two, three in zip(ours, plain, reference, strict=True):
        assert (one is None) == (two is None) == (three is None)
        if one is not None and two is not None and three is not None:
            assert torch.equal(one, two)
            assert torch.equal(one, three)
    logits = pooling.largest_logits(states, mask, decoder, None, path="kernel")
    assert torch.equal(logits, pooling.largest_logits(states, mask, decoder, None, path="plain"))
    # By hand: the gradient of one term of one text is its column, at its first largest counting token.
    own = states.clone().requires_grad_()
    pooling.largest_logits(own, mask, decoder, None, path="kernel")[1, 0].backward()
    values = [float((states[1, token].float() * decoder[0].float()).sum()) for token in range(19)]
    first = max(range(19), key=lambda token: (bool(mask[1, token]), values[token], -token))
    expected = torch.zeros_like(states)
    expected[1, first] = decoder[0]
    assert own.grad is not None
    assert torch.equal(own.grad, expected)


def test_negative_logits_alone_make_empty_vectors() -> None:
    hidden, mask, weight, bias = case(3)
    for kind in ("max", "sum"):
        ours, plain, _ = both(hidden, mask, weight, bias - 100, kind=kind, activation="log1p_relu")
        assert all(part is not None and not part.any() for part in ours)
        assert_close(ours, plain, 0)
    raw = pooling.largest_logits(hidden, mask, weight, bias - 100, path="kernel")
    assert float(raw.max()) < -50
    torch.testing.assert_close(raw, pooling.largest_logits(hidden, mask, weight, bias - 100, path="plain"))


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_nothing_of_what_is_masked_is_seen() -> None:
    hidden, mask, weight, bias = case(4)
    dirty = hidden.masked_fill(~mask.unsqueeze(-1), torch.nan)
    for kind in ("max", "sum"):
        clean, spoiled = (
            pooling.pooled(part, mask, weight, bias, pooling=kind, activation="relu", path="kernel")
            for part in (hidden, dirty)
        )
        assert torch.equal(clean, spoiled)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_no_number_stays_visible(value: float) -> None:
    hidden, mask, weight, bias = case(5)
    hidden[1, 5] = value
    weight.abs_()
    assert mask[1, 5]
    for kind in ("max", "sum"):
        found = pooling.pooled(hidden, mask, weight, bias, pooling=kind, activation="log1p_relu", path="kernel")
        assert not found[1].isfinite().any()
        assert found[[0, 2, 3]].isfinite().all()


@pytest.mark.parametrize("kind", ["max", "sum"])
def test_a_text_alone_or_run_again_gives_the_same_bits(kind: str) -> None:
    hidden, mask, weight, bias = case(6)
    results = []
    for _ in range(2):
        own, head = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
        result = pooling.pooled(own, mask, head, bias, pooling=kind, activation="log1p_relu", path="kernel")
        result.square().sum().backward()
        assert own.grad is not None
        assert head.grad is not None
        results.append((result.detach(), own.grad, head.grad))
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
    alone = pooling.pooled(
        hidden[1:2, :6], mask[1:2, :6], weight, bias, pooling=kind, activation="log1p_relu", path="kernel"
    )
    assert torch.equal(alone[0], results[0][0][1])


def test_what_needs_no_gradient_gets_none() -> None:
    hidden, mask, weight, bias = case(7)
    for kind in ("max", "sum"):
        gradients: list[torch.Tensor | None] = []
        for wanted in ({0}, {1}, {2}, {0, 1, 2}):
            parts = [part.clone().requires_grad_(place in wanted) for place, part in enumerate((hidden, weight, bias))]
            found = pooling.pooled(
                parts[0], mask, parts[1], parts[2], pooling=kind, activation="log1p_relu", path="kernel"
            )
            found.sum().backward()
            assert {place for place, part in enumerate(parts) if part.grad is not None} == wanted
            gradients += [part.grad for part in parts if part.grad is not None]
        for one, other in zip(gradients[:3], gradients[3:], strict=True):
            torch.testing.assert_close(one, other)
    with torch.inference_mode():
        found = pooling.pooled(hidden, mask, weight, bias, pooling="max", activation="relu", path="kernel")
    assert not found.requires_grad


def test_shapes_at_the_edges() -> None:
    hidden, mask, weight, bias = case(9)
    for kind in ("max", "sum"):
        for texts, length, terms in ((0, 3, 5), (1, 1, 1), (2, 16, 16), (3, 17, 32)):
            head = weight[:terms].clone().requires_grad_()
            part = hidden[:texts, :length], torch.ones(texts, length, dtype=torch.bool)
            found = [
                pooling.pooled(*part, head, bias[:terms], pooling=kind, activation="relu", path=path)
                for path in ("kernel", "plain")
            ]
            assert found[0].shape == (texts, terms)
            torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-5)
            found[0].sum().backward()
        # Neither the states nor the decoder need lie in one piece.
        turned = hidden.transpose(0, 1).contiguous().transpose(0, 1), weight.T.contiguous().T
        assert not turned[0].is_contiguous()
        assert not turned[1].is_contiguous()
        one = pooling.pooled(turned[0], mask, turned[1], bias, pooling=kind, activation="relu", path="kernel")
        other = pooling.pooled(hidden, mask, weight, bias, pooling=kind, activation="relu", path="kernel")
        assert torch.equal(one, other)


def test_nothing_of_the_size_of_all_logits_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = func(*args, **(kwargs or {}))
            parts = result if isinstance(result, tuple) else (result,)
            sizes.extend(each.nbytes for each in parts if isinstance(each, torch.Tensor))
            return result

    generator = torch.Generator().manual_seed(1)
    texts, terms = 6, 120
    monkeypatch.setattr(fused_head, "_PAIRS", 2 * terms)
    hidden = torch.randn(texts, LENGTH, WIDTH, generator=generator).requires_grad_()
    weight = torch.randn(terms, WIDTH, generator=generator).requires_grad_()
    mask = torch.ones(texts, LENGTH, dtype=torch.bool)
    for kind in ("max", "sum"):
        with Watch():
            found = pooling.pooled(hidden, mask, weight, None, pooling=kind, activation="log1p_relu", path="kernel")
            found.sum().backward()
    assert max(sizes) <= max(weight.nbytes, hidden.nbytes)  # beside the slopes, whose bound is one of its own
    assert max(sizes) < texts * LENGTH * terms * 4 / 5


def test_a_kernel_that_fails_is_told_and_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cpu")
    monkeypatch.setattr(fused_head, "BLOCKS", BLOCKS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fused_head.works_on(device, torch.bfloat16, pooling.pooled)
    monkeypatch.setattr(fused_head.head_kernels, "_slope", fused_head.head_kernels._log1p)
    with pytest.warns(RuntimeWarning, match="fused head is not used on cpu"):
        assert not fused_head.works_on(device, torch.float32, pooling.pooled)
    assert not fused_head.works_on(device, torch.float32, pooling.pooled), "told once"
