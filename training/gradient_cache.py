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

Gather = Callable[[Sequence[torch.Tensor]], tuple[torch.Tensor, slice]]
"""This process's parts -> float[all rows, width] without a graph, and which of its rows are this process's."""


def cached_step(
    encode: Callable[[Chunk], torch.Tensor],
    chunks: Sequence[Chunk],
    loss_of: Callable[[torch.Tensor], torch.Tensor],
    gather: Gather | None = None,
    *,
    again: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Add the gradients of loss_of(all representations) to the encoder's and the loss's own parameters.

    Args:
        encode: one chunk -> float[rows, width]. Where it draws random numbers (dropout) it draws the same ones twice.
        chunks: parts of the batch, in order.
        loss_of: float[all rows, width] -> scalar.
        gather: makes all rows of this process's own where several have one batch; there may then be no chunk here.
        again: False keeps the graphs of all chunks in memory instead, and encodes them once.

    Returns:
        The loss and the representations, without graphs.
    """
    states = []
    parts = []
    with torch.set_grad_enabled(not again):
        for chunk in chunks:
            states.append(_random_states())
            parts.append(encode(chunk))
    after = _random_states()
    known = [part.detach() for part in parts]
    representations, own_rows = (torch.cat(known), slice(None)) if gather is None else gather(known)
    representations.requires_grad_()
    loss = loss_of(representations)
    loss.backward()  # type: ignore[no-untyped-call]
    gradient = representations.grad
    if gradient is not None and parts:
        pulled = torch.split(gradient[own_rows], [len(part) for part in parts])
        for chunk, state, part, pull in zip(chunks, states, parts, pulled, strict=True):
            _set_random_states(state)
            encoded = encode(chunk) if again else part
            if encoded.requires_grad:  # an encoder that is wholly frozen has no graph
                encoded.backward(pull)  # type: ignore[no-untyped-call]
    _set_random_states(after)
    return loss.detach(), representations.detach()


def _random_states() -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return the states of the generators of the CPU and of every GPU in use."""
    on_gpus = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if on_gpus else []


def _set_random_states(states: tuple[torch.Tensor, list[torch.Tensor]]) -> None:
    torch.set_rng_state(states[0])
    if states[1]:
        torch.cuda.set_rng_state_all(states[1])
