"""Encoders that come with the package, found by name alone: no download, no path that a move would break."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).resolve().parents[1] / "models"

MINI = "lexhound-mini"
DEFAULT = "default"
"""What a person says who leaves the choice of a learned encoder to us: `MINI`."""


def bundled_names() -> tuple[str, ...]:
    """Return the names of the encoders that this installation brings."""
    return tuple(sorted(path.name for path in _FOLDER.iterdir() if path.is_dir())) if _FOLDER.is_dir() else ()


def bundled_folder(name: str) -> Path | None:
    """Return the folder of a bundled encoder, or None where there is none of that name."""
    return _FOLDER / name if name in bundled_names() else None
