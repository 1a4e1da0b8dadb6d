"""CSV and TSV files with a header row."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator, Sequence

from lexhound.core.rows import BadRecord, Record, RowError, column_names, read_csv, read_tsv
from lexhound.core.streams import InputStream
from lexhound.retrieval.documents.document import JSON, Document
from lexhound.retrieval.errors import CorpusError, InvalidDocumentError

from .base import BadRow, StreamCorpus
from .rows import FieldNames, document_from_row

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,14})\.[0-9]{1,15}")
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1


class TableCorpus(StreamCorpus):
    """One document a row of a table whose first row names the columns.

    Id, text and title are chosen among the columns as for JSON Lines. The others are metadata: an empty cell is left
    out, and one that is written exactly like an integer or a decimal number (`1990`, `-2.50`, but not `007`, `1e5` or
    `+1`) becomes that number, so that `year >= 1990` compares numbers. Ids, titles and texts stay as they are written.
    Blank rows are passed over. A row is located by the line on which it starts.
    """

    quoting = ""  # what to do where a cell holds the separator
    _merged: Sequence[int] = ()  # the lines of records that may be several rows

    @abstractmethod
    def _records(self, stream: InputStream) -> Iterator[Record | BadRecord]: ...

    def _rows(self, stream: InputStream) -> Iterator[Document | BadRow]:
        self._merged = merged = list[int]()
        columns: list[str] | None = None
        names = self._names
        for record in self._records(stream):
            self._line, self._lines, self._raw = record.line, record.lines, record.raw
            if columns is None:
                if isinstance(record, BadRecord):
                    raise CorpusError(f"the header row is {record.reason}", where=self.where, hint=record.hint)
                columns = self._columns(record.cells)
                names = _chosen(columns, self._names)
            elif isinstance(record, BadRecord):
                yield self.bad_row(record.reason, record.hint)
            else:
                if record.merged:
                    merged.append(record.line)
                yield self._parse(record.cells, columns, names)

    def notices(self) -> list[str]:
        """Return the records that may be several rows, joined by a stray quote."""
        merged = self._merged
        if not merged:
            return []
        shown = ", ".join(map(str, merged[:5])) + (", …" if len(merged) > 5 else "")
        noun, verb = ("record", "spans") if len(merged) == 1 else ("records", "span")
        return [
            f"{self.name}: {len(merged):,} {noun} {verb} lines that look like rows themselves (line {shown}): "
            "is a quote missing, or one too many?"
        ]

    def _columns(self, header: list[str]) -> list[str]:
        try:
            columns = column_names(header)
        except RowError as error:
            raise CorpusError(error.message, error.hint, where=self.where) from error
        self._names.require(columns, self.where)
        return columns

    def _parse(self, cells: list[str], columns: list[str], names: FieldNames) -> Document | BadRow:
        if len(cells) != len(columns):
            return self.bad_row(
                f"{len(cells)} fields where the header has {len(columns)}",
                self.quoting,
            )
        text_columns = {*names.id, *names.text, *names.title}
        row = {
            name: cell if name in text_columns else _value(cell)
            for name, cell in zip(columns, cells, strict=True)
            if cell or name in text_columns
        }
        try:
            return document_from_row(row, names)
        except InvalidDocumentError as error:
            return self.bad_row(error.message, error.hint or "")


class CsvCorpus(TableCorpus):
    """A table of comma-separated fields, quoted with `"` where needed, so that they may hold line breaks."""

    quoting = "Quote fields that hold the separator, quotes or line breaks."

    def _records(self, stream: InputStream) -> Iterator[Record | BadRecord]:
        return read_csv(stream, self._max_row_bytes)


class TsvCorpus(TableCorpus):
    """A table of tab-separated fields, a row a line: nothing quotes or escapes, every character stands for itself."""

    quoting = "A field cannot hold a tab or a line break: write CSV or JSON Lines where it must."

    def _records(self, stream: InputStream) -> Iterator[Record | BadRecord]:
        return read_tsv(stream, self._max_row_bytes)


def _chosen(columns: list[str], names: FieldNames) -> FieldNames:
    """Return the first name of each group that is a column: it alone is not metadata."""

    def first(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in names if name in columns)[:1]

    return FieldNames(first(names.id), first(names.text), first(names.title))


def _value(cell: str) -> JSON:
    """Return the number that a cell is written exactly like, or the cell."""
    if _INTEGER.fullmatch(cell) and _INT64_MIN <= int(cell) <= _INT64_MAX:
        return int(cell)
    return float(cell) if _DECIMAL.fullmatch(cell) else cell
