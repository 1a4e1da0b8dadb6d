"""Transformers that torch runs for their hidden states: on a GPU, and those that are not of BERT's form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.checkpoints.loading import load_backbone, load_language_model

from .bert.model import not_in_integers
from .device import choose_device, choose_precision, precision_name
from .padding import attention, padded

Floats = NDArray[np.float32]


class TorchBackbone:
    """A model of transformers. Safe to call from several threads.

    Attributes:
        max_length: the longest input in tokens that its positions allow, special tokens included, or None.
    """

    def __init__(self, module: Any, device: Any, padding: int, max_length: int | None) -> None:
        self.max_length = max_length
        self._module = module
        self._device = device
        self._padding = padding

    def states(self, rows: Sequence[Sequence[int]], threads: int = 1) -> Floats:
        """Return float32[tokens, width], the last hidden states of the rows' tokens, one row after the other."""
        import torch

        with torch.inference_mode():
            ids, mask = padded(rows, self._padding, self._device)
            hidden = self._module(input_ids=ids, attention_mask=attention(mask)).last_hidden_state
            states: Floats = hidden[mask].float().cpu().numpy()
        return states


def open_torch_backbone(folder: Path, device: str, precision: str, *, trust_remote_code: bool = False) -> TorchBackbone:
    """Load a transformer.

    Raises:
        CheckpointError, MissingExtraError: see `load_backbone`.
        SettingsError: integers are asked for, or a device that is not there.
    """
    if precision_name(precision) == "int16":
        raise not_in_integers(folder)
    place = choose_device(device)
    dtype = choose_precision(precision, place)
    module, limit, padding = load_backbone(folder, place, dtype, trust_remote_code=trust_remote_code)
    return TorchBackbone(module, place, padding, limit)


def open_torch_first_logits(
    folder: Path, device: str, precision: str, *, trust_remote_code: bool = False
) -> tuple[Callable[[Sequence[Sequence[int]]], Floats], int]:
    """Return what makes float32[rows, outputs], the logits of each row's first token, and the number of outputs.

    Raises as `load_language_model` does.
    """
    place = choose_device(device)
    model = load_language_model(folder, place, choose_precision(precision, place), trust_remote_code=trust_remote_code)

    def first_logits(rows: Sequence[Sequence[int]]) -> Floats:
        import torch

        with torch.inference_mode():
            ids, mask = padded(rows, model.padding, place)
            hidden = model.backbone(input_ids=ids, attention_mask=mask.long()).last_hidden_state[:, :1]
            logits = torch.nn.functional.linear(model.transform(hidden)[:, 0], model.weight, model.bias)
            values: Floats = logits.float().cpu().numpy()
        return values

    return first_logits, len(model.weight)
