"""A large batch in the memory of a small one.

The loss needs all representations at once, the encoder's gradients only one part's at a time (Gao et al., "Scaling Deep
Contrastive Learning Batch Size under Memory Limited Setup", 2021, section 3): encode every part without a graph, take
the gradient of the loss with respect to the representations, then encode each part again, with a graph, and send its
gradient through. Costs one more forward pass; gradients are those of the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

Chunk = TypeVar("Chunk")


def cached_step(
    encode: Callable[[Chunk], torch.Tensor],
    chunks: Sequence[Chunk],
    loss_of: Callable[[torch.Tensor], torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Add the gradients of loss_of(all representations) to the encoder's and the loss's own parameters.

    Args:
        encode: one chunk -> float[rows, width]. Where it draws random numbers (dropout) it draws the same ones twice.
        chunks: parts of the batch, in order.
        loss_of: float[all rows, width] -> scalar.

    Returns:
        The loss and the representations, without graphs.
    """
    states = []
    parts = []
    with torch.no_grad():
        for chunk in chunks:
            states.append(torch.get_rng_state())
            parts.append(encode(chunk))
    after = torch.get_rng_state()
    whole = torch.cat(parts).requires_grad_()
    loss = loss_of(whole)
    loss.backward()
    gradient = whole.grad
    if gradient is not None:
        for chunk, state, part in zip(chunks, states, gradient.split([len(part) for part in parts]), strict=True):
            torch.set_rng_state(state)
            encode(chunk).backward(part)
    torch.set_rng_state(after)
    return loss.detach(), whole.detach()
