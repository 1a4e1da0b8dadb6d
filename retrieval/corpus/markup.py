"""The readable text and the title of plain text, Markdown and HTML files."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from typing import Any

from lexhound.retrieval.documents.document import JSON


@dataclass(frozen=True, slots=True)
class Extracted:
    """What a file says: title (empty if it has none), text, and metadata (from a Markdown file's front matter)."""

    title: str
    text: str
    metadata: dict[str, JSON] = field(default_factory=dict)


def decode(content: bytes, *, html: bool = False) -> str:
    """The text of a file: UTF-8, UTF-16 with a byte order mark, or what an HTML file declares.

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
    """A text file has no title of its own."""
    return Extracted("", text.strip())


# Block-level elements end a line; inline ones ("H<sub>2</sub>O") must not even make a blank.
_BLOCKS = (
    "address,article,aside,blockquote,br,caption,dd,details,dialog,div,dl,dt,fieldset,figcaption,figure,footer,form,"
    "h1,h2,h3,h4,h5,h6,header,hr,li,main,ol,option,p,pre,section,summary,table,td,th,tr,ul"
)
_UNREAD = "script,style,noscript,template,nav,svg,iframe,object,head"


def html(markup: str) -> Extracted:
    """The text of an HTML page without scripts, styles and navigation; the title is its <title> or first <h1>."""
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


_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ATX = re.compile(r" {0,3}#{1,6}(?:[ \t](.*))?")
_CLOSING = re.compile(r"(?:^|(?<=[ \t]))#+$")
_UNDERLINE = re.compile(r" {0,3}(?:=+|-{2,})[ \t]*")
_RULE = re.compile(r" {0,3}(?:(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|(?:-[ \t]*){3,})")
_DEFINITION = re.compile(r" {0,3}\[[^\]]{1,200}\]:[ \t]+\S.*")
_QUOTE = re.compile(r"(?: {0,3}> ?)+")
_INLINE = (
    (re.compile(r"!\[([^\[\]]*)\]\([^()\s]*(?:[ \t]+[\"'][^\"']*[\"'])?\)"), r"\1"),  # images
    (re.compile(r"\[([^\[\]]+)\]\([^()\s]*(?:[ \t]+[\"'][^\"']*[\"'])?\)"), r"\1"),  # links
    (re.compile(r"\[([^\[\]]+)\]\[[^\[\]]*\]"), r"\1"),  # links by reference
    (re.compile(r"<((?:https?://|mailto:)[^<>\s]+)>"), r"\1"),  # bare links
    (re.compile(r"(?<![\w*])(\*{1,3})(?=[^\s*])([^*]*[^\s*])\1(?![\w*])"), r"\2"),  # emphasis
    (re.compile(r"(?<![\w_])(_{1,3})(?=[^\s_])([^_]*[^\s_])\1(?![\w_])"), r"\2"),
    (re.compile(r"(?<!`)`+([^`]+)`+"), r"\1"),  # code
)


def markdown(text: str) -> Extracted:
    """The text of a Markdown file, lightly stripped: the words and the line breaks stay, most marks go.

    The title is the first heading (`# ...` or underlined), which is then left out of the text, or the `title` of the
    front matter. Front matter of plain `name: value` lines becomes metadata; any other front matter is left out.
    Code keeps its lines as they are. This is for reading and searching, not a full parse of the language.
    """
    matter, lines = _front_matter(text.splitlines())
    named = matter.pop("title", "")
    title = ""
    kept: list[str] = []
    fence = ""
    for line in lines:
        opening = _FENCE.match(line)
        if opening and (not fence or opening[1].startswith(fence)):
            fence = "" if fence else opening[1]
            continue
        if fence:
            kept.append(line)
            continue
        line = _QUOTE.sub("", line, count=1) if _QUOTE.match(line) else line
        heading = _ATX.fullmatch(line)
        if heading:
            line = _inline(_CLOSING.sub("", (heading[1] or "").strip()))
            if not title and line:
                title = line
                continue
        elif _UNDERLINE.fullmatch(line) and kept and kept[-1].strip():
            if not title:
                title = kept.pop().strip()
            continue
        elif _RULE.fullmatch(line) or _DEFINITION.fullmatch(line):
            continue
        else:
            line = _inline(line)
        kept.append(line)
    body = re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in kept)).strip()
    return Extracted(str(named) or title, f"{title}\n\n{body}".strip() if named and title else body, matter)


def _inline(line: str) -> str:
    for pattern, replacement in _INLINE:
        line = pattern.sub(replacement, line)
    return line.strip() if not line.startswith((" ", "\t")) else line.rstrip()


_MATTER_LINE = re.compile(r"([A-Za-z_][\w-]*):[ \t]+(\S.*)")


def _front_matter(lines: list[str]) -> tuple[dict[str, Any], list[str]]:
    """The metadata between two `---` lines at the top, and the lines after it."""
    if not lines or lines[0].rstrip() != "---":
        return {}, lines
    end = next((at for at, line in enumerate(lines[1:], 1) if line.rstrip() in {"---", "..."}), None)
    if end is None:
        return {}, lines
    found: dict[str, Any] = {}
    for line in lines[1:end]:
        if not line.strip() or line.startswith("#"):
            continue
        match = _MATTER_LINE.fullmatch(line.rstrip())
        # Lists, nested entries, anchors and block texts are YAML proper: then none of it is taken.
        if match is None or match[2][0] in "[{&*|>!%@`":
            return {}, lines[end + 1 :]
        value = match[2]
        if value[0] in "\"'" and value[-1] == value[0] and len(value) > 1:
            found[match[1]] = value[1:-1]
        else:
            found[match[1]] = int(value) if re.fullmatch(r"0|-?[1-9][0-9]{0,17}", value) else value
    return found, lines[end + 1 :]


def _one_line(text: str) -> str:
    return " ".join(text.split())
