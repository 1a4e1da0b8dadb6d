"""HTML pages from Jinja2 templates, with every value escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

# HTML forbids control characters; each becomes a replacement character.
_FORBIDDEN = {code: "\ufffd" for code in range(32) if chr(code) not in "\n\t"}


def template_environment(folder: Path) -> Environment:
    """Return an environment for the templates in a folder: values are escaped, an unknown name is an error."""
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )


def render_page(environment: Environment, template: str, **values: Any) -> str:
    """Return the page that a template makes of the values, as text that UTF-8 can hold."""
    return printable(environment.get_template(template).render(**values))


def printable(text: str) -> str:
    """Return a text without control characters that HTML forbids and without lone surrogates."""
    return text.translate(_FORBIDDEN).encode("utf-8", "replace").decode("utf-8")
