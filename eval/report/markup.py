"""HTML put together from values: every text is escaped unless it is markup already."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TypeAlias, Union


class Markup(str):
    """Text that is HTML already. Only this module and constants of ours make it."""

    __slots__ = ()


Child: TypeAlias = Union[str, int, float, "Iterable[Child]", None]

# Elements that are never closed.
_VOID = frozenset({"meta", "br", "hr", "input", "col"})


def escape(text: str) -> Markup:
    """Text as HTML: also safe inside a quoted attribute.

    Control characters that HTML forbids become replacement characters.
    """
    clean = "".join(character if character >= " " or character in "\n\t" else "\ufffd" for character in text)
    return Markup(html.escape(clean.encode("utf-8", "replace").decode("utf-8"), quote=True))


def join(*children: Child) -> Markup:
    """Children one after another; None is nothing, an iterable is its members."""
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
    return Markup("".join(parts))


def tag(name: str, /, *children: Child, **attributes: str | int | float | bool | None) -> Markup:
    """An element. Attribute names: `_` becomes `-`, a `_` at the end is dropped (`class_`).

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
    if name in _VOID:
        return Markup(opening)
    return Markup(f"{opening}{join(*children)}</{name}>")
