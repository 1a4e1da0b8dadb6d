"""The optimiser: which weights learn how fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .model import TrainableEncoder
from .recipe import OptimiserRecipe

_SCALE_RATE = 1e-2  # of the numbers that scale scores


def make_optimiser(
    model: TrainableEncoder,
    recipe: OptimiserRecipe,
    table: torch.nn.Parameter | None,
    table_rate: float,
    scales: Sequence[torch.nn.Parameter],
) -> torch.optim.Optimizer:
    """Return AdamW over body, head, bias, query table (None for a fixed one) and the scales of scores."""
    bias = model.decoder_bias
    head_parts = {id(parameter) for parameter in model.head_parameters()}
    groups: dict[str, list[torch.nn.Parameter]] = {"body": [], "head": []}
    for parameter in model.network.parameters():
        if parameter.requires_grad and parameter is not bias:
            groups["head" if id(parameter) in head_parts else "body"].append(parameter)
    listed: list[dict[str, Any]] = [
        {"params": groups["body"], "lr": recipe.body, "weight_decay": recipe.weight_decay},
        {"params": groups["head"], "lr": recipe.head, "weight_decay": recipe.weight_decay},
        {"params": [bias], "lr": recipe.bias, "weight_decay": 0.0},
        {"params": list(scales), "lr": _SCALE_RATE, "weight_decay": 0.0},
    ]
    if table is not None:
        listed.append({"params": [table], "lr": table_rate, "weight_decay": 0.0})
    listed = [group for group in listed if group["params"]]
    for group in listed:
        group["full_lr"] = group["lr"]
    fused = model.device.type in ("cpu", "cuda")
    return torch.optim.AdamW(listed, betas=(0.9, 0.98), eps=1e-6, fused=fused)


def set_rate(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's learning rate to `factor` of its full one."""
    for group in optimiser.param_groups:
        group["lr"] = group["full_lr"] * factor
