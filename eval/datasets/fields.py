"""The names under which people keep query ids, texts, document ids and relevance in tables."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from ...encoders.strict_json import json_fault, parse_json
from ..errors import DatasetError
from ..files import numbered_lines, open_text, plain_suffix
from .dataset import ProblemLog

# Compared in lower case with `-` and spaces as `_`; the first that is present is taken.
QUERY_ID = ("query_id", "queryid", "qid", "topic_id", "topic")
QUERY_TEXT = ("query", "query_text", "text", "question", "title")
DOCUMENT_ID = ("corpus_id", "document_id", "documentid", "doc_id", "docid", "docno", "document", "doc", "did")
RELEVANCE = ("score", "relevance", "rel", "grade", "label", "judgment", "judgement", "relevant")

Row = Mapping[str, Any]


def normalise(name: str) -> str:
    """A column's name as it is compared."""
    return name.strip().lower().replace("-", "_").replace(" ", "_")


def find_field(row: Iterable[str], names: tuple[str, ...]) -> str | None:
    """The first of `names` among a row's (normalised) fields."""
    present = set(row)
    return next((name for name in names if name in present), None)


def read_rows(path: Path, broken: ProblemLog) -> Iterator[tuple[int, Row]]:
    """(line number, row) of a CSV, TSV or JSON Lines file, with normalised field names.

    CSV and TSV need a header line. A line that is no JSON object, or has more or fewer cells than the
    header, is logged in `broken` and left out.

    Raises:
        DatasetError: the suffix names none of these formats.
    """
    suffix = plain_suffix(path)
    if suffix in (".csv", ".tsv"):
        yield from _table_rows(path, "," if suffix == ".csv" else "\t", broken)
    elif suffix in (".jsonl", ".ndjson", ".json"):
        yield from _json_rows(path, broken)
    else:
        raise DatasetError(
            f"{path}: the format cannot be told from the suffix {suffix!r}",
            "Use .csv, .tsv or .jsonl (each may be compressed: .gz, .zst).",
        )


def _json_rows(path: Path, broken: ProblemLog) -> Iterator[tuple[int, Row]]:
    for number, line in numbered_lines(path):
        try:
            row = parse_json(line.encode())
        except orjson.JSONDecodeError as error:
            broken.add(path, number, json_fault(error))
            continue
        if isinstance(row, dict):
            yield number, {normalise(key): value for key, value in row.items()}
        else:
            broken.add(path, number, "not a JSON object")


def _table_rows(path: Path, delimiter: str, broken: ProblemLog) -> Iterator[tuple[int, Row]]:
    with open_text(path) as lines:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        names: list[str] | None = None
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                broken.add(path, reader.line_num, str(error))
                continue
            if not any(cell.strip() for cell in cells):
                continue
            if names is None:
                names = [normalise(cell) for cell in cells]
            elif len(cells) != len(names):
                broken.add(path, reader.line_num, f"{len(cells)} cells where the header has {len(names)}")
            else:
                yield reader.line_num, dict(zip(names, cells, strict=True))


def as_id(value: Any) -> str | None:
    """An identifier as text: strings (not empty, no white space) and whole numbers; None for the rest.

    White space is refused because a TREC run separates its columns by it.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    text = str(value).strip()
    return text if text and len(text.split()) == 1 else None


def as_relevance(value: Any) -> int | None:
    """A relevance as a whole number: `2`, `"2"`, `2.0`, `true`; None for anything else."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            try:
                value = float(value)
            except ValueError:
                return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) else None
