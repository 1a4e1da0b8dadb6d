"""Judgments: BEIR's tab separated files, TREC qrels, CSV and JSON Lines."""

from __future__ import annotations

from pathlib import Path

from ..errors import DatasetError
from ..files import numbered_lines, plain_suffix
from .dataset import Judgments, ProblemLog
from .fields import (
    DOCUMENT_ID,
    QUERY_ID,
    RELEVANCE,
    as_id,
    as_relevance,
    find_field,
    normalise,
    read_rows,
)


def read_qrels(path: Path, broken: ProblemLog | None = None) -> Judgments:
    """Read judgments; the format is told by the suffix and the first line.

    - `.csv`, `.jsonl`: named columns (`query_id`, `document_id`, `relevance` and their usual other names).
    - three columns separated by tabs: BEIR, with or without its header line.
    - four columns separated by white space: TREC (`query iteration document relevance`).

    A line that fits none is logged in `broken` with its number and left out. A pair judged twice keeps
    its last relevance.

    Raises:
        DatasetError: the file is missing or unreadable, or a table lacks one of the columns.
    """
    log = ProblemLog() if broken is None else broken
    if not path.is_file():
        raise DatasetError(f"{path}: there is no such file of judgments", "Check the path (--qrels).")
    if plain_suffix(path) in (".csv", ".jsonl", ".ndjson", ".json"):
        return _read_named(path, log)
    return _read_columns(path, log)


def _read_named(path: Path, broken: ProblemLog) -> Judgments:
    judgments = Judgments()
    for number, row in read_rows(path, broken):
        query = find_field(row, (*QUERY_ID, "query"))
        document = find_field(row, DOCUMENT_ID)
        relevance = find_field(row, RELEVANCE)
        if query is None or document is None:
            lacking = "query_id" if query is None else "document_id"
            raise DatasetError(
                f"{path}, line {number}: no column for {lacking}; found: {', '.join(row)}",
                "Name the columns query_id, document_id and relevance.",
            )
        # A list of relevant documents needs no relevance column: being listed says it.
        grade = 1 if relevance is None else as_relevance(row[relevance])
        _add(judgments, path, number, broken, as_id(row[query]), as_id(row[document]), grade)
    return judgments


def _read_columns(path: Path, broken: ProblemLog) -> Judgments:
    judgments = Judgments()
    first = True
    for number, line in numbered_lines(path):
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) != 3:
            cells = line.split()
        if first:
            first = False
            if _is_header(cells):
                continue
        if len(cells) == 3:
            query, document, relevance = cells
        elif len(cells) == 4:
            query, _, document, relevance = cells
        else:
            broken.add(path, number, f"{len(cells)} columns, not 3 (BEIR) or 4 (TREC)")
            continue
        _add(judgments, path, number, broken, as_id(query), as_id(document), as_relevance(relevance))
    return judgments


def _is_header(cells: list[str]) -> bool:
    return bool(cells) and as_relevance(cells[-1]) is None and normalise(cells[-1]) in RELEVANCE


def _add(
    judgments: Judgments,
    path: Path,
    number: int,
    broken: ProblemLog,
    query_id: str | None,
    document_id: str | None,
    relevance: int | None,
) -> None:
    if query_id is None or document_id is None:
        broken.add(path, number, "a query or document id is empty or holds white space")
    elif relevance is None:
        broken.add(path, number, "the relevance is not a whole number")
    else:
        judgments.add(query_id, document_id, relevance)
