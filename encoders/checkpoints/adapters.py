"""LoRA adapters merged into a model's weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from lexhound.core.errors import first_line
from lexhound.encoders.errors import CheckpointError

from .hub import ADAPTER_WEIGHTS
from .tensors import read_arrays


def merge_adapter(model: Any, folder: Path) -> None:
    """Add a LoRA adapter's products to the weights they belong to: W + scale · B A (Hu et al., 2021, section 4.1)."""
    import torch

    path = folder / "adapter_config.json"
    try:
        values = json.loads(path.read_bytes())
        rank, alpha = int(values["r"]), float(values["lora_alpha"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be read: {first_line(error)}", "It must be PEFT's of a LoRA") from error
    scale = alpha / (rank**0.5 if values.get("use_rslora") else rank)
    files = [folder / name for name in ADAPTER_WEIGHTS if (folder / name).is_file()]
    tensors = read_arrays(files[0]) if files else {}
    parameters = dict(model.named_parameters())
    merged = 0
    for name, down in tensors.items():
        if not name.endswith(".lora_A.weight"):
            continue
        up = tensors.get(name.replace(".lora_A.", ".lora_B."))
        target = name.removesuffix(".lora_A.weight").removeprefix("base_model.model.") + ".weight"
        weight = parameters.get(target, parameters.get(f"{model.base_model_prefix}.{target}"))
        change = None if up is None else scale * (up @ down)
        change = change.T if change is not None and values.get("fan_in_fan_out") else change
        if weight is None or change is None or weight.shape != change.shape:
            raise CheckpointError(f"{folder}: the adapter's {name} fits no weight of the model", "Is it this model's?")
        weight.data += torch.from_numpy(np.ascontiguousarray(change, dtype=np.float32)).to(weight.dtype)
        merged += 1
    if not merged:
        raise CheckpointError(f"{folder} holds no LoRA weights", "It must hold adapter_model.safetensors")
