"""Queries: TREC topics in their classic and their tab separated form, CSV and JSON Lines."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

from lexhound.core.arrow_files import TABLE_SUFFIXES
from lexhound.core.field_names import QUERY_ID, QUERY_TEXT, find_field, normalise
from lexhound.eval.errors import DatasetError
from lexhound.eval.files import TextFile

from .dataset import ProblemLog
from .fields import JSON_SUFFIXES, Row, as_id, json_row, read_rows

TOPIC_FIELDS = ("title", "desc", "narr")

Query = tuple[int, str | None, str]
"""Line number, id (None where there is none that could be one) and text of a query, as they are read."""

_TOP = re.compile(r"<top>(.*?)(?=</top>|<top>|\Z)", re.IGNORECASE | re.DOTALL)
# Classic topics do not close their tags: an element ends where any other begins, but for those that mark up words.
_TAG = re.compile(r"<(/?)([a-z][\w.-]*)(?:\s+[\w:.-]+\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s<>\"']+))*\s*/?>", re.IGNORECASE)
_INLINE = {"a", "b", "big", "br", "code", "em", "font", "i", "p", "small", "span", "strong", "sub", "sup", "tt", "u"}
_OTHER_MARKUP = ("<?xml", "<!doctype", "<topic>", "<topic ", "<topics", "<queries", "<query ", "<parameters")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_LABEL = re.compile(r"^\s*(?:Number|Topic|Description|Narrative)\s*:", re.IGNORECASE)


def read_queries(path: Path, broken: ProblemLog | None = None, *, topic_field: str = "title") -> dict[str, str]:
    """Return query id to text, in the order of the file; the format is told by the suffix and the content.

    - `.jsonl`, `.csv`, `.parquet`, `.arrow`: named columns (`_id` or `query_id`, and `text` or `query`).
    - `<top>` elements: classic TREC topics; `topic_field` says which part is the query.
    - anything else: a query id, a tab, the text; with a header line, the columns that it names.

    Lines without an id or a text, and ids met before, are logged in `broken` and left out.

    Raises:
        DatasetError: the file is missing, unreadable, cut short, not UTF-8 or holds no query.
    """
    log = ProblemLog() if broken is None else broken
    if not path.is_file():
        raise DatasetError(f"{path}: there is no such file of queries", "Check the path.")
    if topic_field not in TOPIC_FIELDS:
        raise DatasetError(f"there is no topic field {topic_field!r}", f"Choose {', '.join(TOPIC_FIELDS)}.")
    rows = each_query(TextFile.at(path), log, topic_field=topic_field)
    queries = {identifier: text for _, identifier, text in rows}
    if not queries:
        first = f" The first broken line: {log.shown[0]}" if log.shown else ""
        raise DatasetError(
            f"{path}: no queries could be read ({log.count:,} broken lines).{first}",
            "Give TREC topics, lines of id, tab and text, or CSV or JSON Lines with `id` and `text`.",
        )
    return queries


def each_query(
    file: TextFile, broken: ProblemLog, *, topic_field: str = "title", plain: bool = False
) -> Iterator[tuple[int, str, str]]:
    """Yield line numbers, ids and texts of queries as `read_queries` has them, one at a time.

    With `plain`, a query may be empty, a line without a tab is one too, and its number the id; so is that of a JSON row
    without an id, unless it has a field that may be one.
    """
    seen: set[str] = set()
    for number, identifier, text in _read(file, broken, topic_field, plain):
        if identifier is None:
            broken.add(file.name, number, "the query id is empty or holds a control character")
        elif not (plain or text.strip()):
            broken.add(file.name, number, f"query {identifier!r} has no text")
        elif identifier in seen:
            broken.add(file.name, number, f"query id {identifier!r} was there before")
        else:
            seen.add(identifier)
            yield number, identifier, text.strip()


def _read(file: TextFile, broken: ProblemLog, topic_field: str, plain: bool) -> Iterator[Query]:
    if file.suffix == ".csv" or file.suffix in TABLE_SUFFIXES or (file.suffix in JSON_SUFFIXES and not plain):
        for number, row in read_rows(file, broken):
            yield from _named(file, number, row, broken, plain=plain and file.suffix in TABLE_SUFFIXES)
        return
    lines = file.lines()
    start: list[tuple[int, str]] = list(islice(lines, 1 if plain else None))
    if any(line.lstrip().lower().startswith("<top>") for _, line in start):
        yield from _read_topics(file, _one_text(chain(start, lines)), topic_field, broken)
    elif start and start[0][1].lstrip().lower().startswith(_OTHER_MARKUP):
        raise DatasetError(
            f"{file.name}, line {start[0][0]}: marked up, but not with the <top> of TREC topics",
            "Give TREC topics, lines of id, tab and text, or CSV or JSON Lines with `id` and `text`.",
        )
    else:
        yield from _read_lines(file, chain(start, lines), broken, plain)


def _one_text(lines: Iterable[tuple[int, str]]) -> str:
    """Return the lines in one text, each on the line of its number."""
    parts: list[str] = []
    for number, line in lines:
        parts += [""] * (number - 1 - len(parts))
        parts.append(line)
    return "\n".join(parts)


def _named(file: TextFile, number: int, row: Row, broken: ProblemLog, *, plain: bool) -> Iterator[Query]:
    identifier = find_field(row, QUERY_ID)
    text = find_field(row, QUERY_TEXT)
    if text is None or not isinstance(row[text], str):
        broken.add(file.name, number, f"no query: none of {', '.join(QUERY_TEXT)} holds a text")
    elif identifier is not None and row[identifier] is not None:
        yield number, as_id(row[identifier]), row[text]
    elif plain and not any(name.endswith(("id", "no", "key")) for name in row if row[name] is not None):
        yield number, str(number), row[text]
    else:
        broken.add(file.name, number, f"no id: none of {', '.join(QUERY_ID)} is among {', '.join(row)}")


def _read_lines(file: TextFile, lines: Iterable[tuple[int, str]], broken: ProblemLog, plain: bool) -> Iterator[Query]:
    """Yield lines of columns separated by tabs; a line that begins with a brace is a JSON object."""
    first = True
    header: list[str] = []
    columns = 0, 1
    for number, line in lines:
        if line.lstrip().startswith("{"):
            row = json_row(line)
            if isinstance(row, str):
                broken.add(file.name, number, row)
            else:
                yield from _named(file, number, row, broken, plain=plain)
            continue
        cells = line.split("\t")
        if first:
            first = False
            header = [normalise(cell) for cell in cells]
            named = _columns(file, number, header)
            if named is not None:
                columns = named
                continue
            header = []
        if len(cells) == 1:
            if plain and file.suffix != ".tsv" and not header:
                yield number, str(number), line
            else:
                broken.add(file.name, number, "no tab between the query id and its text")
        elif not header:
            yield number, as_id(cells[0]), "\t".join(cells[1:])
        elif len(cells) > len(header) and columns[1] == len(header) - 1:
            yield number, as_id(cells[columns[0]]), "\t".join(cells[columns[1] :])  # the text holds tabs
        elif len(cells) != len(header):
            broken.add(file.name, number, f"{len(cells)} fields where the header has {len(header)}")
        else:
            yield number, as_id(cells[columns[0]]), cells[columns[1]]


def _columns(file: TextFile, number: int, names: list[str]) -> tuple[int, int] | None:
    """Return where a header line has the id and the text; None if it is none: it begins with a name of ids, or names
    both.
    """
    if len(names) < 2:
        return None
    identifier, text = find_field(names, QUERY_ID), find_field(names, QUERY_TEXT)
    if identifier is None or (text is None and names[0] not in QUERY_ID):
        return None
    column = names.index(identifier)
    if text is not None:
        return column, names.index(text)
    if len(names) > 2:
        raise DatasetError(
            f"{file.name}, line {number}: the header names no column for the text; found: {', '.join(names)}",
            f"Call it {' or '.join(QUERY_TEXT[:3])}.",
        )
    return column, 1 - column


def _read_topics(file: TextFile, text: str, topic_field: str, broken: ProblemLog) -> Iterator[Query]:
    text = _COMMENT.sub(lambda match: "\n" * match[0].count("\n"), text)
    for topic in _TOP.finditer(text):
        number = text.count("\n", 0, topic.start()) + 1
        fields: dict[str, list[str]] = {}
        for name, content in _elements(topic[1]):
            fields.setdefault(name, []).append(content)
        twice = next((name for name in ("num", topic_field) if len(fields.get(name, ())) > 1), None)
        if twice is not None:
            broken.add(file.name, number, f"the topic has more than one <{twice}>")
        else:
            topic_id, topic_text = ("".join(fields.get(name, ())) for name in ("num", topic_field))
            yield number, as_id(topic_id), topic_text


def _elements(topic: str) -> Iterator[tuple[str, str]]:
    """Name (lower case) and text of each element of a topic."""
    tags = [tag for tag in _TAG.finditer(topic) if tag[2].lower() not in _INLINE]
    for position, tag in enumerate(tags):
        if not tag[1]:
            end = tags[position + 1].start() if position + 1 < len(tags) else len(topic)
            yield tag[2].lower(), _clean(topic[tag.end() : end])


def _clean(text: str) -> str:
    return " ".join(html.unescape(_TAG.sub(" ", _LABEL.sub("", text))).split())
