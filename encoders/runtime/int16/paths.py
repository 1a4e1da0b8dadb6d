"""The one place where it is decided which of the processor's instructions the kernels are made of.

All paths multiply the same 16-bit integers and add the same exact sums, and everything between the products is written
in one order (`lexhound.encoders.runtime.int16.emitter`): so results are the same to the bit on all of them.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import cache

import llvmlite.binding

from lexhound.encoders.errors import SettingsError

VARIABLE = "LEXHOUND_KERNELS"
"""Environment variable: the name of the path to take, `auto`, or `none` for no kernels at all."""


@dataclass(frozen=True, slots=True)
class Path:
    """How products are computed.

    Attributes:
        name: of the environment variable; needs: features of the processor, as LLVM names them.
        processor, features: what LLVM compiles for; it is not the processor at hand, so that the code is the same on
            all machines that take this path.
        bits: of a vector; fused: whether one instruction multiplies 16-bit integers in pairs and adds to a sum.
        heights: how many rows a tile of a product may have, the best first, each a multiple of the last.
        float_height: the same of float32's products.
    """

    name: str
    needs: tuple[str, ...]
    processor: str
    features: str
    bits: int
    fused: bool
    heights: tuple[int, ...]
    float_height: int


_AVX512 = ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx512vnni")

PATHS = {
    path.name: path
    for path in (
        Path("avx512vnni", _AVX512, "x86-64-v4", "+avx512vnni,-prefer-256-bit", 512, True, (12, 6), 12),
        Path("avxvnni", ("avx2", "fma", "avxvnni"), "x86-64-v3", "+avxvnni", 256, True, (6,), 6),
        Path("avx2", ("avx2", "fma"), "x86-64-v3", "", 256, False, (6,), 6),
    )
}
"""From the fastest on."""


@cache
def runs_here(path: Path) -> bool:
    """Return whether this processor has the instructions."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    features = llvmlite.binding.get_host_cpu_features()
    return all(features.get(name) for name in path.needs)


def chosen() -> Path | None:
    """Return the path that kernels take: the fastest one, or the one that the environment names; None for none.

    Raises:
        SettingsError: the environment names a path that does not exist, or that this processor cannot run.
    """
    return _of(os.environ.get(VARIABLE, "auto"))


@cache
def _of(name: str) -> Path | None:
    if name == "none":
        return None
    if name == "auto":
        return next((path for path in PATHS.values() if runs_here(path)), None)
    if name not in PATHS:
        raise SettingsError(f"{VARIABLE} is {name!r}", f"It must be one of auto, none, {', '.join(PATHS)}")
    if not runs_here(PATHS[name]):
        here = ", ".join(path.name for path in PATHS.values() if runs_here(path)) or "none of the paths"
        raise SettingsError(
            f"{VARIABLE} is {name!r}, and this processor lacks {', '.join(PATHS[name].needs)} or one of these",
            f"It runs {here}: name one of them, or do not set the variable",
        )
    return PATHS[name]
