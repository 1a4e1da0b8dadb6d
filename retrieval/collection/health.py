"""Whether a collection can be searched."""

from __future__ import annotations

from dataclasses import dataclass

from lexhound.retrieval.collection.fields.opening import VERSION

ENGINE = f"lexhound {VERSION}"


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a collection can be searched now, and if not, why; `engine` is its name and version."""

    ready: bool
    engine: str
    message: str = ""
