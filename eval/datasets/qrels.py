"""Judgments: BEIR's tab separated files, TREC qrels, CSV and JSON Lines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lexhound.core.field_names import JUDGED_DOCUMENT, QUERY, RELEVANCE, find_field, normalise
from lexhound.eval.errors import DatasetError
from lexhound.eval.files import TextFile

from .dataset import Judgments, ProblemLog
from .fields import JSON_SUFFIXES, as_id, as_relevance, read_rows

_QUERY = (*QUERY, "query")
_NAMES_HINT = "Name the columns query_id, document_id and relevance."


def read_qrels(path: Path, broken: ProblemLog | None = None) -> Judgments:
    """Read judgments; the format is told by the suffix and the first line.

    - `.csv`, `.jsonl`: named columns (`query_id`, `document_id`, `relevance` and their usual other names).
    - columns separated by tabs or blanks: three (BEIR: query, document, relevance) or four (TREC: query, iteration,
      document, relevance), as many in every line; with a header line, those that it names, in whatever order.

    A line that fits none is logged in `broken` with its number and left out. A pair judged twice keeps
    its last relevance.

    Raises:
        DatasetError: the file is missing, unreadable, cut short or not UTF-8, or a table lacks one of the columns.
    """
    log = ProblemLog() if broken is None else broken
    if not path.is_file():
        raise DatasetError(f"{path}: there is no such file of judgments", "Check the path (--qrels).")
    file = TextFile.at(path)
    if file.suffix in (".csv", *JSON_SUFFIXES):
        return _read_named(file, log)
    return _read_columns(file, log)


def _read_named(file: TextFile, broken: ProblemLog) -> Judgments:
    judgments = Judgments(broken)
    for number, row in read_rows(file, broken):
        query = find_field(row, _QUERY)
        document = find_field(row, JUDGED_DOCUMENT)
        relevance = find_field(row, RELEVANCE)
        if query is None or document is None:
            lacking = "query_id" if query is None else "document_id"
            raise DatasetError(
                f"{file.name}, line {number}: no column for {lacking}; found: {', '.join(row)}", _NAMES_HINT
            )
        # A list of relevant documents needs no relevance column: being listed says it.
        grade = 1 if relevance is None else as_relevance(row[relevance])
        _add(judgments, file, number, as_id(row[query]), as_id(row[document]), grade)
    return judgments


@dataclass(frozen=True, slots=True)
class _Columns:
    """How many columns there are, and which is which; without one for the relevance, being listed says it."""

    count: int
    query: int
    document: int
    relevance: int | None


_BEIR, _TREC = _Columns(3, 0, 1, 2), _Columns(4, 0, 2, 3)


def _read_columns(file: TextFile, broken: ProblemLog) -> Judgments:
    judgments = Judgments(broken)
    columns: _Columns | None = None
    first = True
    for number, line in file.lines():
        cells = _cells(line, None if columns is None else columns.count)
        if first:
            first = False
            columns = _header(file, number, cells)
            if columns is not None:
                continue
        form = columns or {3: _BEIR, 4: _TREC}.get(len(cells))
        if form is None or len(cells) != form.count:
            expected = "not 3 (BEIR) or 4 (TREC)" if form is None else f"not {form.count} as before"
            broken.add(file.name, number, f"{len(cells)} columns, {expected}")
            continue
        relevance = 1 if form.relevance is None else as_relevance(cells[form.relevance])
        added = _add(judgments, file, number, as_id(cells[form.query]), as_id(cells[form.document]), relevance)
        if added:
            columns = form
    return judgments


def _cells(line: str, count: int | None) -> list[str]:
    """Return a line's columns: separated by tabs, where that makes as many as are expected, or else by blanks and
    tabs.
    """
    cells = [cell.strip() for cell in line.split("\t")]
    if len(cells) in ((2, 3, 4) if count is None else (count,)):
        return cells
    return re.split("[ \t]+", line.strip(" \t"))


def _header(file: TextFile, number: int, cells: list[str]) -> _Columns | None:
    """Return the columns by their names, if the line is a header: no relevance in it, and two known names or that of it
    last.

    Raises:
        DatasetError: it does not say which column is the query's or the document's.
    """
    if any(as_relevance(cell) is not None for cell in cells):
        return None
    names = [normalise(cell) for cell in cells]
    positions = [find_field(names, known) for known in (_QUERY, JUDGED_DOCUMENT, RELEVANCE)]
    if sum(name is not None for name in positions) < 2 and names[-1] not in RELEVANCE:
        return None
    query, document, relevance = (None if name is None else names.index(name) for name in positions)
    if query is None or document is None:
        lacking = "query id" if query is None else "document id"
        raise DatasetError(
            f"{file.name}, line {number}: the header names no column for the {lacking}; found: {', '.join(cells)}",
            _NAMES_HINT,
        )
    return _Columns(len(cells), query, document, relevance)


def _add(
    judgments: Judgments,
    file: TextFile,
    number: int,
    query_id: str | None,
    document_id: str | None,
    relevance: int | None,
) -> bool:
    if query_id is None or document_id is None:
        judgments.broken.add(file.name, number, "a query or document id is empty or holds a control character")
    elif relevance is None:
        judgments.broken.add(file.name, number, "the relevance is not a whole number")
    else:
        judgments.add(query_id, document_id, relevance)
        return True
    return False
