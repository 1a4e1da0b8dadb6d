"""What commands print: results on standard output, everything else on standard error.

Every text passes `harmless` on its way out, so that no control character of a document, an id or a file name reaches a
terminal. Colours come from rich and only where standard output is a terminal; a pipe gets plain text, never wrapped.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TextIO

from lexhound.core.errors import as_sentence

if TYPE_CHECKING:
    from rich.console import Console

# (text, style); the style is one that rich knows, or empty.
Segment = tuple[str, str]

_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def harmless(text: str) -> str:
    """Return `text` without anything that a terminal obeys but line breaks; one U+FFFD for each such character."""
    return _CONTROL.sub("\ufffd", text)


def is_terminal(stream: TextIO) -> bool:
    """Return whether a person with a terminal that can move its cursor is at the other end."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


class Output:
    """Where one command's words go.

    Args:
        json: whether standard output is to hold JSON and nothing else.
    """

    def __init__(self, *, json: bool) -> None:
        self.json = json
        self.on_terminal = is_terminal(sys.stdout)

    @cached_property
    def _console(self) -> Console:
        from rich.console import Console

        return Console(file=sys.stdout, highlight=False, markup=False, emoji=False, soft_wrap=False)

    def line(self, *segments: str | Segment, indent: int = 0) -> None:
        """Print a line of the result; on a terminal, long lines are wrapped and keep their indentation."""
        pairs = [(segment, "") if isinstance(segment, str) else segment for segment in segments]
        if not self.on_terminal:
            sys.stdout.write(" " * indent + harmless("".join(text for text, _ in pairs)) + "\n")
            return
        from rich.padding import Padding
        from rich.text import Text

        text = Text.assemble(*((harmless(text), style) for text, style in pairs))
        self._console.print(Padding(text, (0, 0, 0, indent), expand=False) if indent else text)

    def table(self, rows: Sequence[tuple[str, str]], *, indent: int = 0) -> None:
        """Print names and values in two columns."""
        width = max((len(name) for name, _ in rows), default=0)
        for name, value in rows:
            self.line((f"{name:<{width}}", "dim"), f"  {value}", indent=indent)

    def columns(self, head: Sequence[str], rows: Sequence[Sequence[str]], *, indent: int = 0) -> None:
        """Print a table: the first column to the left, figures to the right."""
        widths = [max(len(cells[column]) for cells in [head, *rows]) for column in range(len(head))]
        for number, cells in enumerate([head, *rows]):
            aligned = [
                f"{cell:<{width}}" if column == 0 else f"{cell:>{width}}"
                for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
            ]
            self.line(("  ".join(aligned).rstrip(), "" if number else "dim"), indent=indent)

    def row(self, *cells: str) -> None:
        """Print cells separated by tabs, for other programs; the cells themselves hold none."""
        sys.stdout.write("\t".join(harmless(cell).replace("\n", "\ufffd") for cell in cells) + "\n")

    def document(self, value: Any) -> None:
        """Print one JSON document: indented for a person, on one line for a program."""
        import orjson

        option = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
        if self.on_terminal:
            option |= orjson.OPT_INDENT_2
        sys.stdout.flush()
        sys.stdout.buffer.write(orjson.dumps(value, option=option, default=str) + b"\n")

    def json_line(self, value: Any) -> None:
        """Print one line of JSON Lines."""
        import orjson

        sys.stdout.buffer.write(orjson.dumps(value) + b"\n")

    def note(self, text: str) -> None:
        """Tell something that is no part of the result, on standard error."""
        tell(text)


def tell(text: str) -> None:
    """Write a line to standard error; a closed standard error is no reason to stop working."""
    try:
        sys.stderr.write(harmless(text) + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        return


def tell_failure(message: str, where: str | None, hint: str | None, *, label: str = "error") -> None:
    """Tell what went wrong, where, and what to do, on standard error."""
    head = f"{label}:"
    if is_terminal(sys.stderr) and not os.environ.get("NO_COLOR"):
        sys.stderr.write("\x1b[1;31m")
        sys.stderr.write(head)
        sys.stderr.write("\x1b[0m ")
        tell(message)
    else:
        tell(f"{head} {message}")
    if where:
        tell(f"  where: {where}")
    if hint:
        # Without the last full stop: hints often end with a command to copy.
        tell(f"  hint: {as_sentence(hint).removesuffix('.')}")
