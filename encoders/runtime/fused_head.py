"""The head fused with the pooling on a GPU: what calls the Triton kernels of `head_kernels`, forward and backward.

`encoders.runtime.pooling` comes here for tensors on a CUDA device where Triton can be imported; `LEXHOUND_HEAD=plain`
keeps it away. What is kept for the backward pass is the place of each largest logit, int32[texts, terms]; a sum keeps
nothing, and its logits are made again, some texts and some terms at a time.

**Tested in Triton's interpreter, which runs kernels on a CPU, and compiled for GPUs; not yet run or measured on one.**
So the first use in a process compares the kernels with the plain path on a small case, on the device at hand: where
they fail or differ, a RuntimeWarning says so and the plain path is used. `bench/run_head.py` measures both on a GPU.
"""

from __future__ import annotations

import os
import subprocess
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import triton

from lexhound.core.errors import first_line

from . import triton_head as head_kernels

Pooled = Callable[..., torch.Tensor]

# Of the gradient of a sum: how many logits exist at a time.
_SLOPES = 2**25
# Of the gradient of a maximum: how many (text, term) pairs are sorted at a time.
_PAIRS = 2**22


@dataclass(frozen=True, slots=True)
class Blocks:
    """The sizes that a program holds: tokens × terms in registers, `inner` of the width in shared memory at a time."""

    rows: int
    columns: int
    inner: int
    warps: int
    stages: int


# So large that registers just suffice on compute capabilities 8.0 and 9.0, by what the compiler says; by the bytes of a
# number. Shared memory: 72 KB and 16 KB.
BLOCKS = {2: Blocks(64, 128, 64, 8, 3), 4: Blocks(64, 64, 32, 4, 2)}


def largest_logits(
    hidden: torch.Tensor,
    mask: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
) -> torch.Tensor:
    """Return float32[batch, vocabulary], as `lexhound.encoders.runtime.pooling.largest_logits` does."""
    needs_gradient = torch.is_grad_enabled() and any(
        part is not None and part.requires_grad for part in (hidden, weight, bias)
    )
    if not needs_gradient:
        return _largest(hidden, mask, weight, bias, with_positions=False)[0]
    result: torch.Tensor = _Largest.apply(hidden, mask, weight, bias)  # type: ignore[no-untyped-call]
    return result


def summed(
    hidden: torch.Tensor,
    mask: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    activation: str,
) -> torch.Tensor:
    """Return float32[batch, vocabulary]: the sum of each term's activated logits over the tokens that count."""
    result: torch.Tensor = _Summed.apply(hidden, mask, weight, bias, activation)  # type: ignore[no-untyped-call]
    return result


def works_on(device: torch.device, dtype: torch.dtype, pooled: Pooled) -> bool:
    """Return whether the kernels run on a device and agree with the plain path; tried once a process.

    Args:
        pooled: `lexhound.encoders.runtime.pooling.pooled`, which takes either path.
    """
    key = str(device), dtype
    if key not in _TRIED:
        _TRIED[key] = trouble = _try(device, dtype, pooled)
        if trouble is not None:
            warnings.warn(f"the fused head is not used on {device} ({dtype}): {trouble}", RuntimeWarning, stacklevel=2)
    return _TRIED[key] is None


_TRIED: dict[tuple[str, torch.dtype], str | None] = {}


def _try(device: torch.device, dtype: torch.dtype, pooled: Pooled) -> str | None:
    """Compare all kernels with the plain path; returns what is wrong with them."""
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(*shape, generator=generator).to(device, dtype) for shape in ((3, 70, 80), (150, 80), (150,))]
    mask = (torch.arange(70) < torch.tensor([[70], [5], [1]])).to(device)
    close = 1e-2 if dtype == torch.float32 else 3e-2  # products may be made in TF32
    try:
        with torch.inference_mode(False), torch.enable_grad():
            for pooling in ("max", "sum"):
                results = []
                # The kernels have logits in float32, whatever they are made of: so has the plain path here.
                for path, numbers in (("plain", torch.float32), ("kernel", dtype)):
                    operands = [part.to(numbers, copy=True).requires_grad_() for part in inputs]
                    vectors = pooled(
                        operands[0], mask, operands[1], operands[2], pooling=pooling, activation="log1p_relu", path=path
                    )
                    torch.autograd.backward(vectors.sum())
                    results.append([vectors.detach(), *(part.grad for part in operands)])
                for plain, fused in zip(*results, strict=True):
                    if plain is None or fused is None or not bool(_distance(plain, fused) < close):
                        return f"its {pooling} differs from that of the plain path"
    except (RuntimeError, OSError, AttributeError, TypeError, ValueError, subprocess.SubprocessError, _TRITON) as error:
        return first_line(error)
    return None


_TRITON: type[Exception] = triton.TritonError


def _distance(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return the distance of two tensors as a share of their length: single elements differ where logits nearly tie."""
    distance: torch.Tensor = torch.linalg.vector_norm(one.float() - other.float()) / torch.linalg.vector_norm(
        one.float()
    )
    return distance


class _Largest(torch.autograd.Function):
    """Largest logits; keeps where each of them is."""

    @staticmethod
    def forward(ctx: Any, hidden: Any, mask: Any, weight: Any, bias: Any) -> Any:
        largest, positions = _largest(hidden, mask, weight, bias, with_positions=True)
        ctx.save_for_backward(hidden, weight, bias, positions)
        return largest

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Return the gradients. Of each text, only the terms that have a gradient cost anything.

        Those are few after an activation, which is flat below 0. Their gradients are gathered by token for the hidden
        states and by term for the decoder, in an order of their own, so that sums come out the same every time.
        """
        hidden, weight, bias, positions = ctx.saved_tensors
        (gradient,) = gradients
        gradient = gradient.float()
        wants = ctx.needs_input_grad
        texts, length, width = hidden.shape
        states = hidden.contiguous().view(-1, width)
        on_hidden = torch.zeros_like(states, dtype=torch.float32) if wants[0] else None
        on_weight = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device) if wants[2] else None
        band = max(1, _PAIRS // max(1, len(weight)))
        for start in range(0, texts, band):
            text_rows, terms = gradient[start : start + band].nonzero(as_tuple=True)
            text_rows += start
            scales = gradient[text_rows, terms]
            tokens = text_rows * length + positions[text_rows, terms]
            if on_hidden is not None:
                _gather(tokens, terms, scales, weight.contiguous(), on_hidden)
            if on_weight is not None:
                _gather(terms, tokens, scales, states, on_weight)
        return (
            None if on_hidden is None else on_hidden.view(hidden.shape).to(hidden.dtype),
            None,
            None if on_weight is None else on_weight.to(weight.dtype),
            gradient.sum(dim=0).to(bias.dtype) if bias is not None and wants[3] else None,
        )


class _Summed(torch.autograd.Function):
    """Sums of activated logits; keeps nothing but what it was given."""

    @staticmethod
    def forward(ctx: Any, hidden: Any, mask: Any, weight: Any, bias: Any, activation: str) -> Any:
        ctx.save_for_backward(hidden, mask, weight, bias)
        ctx.activation = activation
        hidden, weight = hidden.contiguous(), weight.contiguous()
        result = hidden.new_empty((len(hidden), len(weight)), dtype=torch.float32)
        with _on(hidden):
            _launch(head_kernels.summed_kernel, hidden, mask, weight, bias, (result,), ACTIVATION=activation)
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Return the gradients: of some texts and terms at a time, a kernel makes that on logits, products the rest."""
        hidden, mask, weight, bias = ctx.saved_tensors
        gradient = gradients[0].float().contiguous()
        wants = ctx.needs_input_grad
        hidden, weight = hidden.contiguous(), weight.contiguous()
        _, length, width = hidden.shape
        on_hidden = torch.zeros_like(hidden, dtype=torch.float32)
        on_weight = torch.zeros_like(weight, dtype=torch.float32)
        on_bias = None if bias is None else torch.zeros_like(bias, dtype=torch.float32)
        columns = min(len(weight), 8192)
        band = max(1, _SLOPES // max(1, columns * length))
        for start in range(0, len(hidden), band):
            rows = slice(start, start + band)
            states = hidden[rows].view(-1, width)
            counts = mask[rows].reshape(-1).to(torch.int8)
            for column in range(0, len(weight), columns):
                part = slice(column, column + columns)
                slopes = _slopes(states, counts, length, weight[part], bias, gradient[rows], column, ctx.activation)
                on_hidden[rows] += (slopes @ weight[part]).view(-1, length, width)
                on_weight[part] += slopes.T @ states
                if on_bias is not None:
                    on_bias[part] += slopes.float().sum(dim=0)
        return (
            on_hidden.to(hidden.dtype) if wants[0] else None,
            None,
            on_weight.to(weight.dtype) if wants[2] else None,
            on_bias.to(bias.dtype) if on_bias is not None and wants[3] else None,
            None,
        )


def _largest(
    hidden: torch.Tensor,
    mask: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    with_positions: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the largest logits, float32[texts, terms], and their tokens, int32 of the same shape (or empty)."""
    hidden, weight = hidden.contiguous(), weight.contiguous()
    shape = len(hidden), len(weight)
    largest = hidden.new_empty(shape, dtype=torch.float32)
    positions = hidden.new_empty(shape if with_positions else (0,), dtype=torch.int32)
    with _on(hidden):
        _launch(
            head_kernels.largest_kernel, hidden, mask, weight, bias, (largest, positions), WITH_PLACES=with_positions
        )
    return largest, positions


def _launch(
    kernel: Any,
    hidden: torch.Tensor,
    mask: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    results: tuple[torch.Tensor, ...],
    **constants: object,
) -> None:
    """Run a kernel with one program a text and block of terms."""
    texts, length, width = hidden.shape
    if not texts or not len(weight):
        return
    blocks = BLOCKS[hidden.element_size()]
    last = torch.arange(1, length + 1, dtype=torch.int32, device=hidden.device)
    ends = (mask * last).amax(dim=1).to(torch.int32)
    kernel[(texts * triton.cdiv(len(weight), blocks.columns),)](
        hidden,
        mask.to(torch.int8).contiguous(),
        ends,
        weight,
        weight if bias is None else bias.contiguous(),
        *results,
        texts,
        length,
        width,
        len(weight),
        HAS_BIAS=bias is not None,
        PRECISION=_precision(),
        WIDEN=_widens(hidden),
        ROWS=blocks.rows,
        COLUMNS=blocks.columns,
        INNER=blocks.inner,
        num_warps=blocks.warps,
        num_stages=blocks.stages,
        **constants,
    )


def _slopes(
    states: torch.Tensor,
    counts: torch.Tensor,
    length: int,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    gradient: torch.Tensor,
    column: int,
    activation: str,
) -> torch.Tensor:
    """Return the gradient on the logits of some texts' tokens and the terms of `weight`, which begin at `column`."""
    slopes = states.new_empty((len(states), len(weight)))
    blocks = BLOCKS[states.element_size()]
    grid = triton.cdiv(len(states), blocks.rows) * triton.cdiv(len(weight), blocks.columns)
    with _on(states):
        head_kernels.slopes_kernel[(grid,)](
            states,
            counts,
            weight,
            weight if bias is None else bias[column : column + len(weight)].contiguous(),
            gradient[:, column:],
            slopes,
            len(states),
            length,
            states.shape[1],
            len(weight),
            gradient.stride(0),
            ACTIVATION=activation,
            HAS_BIAS=bias is not None,
            PRECISION=_precision(),
            WIDEN=_widens(states),
            ROWS=blocks.rows,
            COLUMNS=blocks.columns,
            INNER=blocks.inner,
            num_warps=blocks.warps,
            num_stages=blocks.stages,
        )
    return slopes


def _gather(
    targets: torch.Tensor, sources: torch.Tensor, scales: torch.Tensor, table: torch.Tensor, out: torch.Tensor
) -> None:
    """Add scale · table[source] to out[target] for each entry; entries of a target are added in the order given."""
    if not len(targets):
        return
    ordered, order = torch.sort(targets, stable=True)
    offsets = torch.searchsorted(ordered, torch.arange(len(out) + 1, device=out.device))
    width = table.shape[1]
    inner = min(128, triton.next_power_of_2(width))
    with _on(out):
        head_kernels.gather_kernel[(len(out), triton.cdiv(width, inner))](
            offsets,
            sources[order].to(torch.int32),
            scales[order],
            table,
            out,
            width,
            ENTRIES=32,
            INNER=inner,
            num_warps=4,
        )


def _precision() -> str:
    """Return how float32 is multiplied: as PyTorch's own products are on this machine."""
    return "tf32" if torch.get_float32_matmul_precision() != "highest" else "ieee"


def _widens(tensor: torch.Tensor) -> bool:
    return tensor.dtype == torch.bfloat16 and os.environ.get("TRITON_INTERPRET") == "1"


def _on(tensor: torch.Tensor) -> Any:
    """Make the tensor's device the current one, on which kernels run."""
    return torch.cuda.device_of(tensor)  # type: ignore[no-untyped-call]
