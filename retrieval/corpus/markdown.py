"""The text, title and metadata of a Markdown file: CommonMark with tables, below YAML front matter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from .front_matter import read_front_matter
from .markup import Extracted, html

_MAX_NESTING = 100
_MAX_INLINE_NESTING = 10  # links in links: what a run of brackets costs grows with it
_BREAK = ("<br>", "<br/>", "<br />")

Block = tuple[str, bool, int, int]
"""Text, whether it is a heading, and the lines of the source: the first one, and the one after the last."""


def markdown(source: str) -> Extracted:
    """Return what a Markdown file says.

    The title is that of the front matter, or else the first heading, which is then left out of the text. The other
    fields of the front matter become metadata. Markers of lists, line breaks and blank lines between blocks stay;
    link targets, HTML tags and comments go; code keeps its lines. Blocks nested deeper than 100 levels are left out.

    Raises:
        FrontMatterError: the front matter is malformed.
    """
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    metadata, start = read_front_matter(source)
    title = _one_line(str(named)) if isinstance(named := metadata.get("title"), str | int | float) else ""
    if title:
        del metadata["title"]
    heading = ""
    text: list[str] = []
    end = 0
    references: dict[str, Any] = {}
    tokens = _block_parser().parse(source[start:], references)
    for block, is_heading, first, after in _blocks(tokens, references):
        if is_heading and not (title or heading):
            heading = _one_line(block)
            continue
        if block.strip():
            text += ["\n\n" if first > end else "\n", block]
        end = after
    return Extracted(title or heading, "".join(text).strip(), metadata)


@cache
def _block_parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"maxNesting": _MAX_NESTING}).enable("table")
    return parser.disable(["inline", "text_join"])


@cache
def _inline_parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"maxNesting": _MAX_INLINE_NESTING}).enable("strikethrough")


def _blocks(tokens: Sequence[Token], references: dict[str, Any]) -> Iterator[Block]:
    heading = False
    depth = 0
    marker = ""
    cells: list[str] | None = None
    for token in tokens:
        first, after = token.map or (0, 0)
        if token.type in ("bullet_list_open", "ordered_list_open"):
            depth += 1
        elif token.type in ("bullet_list_close", "ordered_list_close"):
            depth -= 1
        elif token.type == "list_item_open":
            marker = f"{'  ' * (depth - 1)}{token.info}{token.markup} "
        elif token.type in ("heading_open", "heading_close"):
            heading = token.type == "heading_open"
        elif token.type == "tr_open":
            cells = []
        elif token.type == "inline" and cells is not None:
            cells.append(_text(token, references))
            row = first
        elif token.type == "tr_close" and cells is not None:
            yield " | ".join(cells), False, row, row + 1
            cells = None
        elif token.type == "thead_close":  # a line of dashes follows
            yield "", False, row + 1, row + 2
        elif token.type in ("inline", "fence", "code_block", "html_block"):
            yield marker + _text(token, references), heading, first, after
            marker = ""


def _text(token: Token, references: dict[str, Any]) -> str:
    if token.type == "inline":
        (parsed,) = _inline_parser().parseInline(token.content, references)
        return _inline(parsed.children or ())
    return html(token.content).text if token.type == "html_block" else token.content.rstrip("\n")


def _inline(tokens: Sequence[Token]) -> str:
    parts = []
    for token in tokens:
        if token.type in ("softbreak", "hardbreak") or (
            token.type == "html_inline" and token.content.lower() in _BREAK
        ):
            parts.append("\n")
        elif token.type == "image":
            parts.append(_inline(token.children or ()))
        elif token.type in ("text", "text_special", "code_inline"):
            parts.append(token.content)
    return "".join(parts)


def _one_line(text: str) -> str:
    return " ".join(text.split())
