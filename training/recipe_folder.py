"""What recipes of all kinds have in common: the folder in which they lie, and what identifies a run."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any


class InFolder:
    """A recipe, a dataclass, whose paths are read from where it lies.

    Attributes:
        folder: where it lies.
    """

    __slots__ = ()

    folder: str

    def path(self, name: str) -> Path:
        """Return a path of the recipe, from where the recipe lies."""
        return Path(self.folder) / name

    def model_path(self, name: str) -> str:
        """Return a folder of the recipe, or the name as it is where there is no such folder: a hub's."""
        path = self.path(name)
        return str(path) if path.is_dir() else name

    def as_dict(self) -> dict[str, Any]:
        """Return what identifies the run, as plain values: everything but where the recipe lies."""
        values = asdict(self)  # type: ignore[call-overload]
        del values["folder"]
        return dict(values)
