"""Tensors in weight files, and LoRA adapters merged into a model's weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexhound.core.errors import first_line
from lexhound.encoders.errors import CheckpointError

from .hub import weight_files

if TYPE_CHECKING:
    import torch


def merge_adapter(model: Any, folder: Path) -> None:
    """Add a LoRA adapter's products to the weights they belong to: W + scale · B A (Hu et al., 2021, section 4.1)."""
    path = folder / "adapter_config.json"
    try:
        values = json.loads(path.read_bytes())
        rank, alpha = int(values["r"]), float(values["lora_alpha"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be read: {first_line(error)}", "It must be PEFT's of a LoRA") from error
    scale = alpha / (rank**0.5 if values.get("use_rslora") else rank)
    tensors = read_tensors(folder, ("",), stem="adapter_model")
    parameters = dict(model.named_parameters())
    merged = 0
    for name, down in tensors.items():
        if not name.endswith(".lora_A.weight"):
            continue
        up = tensors.get(name.replace(".lora_A.", ".lora_B."))
        target = name.removesuffix(".lora_A.weight").removeprefix("base_model.model.") + ".weight"
        weight = parameters.get(target, parameters.get(f"{model.base_model_prefix}.{target}"))
        change = None if up is None else scale * (up.float() @ down.float())
        change = change.T if change is not None and values.get("fan_in_fan_out") else change
        if weight is None or change is None or weight.shape != change.shape:
            raise CheckpointError(f"{folder}: the adapter's {name} fits no weight of the model", "Is it this model's?")
        weight.data += change.to(weight.dtype)
        merged += 1
    if not merged:
        raise CheckpointError(f"{folder} holds no LoRA weights", "It must hold adapter_model.safetensors")


def read_tensors(folder: Path, name_parts: tuple[str, ...], stem: str = "") -> dict[str, torch.Tensor]:
    """Return the tensors in a folder's weight files whose names contain one of `name_parts`."""
    import torch
    from safetensors import SafetensorError, safe_open

    if stem:
        paths = [path for path in (folder / f"{stem}.safetensors", folder / f"{stem}.bin") if path.is_file()][:1]
    else:
        paths = [path for path in weight_files(folder) if path.suffix != ".json"]
    tensors: dict[str, torch.Tensor] = {}
    for path in paths:
        try:
            if path.suffix == ".safetensors":
                with safe_open(path, framework="pt") as file:
                    tensors |= {name: file.get_tensor(name) for name in file.keys() if _has(name, name_parts)}  # noqa: SIM118
            else:
                loaded = torch.load(path, map_location="cpu", weights_only=True)
                tensors |= {name: tensor for name, tensor in loaded.items() if _has(name, name_parts)}
        except (OSError, RuntimeError, ValueError, EOFError, AttributeError, SafetensorError) as error:
            raise CheckpointError(f"{path} cannot be read: {first_line(error)}", "Download it again") from error
    return tensors


def _has(name: str, name_parts: tuple[str, ...]) -> bool:
    return any(part in name for part in name_parts)
