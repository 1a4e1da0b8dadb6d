"""Whether a collection can be searched."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a collection can be searched now, and if not, why; `engine` is its name and version."""

    ready: bool
    engine: str
    message: str = ""
