"""The device and the precision at which a model runs best."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from lexhound.encoders.errors import SettingsError

if TYPE_CHECKING:
    import torch


DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "float32", "bfloat16", "int16")

PRECISION_VARIABLE = "LEXHOUND_PRECISION"
"""Environment variable: what "auto" means for the precision of models."""

# What the drivers of NVIDIA, of AMD, and of Windows for its Linux make.
_ACCELERATORS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


def runs_on_cpu(name: str) -> bool:
    """Return whether models run on the CPU, given the name of a device.

    torch takes seconds to import, so for "auto" it is asked only where it is installed beside what might be a GPU.
    """
    if name != "auto" or find_spec("torch") is None:
        return name in ("auto", "cpu")
    if sys.platform != "darwin" and not any(Path(path).exists() for path in _ACCELERATORS):
        return True
    return choose_device("auto").type == "cpu"


def threads() -> int:
    """Return how many threads encode at a time: OMP_NUM_THREADS, or the processors that this process may use."""
    stated = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if stated.isdecimal() and int(stated) > 0:
        return int(stated)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def choose_device(name: str) -> torch.device:
    """Return the device of that name, or the best one for "auto"; raises SettingsError where it is not there."""
    import torch

    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, present in available.items() if present)
    elif not available[name]:
        raise SettingsError(f"this machine has no {name} device that torch can use", 'Leave the device at "auto"')
    return torch.device(name)


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype that torch computes in by that name: for "auto" bfloat16 where the hardware multiplies it, for
    "int16" float32. What runs without torch does not ask (`lexhound.encoders.runtime.bert.model`).
    """
    import torch

    name = precision_name(name)
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


def precision_name(name: str) -> str:
    """Return the precision that is meant by `name`; raises SettingsError where the environment names another."""
    if name != "auto":
        return name
    precision = os.environ.get(PRECISION_VARIABLE, "auto")
    if precision not in PRECISIONS:
        raise SettingsError(
            f"{PRECISION_VARIABLE} is {precision!r}", f"It must be one of {', '.join(PRECISIONS)}, or not be set"
        )
    return precision
