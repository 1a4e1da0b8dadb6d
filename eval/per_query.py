"""The figures of single queries as a file, for spreadsheets and programs."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from .files import write_bytes
from .results import Evaluation
from .serialise import to_json_bytes

# What makes a spreadsheet take a cell for a formula, and what it takes for a number all the same.
_FORMULA = re.compile(r"\s*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def _cell(value: object) -> object:
    """Return a cell of CSV that no spreadsheet will run, whoever wrote the text: such texts get a quotation mark in
    front.
    """
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def write_per_query(path: Path, evaluation: Evaluation) -> None:
    """Write every measure of every judged query and system, as CSV (by the suffix) or JSON Lines.

    Texts that spreadsheets would take for formulas have `'` before them in CSV; JSON Lines have them as they are.
    """
    rows = evaluation.per_query()
    if path.suffix.lower() == ".csv":
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, ["dataset", "query_id", "query", "system", *evaluation.measures])
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
        write_bytes(path, text.getvalue().encode())
    else:
        write_bytes(path, b"".join(to_json_bytes(row, indent=False) for row in rows))
