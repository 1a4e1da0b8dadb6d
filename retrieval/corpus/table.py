"""CSV and TSV files with a header row."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator

from ..document import JSON, Document
from ..errors import CorpusError, InvalidDocumentError
from .base import MAX_ROW_BYTES, BadRow, StreamCorpus
from .rows import FieldNames, document_from_row
from .streams import MAX_RAW_BYTES, InputStream, read_lines

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,14})\.[0-9]{1,15}")
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1


class CsvCorpus(StreamCorpus):
    """One document a record, fields quoted with `"` where needed, so that they may hold line breaks.

    The first record names the columns; id, text and title are chosen among them as for JSON Lines. The other
    columns are metadata: an empty cell is left out, and one that is written exactly like an integer or a decimal
    number (`1990`, `-2.50`, but not `007`, `1e5` or `+1`) becomes that number, so that `year >= 1990` compares
    numbers. Ids, titles and texts stay as they are written. Blank lines are passed over. A row is located by the
    line on which it starts.
    """

    delimiter = ","

    def _rows(self, stream: InputStream) -> Iterator[Document | BadRow]:
        records = self._records(_Lines(stream, self._max_row_bytes))
        header = next(records, None)
        if header is None:
            return
        if isinstance(header, BadRow):
            raise CorpusError(f"the header row is {header.reason}", where=header.where, hint=header.hint)
        columns = self._columns(header)
        names = _chosen(columns, self._names)
        for record in records:
            yield record if isinstance(record, BadRow) else self._parse(record, columns, names)

    def _records(self, lines: _Lines) -> Iterator[list[str] | BadRow]:
        """The cells of each record that is not blank, or the reason why it has none."""
        # This limit belongs to the whole process. It is only ever raised; `_Lines` bounds the rows read here.
        csv.field_size_limit(max(csv.field_size_limit(), MAX_ROW_BYTES))
        reader = csv.reader(lines, delimiter=self.delimiter, strict=True)
        while True:
            lines.start_row()
            cells: list[str] = []
            fault = None
            try:
                cells = next(reader)
            except StopIteration:
                return
            except _RowTooLongError:
                pass
            except csv.Error as error:
                fault = str(error)
            self._line = lines.row_line
            self._raw = lines.row_head
            if lines.too_long:
                yield self._too_long()
            elif lines.broken is not None:
                yield self.bad_row(f"not UTF-8 in line {lines.broken}", "Convert the file to UTF-8.")
            elif fault is not None:
                yield self._misquoted(fault, lines.number)
            elif cells:
                yield cells

    def _misquoted(self, fault: str, last_line: int) -> BadRow:
        if fault == "unexpected end of data":
            fault = "a quote is opened and never closed"
        lines = "" if last_line == self._line else f" (the lines up to {last_line} belong to this row)"
        return self.bad_row(f"badly quoted: {fault}{lines}", 'Write a quote inside a quoted field twice: "".')

    def _columns(self, header: list[str]) -> list[str]:
        columns = [cell.strip() or f"column_{number}" for number, cell in enumerate(header, 1)]
        repeated = sorted({name for name in columns if columns.count(name) > 1})
        if repeated:
            raise CorpusError(
                f"the header names the column {repeated[0]!r} more than once",
                where=self.where,
                hint="Give every column a name of its own.",
            )
        self._names.require(columns, self.where)
        return columns

    def _parse(self, cells: list[str], columns: list[str], names: FieldNames) -> Document | BadRow:
        if len(cells) != len(columns):
            return self.bad_row(
                f"{len(cells)} fields where the header has {len(columns)}",
                "Quote fields that hold the separator, quotes or line breaks.",
            )
        kept = {*names.id, *names.text, *names.title}
        row = {
            name: cell if name in kept else _value(cell)
            for name, cell in zip(columns, cells, strict=True)
            if cell or name in kept
        }
        try:
            return document_from_row(row, names)
        except InvalidDocumentError as error:
            return self.bad_row(error.message, error.hint or "")


class TsvCorpus(CsvCorpus):
    """As CSV, separated by tabs."""

    delimiter = "\t"


class _RowTooLongError(Exception):
    """Raised through the csv module to end a row at a line that would not fit in memory."""


class _Lines:
    """The lines of a file for the csv module, with what it does not keep: numbers, sizes, faults of the row."""

    def __init__(self, stream: InputStream, max_row_bytes: int) -> None:
        self._lines = read_lines(stream, max_row_bytes)
        self._max_row_bytes = max_row_bytes
        self.number = 0
        self.start_row()

    def start_row(self) -> None:
        self.row_line = self.number + 1
        self.row_head = b""
        self.too_long = False
        self.broken: int | None = None  # the first line of the row that is not UTF-8
        self._size = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line, complete = next(self._lines)
        self.number += 1
        self._size += len(line)
        if len(self.row_head) < MAX_RAW_BYTES:
            self.row_head += line[:MAX_RAW_BYTES]
        if not complete:
            self.too_long = True
            raise _RowTooLongError
        if self._size > self._max_row_bytes:
            # Inside a quoted field, an odd number of quotes is what closes it: that alone is passed on, so that the
            # next row starts where it should and memory stays bounded.
            self.too_long = True
            return '"' * (line.count(b'"') % 2)
        try:
            return line.decode()
        except UnicodeDecodeError:
            self.broken = self.broken or self.number
            return line.decode(errors="replace")


def _chosen(columns: list[str], names: FieldNames) -> FieldNames:
    """Of each group of names, the first that is a column: it alone is not metadata."""

    def first(wanted: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in wanted if name in columns)[:1]

    return FieldNames(first(names.id), first(names.text), first(names.title))


def _value(cell: str) -> JSON:
    """The number that a cell is written exactly like, or the cell."""
    if _INTEGER.fullmatch(cell) and _INT64_MIN <= int(cell) <= _INT64_MAX:
        return int(cell)
    return float(cell) if _DECIMAL.fullmatch(cell) else cell
