"""Metadata as filters see it: flat pairs of a field and one value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from .document import JSON

Value: TypeAlias = str | int | float


def flatten(metadata: Mapping[str, JSON]) -> list[tuple[str, Value]]:
    """Return the pairs (field, value) of a document's metadata, each once, in the order in which they are met.

    - Nested names are joined with dots: `{"author": {"name": "Lin"}}` gives `("author.name", "Lin")`.
    - Each element of a list is a value of the list's field; objects and lists in it are flattened likewise.
    - `true` and `false` are 1 and 0; null, empty lists and empty objects give nothing.
    - Values that compare equal are one value: of 1, 1.0 and true in one field, the first is kept.

    `metadata` must be valid (see `document.validate_metadata`), so the depth of the recursion is bounded.
    """
    pairs: dict[tuple[str, Value], None] = {}

    def visit(name: str, value: object) -> None:
        if isinstance(value, bool):
            pairs.setdefault((name, int(value)))
        elif isinstance(value, (str, int, float)):
            pairs.setdefault((name, value))
        elif isinstance(value, (list, tuple)):
            for item in value:
                visit(name, item)
        elif isinstance(value, Mapping):
            for key, item in value.items():
                visit(f"{name}.{key}", item)

    for key, value in metadata.items():
        visit(key, value)
    return list(pairs)
