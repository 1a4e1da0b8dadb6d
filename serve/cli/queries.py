"""Files of many queries: JSON Lines as BEIR writes them, or a text a line."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import orjson

from ...encoders.strict_json import json_fault, parse_json
from ...retrieval.errors import QueryError
from ...retrieval.search import MAX_QUERY_CHARACTERS

Named = tuple[str, str]  # id, text

_ID_FIELDS = ("_id", "id", "query_id", "qid")
_TEXT_FIELDS = ("text", "query", "title")
_HINT = 'write one query a line, as {"id": "1", "text": "..."} or as plain text'


def read_queries(path: Path) -> Iterator[Named]:
    """The queries of a file, or of standard input for `-`; a plain line's id is its number.

    Raises:
        QueryError: a line is no query; says which.
        OSError: the file cannot be read.
    """
    if str(path) == "-":
        yield from _read(sys.stdin.buffer, "standard input")
        return
    with path.open("rb") as file:
        yield from _read(file, str(path))


def batches_of(queries: Iterable[Named], size: int) -> Iterator[list[Named]]:
    """The queries in lists of at most `size`."""
    iterator = iter(queries)
    while batch := list(islice(iterator, size)):
        yield batch


def _read(file: BinaryIO, name: str) -> Iterator[Named]:
    for number, raw in enumerate(file, 1):
        where = f"{name}, line {number}"
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            raise QueryError("not UTF-8", where=where, hint="convert the file to UTF-8") from error
        if not line:
            continue
        identifier, text = _parse(line, where) if line.startswith("{") else (None, line)
        if len(text) > MAX_QUERY_CHARACTERS:
            raise QueryError(
                f"the query has {len(text):,} characters; at most {MAX_QUERY_CHARACTERS:,} are allowed",
                where=where,
                hint="shorten the query",
            )
        yield str(number) if identifier is None else identifier, text


def _parse(line: str, where: str) -> tuple[str | None, str]:
    try:
        values = parse_json(line.encode())
    except orjson.JSONDecodeError as error:
        raise QueryError(json_fault(error), where=where, hint=_HINT) from error
    text = next((values[name] for name in _TEXT_FIELDS if name in values), None)
    if not isinstance(text, str):
        raise QueryError(f"no query: none of {', '.join(_TEXT_FIELDS)} holds a text", where=where, hint=_HINT)
    identifier = next((values[name] for name in _ID_FIELDS if name in values), None)
    return None if identifier is None else str(identifier), text
