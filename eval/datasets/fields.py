"""Rows of named fields, and what ids and relevance look like in them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from lexhound.core.arrow_files import TABLE_SUFFIXES, open_table
from lexhound.core.arrow_rows import batch_rows, plain
from lexhound.core.extras import extra
from lexhound.core.field_names import normalise, normalised
from lexhound.core.rows import BadRecord, Record, RowError, column_names, json_object, read_csv, read_tsv
from lexhound.eval.errors import DatasetError
from lexhound.eval.files import NUL_HINT, TextFile

from .dataset import ProblemLog

Row = Mapping[str, Any]

JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
_WHOLE = re.compile(r"[+-]?[0-9]+(\.0*)?")
_MOST_RELEVANCE = 2**31 - 1


def read_rows(file: TextFile, broken: ProblemLog) -> Iterator[tuple[int, Row]]:
    """Yield (line number, row) of a CSV, TSV, JSON Lines, Parquet or Arrow file, with normalised field names.

    CSV and TSV need a header line. A line that is no JSON object, or a record that cannot be read or has more or fewer
    cells than the header, is logged in `broken` and left out.

    Raises:
        DatasetError: the suffix names none of these formats, the header cannot be read, or the file is not UTF-8.
    """
    if file.suffix in (".csv", ".tsv"):
        yield from _table_rows(file, broken)
    elif file.suffix in JSON_SUFFIXES:
        for number, line in file.lines():
            row = json_row(line)
            if isinstance(row, str):
                broken.add(file.name, number, row)
            else:
                yield number, row
    elif file.suffix in TABLE_SUFFIXES:
        yield from _columnar_rows(file, broken)
    else:
        raise DatasetError(
            f"{file.name}: the format cannot be told from the suffix {file.suffix!r}",
            "Use .csv, .tsv, .jsonl, .parquet or .arrow (each may be compressed: .gz, .zst).",
        )


def _columnar_rows(file: TextFile, broken: ProblemLog) -> Iterator[tuple[int, Row]]:
    with extra("parquet", "reading tables"):
        import pyarrow as pa
    number = 0
    with ExitStack() as stack:
        try:
            table = open_table(stack, TABLE_SUFFIXES[file.suffix], file.open())
            for batch in table.batches:
                for row in batch_rows(batch):
                    number += 1
                    try:
                        if isinstance(row, Exception):
                            raise row
                        named = normalised({name: plain(name, value) for name, value in row.items()})
                    except (ValueError, OverflowError) as error:
                        named = str(error)
                    if isinstance(named, str):
                        broken.add(file.name, number, named)
                    else:
                        yield number, named
        except (pa.ArrowException, OSError) as error:
            raise DatasetError(
                f"{file.name}: not a readable {file.suffix[1:]} file: {str(error).splitlines()[0]}",
                "Fetch or write the file again.",
            ) from error


def json_row(line: str) -> dict[str, Any] | str:
    """Return the row that a line of JSON Lines holds, with normalised names, or what is wrong with it."""
    try:
        return normalised(json_object(line.encode()))
    except RowError as error:
        return error.message


def _table_rows(file: TextFile, broken: ProblemLog) -> Iterator[tuple[int, Row]]:
    names: list[str] | None = None
    with file.open() as stream:
        for record in read_csv(stream, merging=False) if file.suffix == ".csv" else read_tsv(stream):
            if isinstance(record, BadRecord):
                if record.undecodable or names is None:
                    what = "" if record.undecodable else "the header row is "
                    raise stream.fault(what + record.reason, f"{file.name}, line {record.line}", record.hint)
                broken.add(file.name, record.line, record.reason, record.lines)
            elif any("\0" in cell for cell in record.cells):
                raise stream.fault("a NUL byte", f"{file.name}, line {record.line}", NUL_HINT)
            elif names is None:
                names = _header(file, record)
            elif len(record.cells) != len(names):
                reason = f"{len(record.cells)} fields where the header has {len(names)}"
                broken.add(file.name, record.line, reason, record.lines)
            else:
                yield record.line, dict(zip(names, record.cells, strict=True))


def _header(file: TextFile, record: Record) -> list[str]:
    try:
        return column_names([normalise(cell) for cell in record.cells])
    except RowError as error:
        raise DatasetError(f"{file.name}, line {record.line}: {error.message}", error.hint) from error


def as_id(value: Any) -> str | None:
    """Return an identifier as text: strings (not empty, no control characters) and whole numbers; None for the rest.

    Blanks around it are dropped, and those within kept: documents of folders are named by their files.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    text = str(value).strip()
    if not text or not (text.isprintable() or all(unicodedata.category(character) != "Cc" for character in text)):
        return None
    return text


def as_relevance(value: Any) -> int | None:
    """Return a relevance as a whole number: `2`, `"2"`, `2.0`, `true`; None for anything else."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        text = value.strip()
        if not _WHOLE.fullmatch(text):
            return None
        value = int(text.partition(".")[0])
    if isinstance(value, float):
        value = int(value) if value.is_integer() else None
    return value if isinstance(value, int) and abs(value) <= _MOST_RELEVANCE else None
