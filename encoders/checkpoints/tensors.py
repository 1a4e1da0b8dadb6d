"""Weight files as NumPy arrays: safetensors without torch, the older pickled files with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors import SafetensorError

from lexhound.core.errors import first_line
from lexhound.core.extras import extra
from lexhound.encoders.errors import CheckpointError

from .hub import weight_files

Arrays = dict[str, NDArray[np.float32]]


def read_weights_of(folder: Path, name_parts: tuple[str, ...] = ("",)) -> Arrays:
    """Return the floating-point tensors of a folder's weight files whose names contain one of `name_parts`.

    Raises:
        CheckpointError: a file cannot be read.
        MissingExtraError: the files are pickled ones, and torch is not installed.
    """
    arrays: Arrays = {}
    for path in weight_files(folder):
        if path.suffix != ".json":
            arrays |= read_arrays(path, name_parts)
    return arrays


def read_arrays(path: Path, name_parts: tuple[str, ...] = ("",)) -> Arrays:
    """Return such tensors of one file as float32, by name; raises as `read_weights_of` does."""

    def is_wanted(name: str) -> bool:
        return any(part in name for part in name_parts)

    read = _safetensors if path.suffix == ".safetensors" else _pickled
    try:
        return dict(read(path, is_wanted))
    except (OSError, RuntimeError, ValueError, EOFError, AttributeError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {first_line(error)}", "Download it again") from error


def _safetensors(path: Path, is_wanted: Callable[[str], bool]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    with safetensors.safe_open(path, framework="numpy") as file:
        names = [name for name in file.keys() if is_wanted(name)]  # noqa: SIM118
        kinds = {name: file.get_slice(name).get_dtype() for name in names}
        for name in names:
            if kinds[name] in ("F16", "F32", "F64"):
                yield name, file.get_tensor(name).astype(np.float32, copy=False)
    if "BF16" in kinds.values():  # which NumPy does not know: the upper half of a float32
        for name, tensor in safetensors.deserialize(path.read_bytes()):  # type: ignore[no-untyped-call]
            if tensor["dtype"] == "BF16" and is_wanted(name):
                halves = np.frombuffer(tensor["data"], dtype="<u2").astype(np.uint32)
                yield name, (halves << 16).view(np.float32).reshape(tensor["shape"])


def _pickled(path: Path, is_wanted: Callable[[str], bool]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    with extra("neural", f"reading {path}"):
        import torch
    tensors: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and is_wanted(name):
            yield name, tensor.float().numpy()
