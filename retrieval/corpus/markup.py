"""The readable text and the title of plain text and HTML files, and the characters of all files."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field

from lexhound.core.rows import RowError
from lexhound.retrieval.documents.document import JSON


@dataclass(frozen=True, slots=True)
class Extracted:
    """What a file says: title (empty if it has none), text, and metadata (from a Markdown file's front matter)."""

    title: str
    text: str
    metadata: dict[str, JSON] = field(default_factory=dict)


class FrontMatterError(RowError):
    """A Markdown file's front matter cannot be read; `line` counts from 1 in the whole file."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


def decode(content: bytes, *, html: bool = False) -> str:
    """Return the text of a file: UTF-8, UTF-16 with a byte order mark, or what an HTML file declares.

    Raises `UnicodeDecodeError`.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        declared = re.search(rb"""charset\s*=\s*["']?([A-Za-z0-9_:.-]+)""", content[:2048]) if html else None
        if declared is None:
            raise
        try:
            return content.decode(declared[1].decode())
        except LookupError:
            pass
        raise


def plain(text: str) -> Extracted:
    """Return a text file has no title of its own."""
    return Extracted("", text.strip())


# Block-level elements end a line; inline ones ("H<sub>2</sub>O") must not even make a blank.
_BLOCKS = (
    "address,article,aside,blockquote,br,caption,dd,details,dialog,div,dl,dt,fieldset,figcaption,figure,footer,form,"
    "h1,h2,h3,h4,h5,h6,header,hr,li,main,ol,option,p,pre,section,summary,table,td,th,tr,ul"
)
_UNREAD = "script,style,noscript,template,nav,svg,iframe,object,head"


def html(markup: str) -> Extracted:
    """Return the text of an HTML page without scripts, styles and navigation; the title is its <title> or first
    <h1>.
    """
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(markup)
    body = tree.body
    named = tree.css_first("head > title")
    title = _one_line(named.text()) if named is not None else ""
    if body is None:
        return Extracted(title, "")
    for node in body.css(_UNREAD):
        node.decompose()
    if not title:
        heading = body.css_first("h1")
        if heading is not None:
            title = _one_line(heading.text())
            heading.decompose()
    for node in body.css(_BLOCKS):
        node.insert_before("\n")
        node.insert_after("\n")
    lines = (_one_line(line) for line in body.text(separator="").split("\n"))
    return Extracted(title, "\n".join(line for line in lines if line))


def _one_line(text: str) -> str:
    return " ".join(text.split())
