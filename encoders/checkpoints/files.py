"""The JSON files of a model folder, and the folders that they name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lexhound.encoders.errors import CheckpointError

OWN_FILE = "lexhound_encoder.json"
MODULES = "modules.json"


def read_json(path: Path) -> Any:
    """Return a JSON file's value; raises CheckpointError naming the file."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}", "Download the checkpoint again") from error


def read_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; raises CheckpointError."""
    values = read_json(path)
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} cannot be read: it is not an object", "Download the checkpoint again")
    return values


def inside(root: Path, folder: str, where: Path) -> str:
    """Return `folder` if it is one of `root`'s own; raises CheckpointError where the file `where` names another."""
    path = Path(folder)
    if path.is_absolute() or ".." in path.parts:
        raise CheckpointError(f"{where} names a folder outside of the checkpoint: {folder}", "Correct that file")
    if not (root / path).is_dir():
        raise CheckpointError(
            f"{where} names the folder {folder}, which does not exist", "Download the whole checkpoint"
        )
    return folder
