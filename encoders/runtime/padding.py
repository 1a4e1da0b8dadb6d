"""Batches of token ids for models that want them of one length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def padded(rows: Sequence[Sequence[int]], padding: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return int64 ids and the bool mask of those that are no padding, both [rows, longest]."""
    import torch

    ids = np.full((len(rows), max(map(len, rows))), padding, dtype=np.int64)
    mask = np.zeros(ids.shape, dtype=bool)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
        mask[number, : len(row)] = True
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)


def attention(mask: torch.Tensor) -> torch.Tensor | None:
    """Return what a model is told of padding: without any, nothing, and attention takes its fastest path."""
    return None if bool(mask.all()) else mask.long()
