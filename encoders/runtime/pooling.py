"""From hidden states to one weight a term: a masked-language-model head, an activation, and a pooling over tokens.

    w_j = pool over tokens i of  f(h_i · E_j + b_j)

`pool` is max (Formal et al., "SPLADE v2", 2021, section 3.1), sum (Formal et al., "SPLADE", SIGIR 2021, section 3) or
the first token alone (CLS-MLM; Nguyen et al., "A Unified Framework for Learned Sparse Retrieval", ECIR 2023, section
3.2). `f` is relu, log(1 + relu) (SPLADE), log(1 + log(1 + relu)) (Shen et al., "Exploring l0 Sparsification for
Inference-free Sparse Retrievers", SIGIR 2025, section 3.2) or sqrt(relu) (Dai & Callan, "Context-Aware Document Term
Weighting for Ad-Hoc Search", WWW 2020, section 3.1). None of them falls as x grows or is positive where x is not, so
that the maximum is taken over the logits and f applied once a term.

`pooled` never makes anything of the size batch × length × vocabulary, forward and backward: on a GPU, Triton kernels
keep logits in registers (`fused_head`, which tells how far they are tested); elsewhere, and wherever LEXHOUND_HEAD is
`plain`, some documents are multiplied by some columns of E at a time and only what the pooling leaves is kept.
`pooled_reference` is the formula as it stands; the three are tested against each other.

Of a term's equal largest logits the first token's counts: the gradient of a maximum goes to that token alone. Logits
are compared in the precision in which a path has them: the kernels' in float32, the others' in that of `hidden`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

# One product is at most this many rows by this many columns: 8 MB in bfloat16. What comes out is read again at once,
# so it should stay in the second-level caches; much smaller products leave the matrix units idle.
_ROWS = 1024
_COLUMNS = 4096

POOLINGS = ("max", "sum", "cls")
ACTIVATIONS = ("relu", "log1p_relu", "log1p_log1p_relu", "sqrt_relu")

PATHS = ("auto", "plain", "kernel")
"""Ways to compute the same: `auto` is `kernel` on a CUDA device where Triton works, and `plain` elsewhere."""

PATH_VARIABLE = "LEXHOUND_HEAD"
"""Environment variable that says what `auto` is."""


def activate(logits: torch.Tensor, activation: str) -> torch.Tensor:
    """Apply one of `ACTIVATIONS`."""
    positive = logits.relu()
    if activation == "relu":
        return positive
    if activation == "log1p_relu":
        return positive.log1p()
    if activation == "log1p_log1p_relu":
        return positive.log1p().log1p()
    return positive.sqrt()


def pooled_reference(
    hidden: torch.Tensor,
    mask: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    pooling: str,
    activation: str,
) -> torch.Tensor:
    """Return what `pooled` returns, by way of all logits at once."""
    import torch

    weights = activate(torch.nn.functional.linear(hidden, weight, bias).float(), activation) * mask.unsqueeze(-1)
    if pooling == "max":
        return weights.max(dim=1).values  # not amax, which would share the gradient among equals
    return weights.sum(dim=1) if pooling == "sum" else weights[:, 0]


def pooled(
    hidden: torch.Tensor,
    mask: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    pooling: str,
    activation: str,
    path: str = "auto",
) -> torch.Tensor:
    """Return float32[batch, vocabulary]: each document's weight of each term.

    Args:
        hidden: floating[batch, length, width], what the head's decoder takes.
        mask: bool[batch, length], the tokens that count; every document has at least one.
        weight: floating[vocabulary, width], of the dtype of `hidden`; bias: floating[vocabulary] or None.
        pooling: "max", "sum" or "cls" (the first position, which the mask must hold).
        activation: see `activate`.
        path: one of `PATHS`.
    """
    import torch

    if pooling == "cls":
        return activate(torch.nn.functional.linear(hidden[:, 0], weight, bias).float(), activation)
    if pooling == "max":
        return activate(largest_logits(hidden, mask, weight, bias, path=path), activation)
    kernels = _kernels(hidden, path)
    if kernels is not None:
        result: torch.Tensor = kernels.summed(hidden, mask, weight, bias, activation)
        return result
    return _summed(hidden, mask, weight, bias, activation)


def largest_logits(
    hidden: torch.Tensor,
    mask: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    path: str = "auto",
) -> torch.Tensor:
    """Return float32[batch, vocabulary]: each document's largest logit of each term, arguments as for `pooled`."""
    import torch

    kernels = _kernels(hidden, path)
    if kernels is not None:
        maxima: torch.Tensor = kernels.largest_logits(hidden, mask, weight, bias)
        return maxima
    hidden = _repeat_first(hidden, mask)
    if torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad):
        largest: torch.Tensor = _maximum_with_gradient().apply(hidden, weight, bias)
    else:
        largest = _maximum(hidden, weight, bias)
    return largest.float()


def _kernels(hidden: torch.Tensor, path: str) -> Any:
    """Return the module of the fused head where it is to be used, else None."""
    if path == "auto":
        if not hidden.is_cuda:
            return None
        path = os.environ.get(PATH_VARIABLE) or "auto"
    if path == "plain":
        return None
    try:
        from . import fused_head
    except ImportError:
        if path == "kernel":
            raise
        return None
    return fused_head if path == "kernel" or fused_head.works_on(hidden.device, hidden.dtype, pooled) else None


def _repeat_first(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Put each document's first counting token in place of those that do not count: no maximum changes.

    So masking costs a copy of the hidden states, not a pass over logits.
    """
    import torch

    if bool(mask.all()):
        return hidden
    first = hidden[torch.arange(len(hidden), device=hidden.device), mask.int().argmax(dim=1)]
    return torch.where(mask.unsqueeze(-1), hidden, first.unsqueeze(1))


def _maximum(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Return the largest logit of each document and term; [batch, vocabulary] in the dtype of `hidden`."""
    import torch

    largest = hidden.new_empty((len(hidden), len(weight)))
    documents = max(1, _ROWS // hidden.shape[1])
    for column in range(0, len(weight), _COLUMNS):
        columns = slice(column, column + _COLUMNS)
        part = None if bias is None else bias[columns]
        for row in range(0, len(hidden), documents):
            rows = slice(row, row + documents)
            logits = torch.nn.functional.linear(hidden[rows], weight[columns], part)
            torch.amax(logits, dim=1, out=largest[rows, columns])
    return largest


def _summed(
    hidden: torch.Tensor, mask: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, activation: str
) -> torch.Tensor:
    import torch

    def part(rows: slice, columns: slice) -> torch.Tensor:
        part_bias = None if bias is None else bias[columns]
        weights = activate(torch.nn.functional.linear(hidden[rows], weight[columns], part_bias).float(), activation)
        return torch.einsum("blv,bl->bv", weights, mask[rows].float())

    documents = max(1, _ROWS // hidden.shape[1])
    needs_gradient = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
    bands = []
    for row in range(0, len(hidden), documents):
        rows = slice(row, row + documents)
        starts = range(0, len(weight), _COLUMNS)
        parts = []
        for column in starts:
            columns = slice(column, column + _COLUMNS)
            if needs_gradient:  # logits are made again in the backward pass, a part at a time
                parts.append(torch.utils.checkpoint.checkpoint(part, rows, columns, use_reentrant=False))
            else:
                parts.append(part(rows, columns))
        bands.append(torch.cat(parts, dim=1))
    return torch.cat(bands) if bands else hidden.new_zeros((0, len(weight)), dtype=torch.float32)


def _maximum_with_gradient() -> Any:
    """Return the autograd function of `_maximum`; made here because torch is imported only where it is used."""
    global _FUNCTION
    if _FUNCTION is None:
        _FUNCTION = _make_function()
    return _FUNCTION


_FUNCTION: Any = None


def _make_function() -> Any:
    import torch

    class Maximum(torch.autograd.Function):
        """A maximum that keeps, for each document and term, only its token: int64[batch, vocabulary]."""

        @staticmethod
        def forward(ctx: Any, hidden: Any, weight: Any, bias: Any) -> Any:
            largest = hidden.new_empty((len(hidden), len(weight)))
            positions = torch.empty(largest.shape, dtype=torch.int64, device=hidden.device)
            documents = max(1, _ROWS // hidden.shape[1])
            for column in range(0, len(weight), _COLUMNS):
                columns = slice(column, column + _COLUMNS)
                part = None if bias is None else bias[columns]
                for row in range(0, len(hidden), documents):
                    rows = slice(row, row + documents)
                    logits = torch.nn.functional.linear(hidden[rows], weight[columns], part)
                    torch.max(logits, dim=1, out=(largest[rows, columns], positions[rows, columns]))
            ctx.save_for_backward(hidden, weight, positions)
            ctx.has_bias = bias is not None
            return largest

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            """Return the gradients, from the few (document, term) pairs that have one: below 0, the activation is 0."""
            hidden, weight, positions = ctx.saved_tensors
            (gradient,) = gradients
            on_hidden = torch.zeros_like(hidden, dtype=torch.float32) if ctx.needs_input_grad[0] else None
            on_weight = torch.zeros_like(weight, dtype=torch.float32) if ctx.needs_input_grad[1] else None
            for document in range(len(hidden)):
                (terms,) = gradient[document].nonzero(as_tuple=True)
                scale = gradient[document, terms].float().unsqueeze(1)
                tokens = positions[document, terms]
                if on_hidden is not None:
                    on_hidden[document].index_add_(0, tokens, scale * weight[terms].float())
                if on_weight is not None:
                    on_weight.index_add_(0, terms, scale * hidden[document, tokens].float())
            on_bias = gradient.float().sum(dim=0) if ctx.has_bias and ctx.needs_input_grad[2] else None
            return tuple(None if part is None else part.to(gradient.dtype) for part in (on_hidden, on_weight, on_bias))

    return Maximum
