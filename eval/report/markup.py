"""SVG elements put together from values: every text is escaped unless it is markup already."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias, Union

import markupsafe
from markupsafe import Markup

from lexhound.core.templates import printable

Child: TypeAlias = Union[str, int, float, "Iterable[Child]", None]

# Elements that are never closed.
_VOID = frozenset({"meta", "br", "hr", "input", "col"})


def escape(text: str) -> Markup:
    """Return a text as HTML that is also safe inside a quoted attribute; see `printable` for what HTML forbids."""
    return markupsafe.escape(printable(text))


def join(*children: Child) -> Markup:
    """Return children one after another; None is nothing, an iterable is its members."""
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Markup):
            parts.append(child)
        elif isinstance(child, str):
            parts.append(escape(child))
        elif isinstance(child, (int, float)):
            parts.append(str(child))
        else:
            parts.append(join(*child))
    return Markup("".join(parts))  # noqa: S704  each part is markup


def tag(name: str, /, *children: Child, **attributes: str | int | float | bool | None) -> Markup:
    """Return an element. Attribute names: `_` becomes `-`, a `_` at the end is dropped (`class_`).

    An attribute of None or False is left out, one of True stands without a value.
    """
    written = []
    for key, value in attributes.items():
        attribute = key.rstrip("_").replace("_", "-")
        # SVG keeps its capital letters.
        attribute = {"viewbox": "viewBox"}.get(attribute, attribute)
        if value is True:
            written.append(f" {attribute}")
        elif value is not None and value is not False:
            written.append(f' {attribute}="{escape(str(value))}"')
    opening = f"<{name}{''.join(written)}>"
    closing = "" if name in _VOID else f"{join(*children)}</{name}>"
    return Markup(opening + closing)  # noqa: S704  values are escaped above
