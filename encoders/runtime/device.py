"""The device and the precision at which a model runs best."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lexhound.encoders.errors import SettingsError

if TYPE_CHECKING:
    import torch


DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "float32", "bfloat16", "int16")

PRECISION_VARIABLE = "LEXHOUND_PRECISION"
"""Environment variable: what "auto" means for the precision of models."""


def choose_device(name: str) -> torch.device:
    """Return the device of that name, or the best one for "auto"; raises SettingsError where it is not there."""
    import torch

    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, present in available.items() if present)
    elif not available[name]:
        raise SettingsError(f"this machine has no {name} device that torch can use", 'Leave the device at "auto"')
    return torch.device(name)


def wants_integers(name: str, device: torch.device) -> bool:
    """Return whether language models are run in 16-bit integers where they can be; must be, if that is the name."""
    import torch

    name = _meant(name)
    return name == "int16" or (
        name == "auto" and device.type == "cpu" and choose_precision(name, device) == torch.float32
    )


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype of that name, or for "auto" bfloat16 where the hardware multiplies it; of "int16" float32."""
    import torch

    name = _meant(name)
    if name != "auto":
        return torch.bfloat16 if name == "bfloat16" else torch.float32
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        # What PyTorch itself asks before it hands bfloat16 products to oneDNN's AMX or AVX-512 BF16 kernels.
        fast = bool(torch.cpu._is_avx512_bf16_supported())
    else:
        fast = False
    return torch.bfloat16 if fast else torch.float32


def _meant(name: str) -> str:
    """Return the precision that is meant by `name`; raises SettingsError where the environment names another."""
    if name != "auto":
        return name
    precision = os.environ.get(PRECISION_VARIABLE, "auto")
    if precision not in PRECISIONS:
        raise SettingsError(
            f"{PRECISION_VARIABLE} is {precision!r}", f"It must be one of {', '.join(PRECISIONS)}, or not be set"
        )
    return precision
