"""Queries: TREC topics in their classic and their tab separated form, CSV and JSON Lines."""

from __future__ import annotations

import html
import re
from pathlib import Path

from ..errors import DatasetError
from ..files import numbered_lines, open_text, plain_suffix
from .dataset import ProblemLog
from .fields import QUERY_ID, QUERY_TEXT, as_id, find_field, read_rows

TOPIC_FIELDS = ("title", "desc", "narr")

_TOP = re.compile(r"<top>(.*?)</top>", re.IGNORECASE | re.DOTALL)
# Classic topics do not close their tags: a field ends where the next one starts.
_FIELD = re.compile(r"<(num|title|desc|narr)>(.*?)(?=<(?:num|title|desc|narr|/top)>|\Z)", re.I | re.S)
_LABEL = re.compile(r"^\s*(?:Number|Topic|Description|Narrative)\s*:", re.IGNORECASE)
_TAG = re.compile(r"</?[a-z][^>]*>", re.IGNORECASE)


def read_queries(path: Path, broken: ProblemLog | None = None, *, topic_field: str = "title") -> dict[str, str]:
    """Query id to text, in the order of the file; the format is told by the suffix and the content.

    - `.jsonl`, `.csv`: named columns (`_id` or `query_id`, and `text` or `query`).
    - `<top>` elements: classic TREC topics; `topic_field` says which part is the query.
    - anything else: a query id, a tab, the text.

    Lines without an id or a text, and ids met before, are logged in `broken` and left out.

    Raises:
        DatasetError: the file is missing, unreadable or holds no query.
    """
    log = ProblemLog() if broken is None else broken
    if not path.is_file():
        raise DatasetError(f"{path}: there is no such file of queries", "Check the path.")
    if topic_field not in TOPIC_FIELDS:
        raise DatasetError(f"there is no topic field {topic_field!r}", f"Choose {', '.join(TOPIC_FIELDS)}.")
    if plain_suffix(path) in (".csv", ".jsonl", ".ndjson", ".json"):
        queries = _read_named(path, log)
    else:
        with open_text(path) as stream:
            text = stream.read()
        queries = _read_topics(path, text, topic_field, log) if "<top>" in text.lower() else _read_tabs(path, log)
    if not queries:
        first = f" The first broken line: {log.shown[0]}" if log.shown else ""
        raise DatasetError(
            f"{path}: no queries could be read ({log.count:,} broken lines).{first}",
            "Give TREC topics, lines of id, tab and text, or CSV or JSON Lines with `id` and `text`.",
        )
    return queries


def _read_named(path: Path, broken: ProblemLog) -> dict[str, str]:
    queries: dict[str, str] = {}
    for number, row in read_rows(path, broken):
        identifier = find_field(row, ("_id", "id", *QUERY_ID))
        text = find_field(row, tuple(name for name in QUERY_TEXT if name != identifier))
        if identifier is None or text is None:
            broken.add(path, number, "no id or no text")
        else:
            value = row[text]
            _add(queries, path, number, broken, as_id(row[identifier]), value if isinstance(value, str) else "")
    return queries


def _read_tabs(path: Path, broken: ProblemLog) -> dict[str, str]:
    queries: dict[str, str] = {}
    for index, (number, line) in enumerate(numbered_lines(path)):
        identifier, tab, text = line.partition("\t")
        if index == 0 and identifier.strip().lower().replace("-", "_") in (*QUERY_ID, "_id", "id"):
            continue
        if tab:
            _add(queries, path, number, broken, as_id(identifier), text)
        else:
            broken.add(path, number, "no tab between the query id and its text")
    return queries


def _read_topics(path: Path, text: str, topic_field: str, broken: ProblemLog) -> dict[str, str]:
    queries: dict[str, str] = {}
    for topic in _TOP.finditer(text):
        number = text.count("\n", 0, topic.start()) + 1
        fields = {match[1].lower(): _clean(match[2]) for match in _FIELD.finditer(topic[1])}
        _add(queries, path, number, broken, as_id(fields.get("num", "")), fields.get(topic_field, ""))
    return queries


def _clean(text: str) -> str:
    return " ".join(html.unescape(_TAG.sub(" ", _LABEL.sub("", text))).split())


def _add(
    queries: dict[str, str], path: Path, number: int, broken: ProblemLog, identifier: str | None, text: str
) -> None:
    if identifier is None:
        broken.add(path, number, "the query id is empty or holds white space")
    elif not text.strip():
        broken.add(path, number, f"query {identifier!r} has no text")
    elif identifier in queries:
        broken.add(path, number, f"query id {identifier!r} was there before")
    else:
        queries[identifier] = text.strip()
