"""A run's state on disk: one safetensors file, replaced whole, so that a killed run finds the old one or the new."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lexhound.core.atomic_files import move_file
from lexhound.encoders.errors import TrainingError


def write_state(path: Path, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
    """Write tensors and plain values."""
    from safetensors.torch import save_file

    aside = path.with_suffix(".new")
    save_file(
        {name: tensor.contiguous().clone() for name, tensor in tensors.items()}, aside, {"values": json.dumps(values)}
    )
    move_file(aside, path)


def read_state(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return tensors and values.

    Raises:
        TrainingError: the file cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            values = json.loads((file.metadata() or {})["values"])
            return {name: file.get_tensor(name) for name in file.keys()}, values  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise TrainingError(f"{path} cannot be read: {error}", "Delete it to start again") from error
