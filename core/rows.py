"""Rows of text files, each with its line: JSON Lines, TSV, CSV. A bad row is reported and costs no other row.

CSV quotes fields with `"`, so a record may span lines, and one quote too many makes a record of rows that have nothing
to do with each other. So a record that is wrong in its quotes is one bad line: reading goes on at the next line. TSV
has no quoting and no escapes: a line is a row, a tab separates, and every other character stands for itself.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from .errors import LexhoundError
from .json_arrays import ArrayError, ArraySplitter
from .streams import MAX_RAW_BYTES, MAX_ROW_BYTES, UTF8_MARK, InputStream, buffered, read_lines
from .strict_json import json_fault, parse_json

_MAX_ROW_LINES = 250_000  # lines are held as objects until their record ends
_PIECE = 64 * 2**10
_NOT_UTF8 = "Convert the file to UTF-8."
_ONE_OBJECT_A_LINE = "Write one JSON object a line; `jq -c '.[]' FILE` makes that of a JSON array."


class RowError(LexhoundError):
    """A row does not hold what its format asks for; its reader knows where it stands."""

    http_status = 400


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text without its end, its number, and its first bytes."""

    text: str
    line: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class JsonRecord:
    """The object on a line of JSON Lines, the number of the line, and the whole of it."""

    values: dict[str, Any]
    line: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """The cells of a row, the line on which it starts, how many lines it has, and its first bytes.

    `merged`: it has a quoted field that spans lines which look like rows themselves, as after a stray quote.
    """

    cells: list[str]
    line: int
    lines: int
    raw: bytes
    merged: bool = False


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A row that cannot be read: where it starts, how many lines are lost with it, why, what to do, its first bytes."""

    line: int
    lines: int
    reason: str
    hint: str
    raw: bytes

    @property
    def undecodable(self) -> bool:
        """Whether it is not UTF-8, as the whole file is then."""
        return self.hint == _NOT_UTF8


def read_text(stream: InputStream, max_bytes: int = MAX_ROW_BYTES) -> Iterator[Line | BadRecord]:
    """Yield the lines that hold anything but blanks."""
    for number, (line, complete) in enumerate(read_lines(stream, max_bytes), 1):
        raw = line[:MAX_RAW_BYTES]
        if not complete:
            yield BadRecord(number, 1, *_too_long(max_bytes), raw)
            continue
        text = decoded(line)
        if text is None:
            yield BadRecord(number, 1, not_utf8(line), _NOT_UTF8, raw)
        elif "\r" in text:
            yield BadRecord(
                number, 1, "a carriage return in the middle of the line", "End lines with LF, or CR and LF.", raw
            )
        elif text and not text.isspace():
            yield Line(text, number, raw)


def read_tsv(stream: InputStream, max_bytes: int = MAX_ROW_BYTES) -> Iterator[Record | BadRecord]:
    """Yield the rows of a file of tab-separated columns; lines without a word are passed over."""
    for line in read_text(stream, max_bytes):
        yield line if isinstance(line, BadRecord) else Record(line.text.split("\t"), line.line, 1, line.raw)


def read_json_lines(stream: InputStream, max_bytes: int = MAX_ROW_BYTES) -> Iterator[JsonRecord | BadRecord]:
    """Yield the objects of a file of JSON Lines; blank lines are passed over. A bad record has its whole line."""
    for number, (line, complete) in enumerate(read_lines(stream, max_bytes), 1):
        if not complete:
            yield BadRecord(number, 1, *_too_long(max_bytes), line)
        elif line and not line.isspace():
            try:
                yield JsonRecord(json_object(line), number, line)
            except RowError as error:
                yield BadRecord(number, 1, error.message, error.hint or "", line)


def read_json_rows(stream: InputStream, max_bytes: int = MAX_ROW_BYTES) -> Iterator[JsonRecord | BadRecord]:
    """Yield the objects of a file of JSON Lines, or of one JSON array: its first character says which it is.

    A bad record of an array costs that element alone, unless it is not known where it ends.
    """
    is_array = stream.beginning().startswith(b"[")
    yield from (_read_json_array if is_array else read_json_lines)(stream, max_bytes)


def _read_json_array(stream: InputStream, max_bytes: int) -> Iterator[JsonRecord | BadRecord]:
    splitter = ArraySplitter(max_bytes)
    reader = buffered(stream)
    piece = reader.read(_PIECE).removeprefix(UTF8_MARK)
    try:
        while piece:
            for element, line in splitter.feed(piece):
                yield _array_record(element, line, max_bytes)
            piece = reader.read(_PIECE)
        splitter.end()
    except ArrayError as error:
        what = "something stands behind the end of the array" if error.fault == "no array" else error.message
        yield BadRecord(error.line, 1, what, "Write one JSON array of objects, or one object a line.", b"")


def _array_record(element: bytes | None, line: int, max_bytes: int) -> JsonRecord | BadRecord:
    if element is None:
        return BadRecord(line, 1, *_too_long(max_bytes), b"")
    try:
        return JsonRecord(json_object(element), line, element)
    except RowError as error:
        hint = "Each element of the array must be an object." if error.hint == _ONE_OBJECT_A_LINE else error.hint
        return BadRecord(line, 1 + element.count(b"\n"), error.message, hint or "", element)


def json_object(line: bytes) -> dict[str, Any]:
    """Return the object that a line of JSON Lines holds.

    Raises:
        RowError: it is not UTF-8, not JSON, or no object.
    """
    try:
        values = parse_json(line)
    except orjson.JSONDecodeError as error:
        if reason := not_utf8(line):
            raise RowError(reason, _NOT_UTF8) from error
        hint = _ONE_OBJECT_A_LINE if line.lstrip().startswith(b"[") else "Write one JSON object a line."
        if line.strip() == b"{":
            hint = "Write each object on one line; `jq -c . FILE` does that."
        raise RowError(json_fault(error), hint) from error
    if not isinstance(values, dict):
        raise RowError("JSON, but not an object", _ONE_OBJECT_A_LINE)
    return values


def column_names(header: Sequence[str]) -> list[str]:
    """Return the names of a table's columns; those without one are numbered.

    Raises:
        RowError: two have the same name.
    """
    names = [cell.strip() or f"column_{number}" for number, cell in enumerate(header, 1)]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise RowError(
            f"the header names the column {repeated[0]!r} more than once", "Give every column a name of its own."
        )
    return names


def read_csv(
    stream: InputStream, max_bytes: int = MAX_ROW_BYTES, *, merging: bool = True
) -> Iterator[Record | BadRecord]:
    """Yield the records of a CSV file, the header first, which says how many fields each has.

    Records without a word are passed over. A record whose quoting is wrong is one bad line, and reading goes on at the
    next one. A record of more or fewer fields than the header costs the lines that it spans, unless these look like
    rows themselves: then it costs its first. So does one of the right number of fields, unless `merging` is allowed:
    where texts of several lines belong into fields it is, and the record says that it is `merged`.
    """
    # This limit belongs to the whole process. It is only ever raised; `_Lines` bounds the rows read here.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_ROW_BYTES))
    lines = _Lines(stream, max_bytes)
    reader = csv.reader(lines, strict=True)
    while True:
        lines.start_row()
        cells: list[str] = []
        fault = ""
        try:
            cells = next(reader)
        except StopIteration:
            return
        except _RowTooLongError:
            pass
        except csv.Error as error:
            fault = str(error)
        first, count, raw = lines.first, lines.count, lines.head
        if lines.skipped:
            yield BadRecord(first, count, *_too_long(max_bytes), raw)
        elif lines.too_long:
            lines.resume()
            reason = _unclosed(first, count, max_bytes) if count > 1 else _too_long(max_bytes)
            yield BadRecord(first, 1, *reason, raw)
        elif fault:
            lines.resume()
            yield BadRecord(first, 1, *_misquoted(fault, first, count), raw)
        elif any(map(str.strip, cells)):
            lines.width = lines.width or len(cells)
            merged = lines.look_merged()
            if lines.broken is None and len(cells) == lines.width and (merging or not merged):
                yield Record(cells, first, count, raw, merged)
                continue
            if merged:
                lines.resume()
                count = 1
            if lines.broken is not None:
                yield BadRecord(first, count, f"not UTF-8 in line {lines.broken}", _NOT_UTF8, raw)
            elif len(cells) == lines.width:
                yield BadRecord(first, count, *_misquoted("it has lines that look like rows", first, 2), raw)
            else:
                wrong = f"{len(cells)} fields where the header has {lines.width}"
                hint = "Quote fields that hold the separator, quotes or line breaks."
                yield BadRecord(first, count, wrong, hint, raw)


def decoded(line: bytes) -> str | None:
    """Return a line without its end (LF, or CR and LF) as text; None if it is not UTF-8."""
    try:
        return line.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        return None


def not_utf8(line: bytes) -> str:
    """Return what to say of a line that is not UTF-8."""
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return f"not UTF-8: byte {error.start + 1} of the line is 0x{line[error.start]:02x}"
    return ""


def _too_long(max_bytes: int) -> tuple[str, str]:
    return (
        f"longer than {max_bytes:,} bytes",
        "Check that the file has line breaks between its rows, or split the document into passages.",
    )


def _unclosed(first: int, count: int, max_bytes: int) -> tuple[str, str]:
    fault = f"a quote is opened and not closed within {max_bytes:,} bytes or {_MAX_ROW_LINES:,} lines"
    return _misquoted(fault, first, count)


def _misquoted(fault: str, first: int, count: int) -> tuple[str, str]:
    if fault == "unexpected end of data":
        fault = "a quote is opened and never closed"
    rest = f"; reading goes on at line {first + 1}" if count > 1 else ""
    return f"badly quoted: {fault}{rest}", 'Write a quote inside a quoted field twice: "".'


class _RowTooLongError(Exception):
    """An error through the csv module, to end a record that would not fit in memory."""


class _Lines:
    """The lines of a file for the csv module, with what it does not keep: numbers, sizes, faults of the record."""

    def __init__(self, stream: InputStream, max_bytes: int) -> None:
        self._lines = read_lines(stream, max_bytes)
        self._again: deque[tuple[bytes, bool]] = deque()  # lines to be read another time
        self._max_bytes = max_bytes
        self._number = 0
        self.width: int | None = None
        self.start_row()

    def start_row(self) -> None:
        self.first = self._number + 1
        self.count = 0
        self.head = b""
        self.too_long = False
        self.skipped = False  # too long, and its lines are gone
        self.broken: int | None = None  # the first line of the record that is not UTF-8
        self._held: list[tuple[bytes, bool]] = []
        self._size = 0

    def resume(self) -> None:
        """Read all lines of this record but the first again, as records of their own."""
        self._number = self.first
        self._again.extendleft(reversed(self._held[1:]))

    def look_merged(self) -> bool:
        """Return whether most of the lines behind the first look like rows of the table, by the shape of an id among
        them.
        """
        if len(self._held) < 2 or self.width is None or self.width < 2:
            return False
        start = _loosely(self._held[0][0])
        column = next((number for number, cell in enumerate(start) if cell and not re.search(r"\s", cell)), None)
        alike = 0
        for line, _ in self._held[1:]:
            if line.count(b",") < self.width - 1:
                continue
            cells = _loosely(line)
            if len(cells) == self.width:
                alike += self.width > 2 if column is None else _shape(cells[column]) == _shape(start[column])
        return 2 * alike >= len(self._held) - 1

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line, complete = self._again.popleft() if self._again else next(self._lines)
        self._number += 1
        self.count += 1
        self._size += len(line)
        if len(self.head) < MAX_RAW_BYTES:
            self.head = (self.head + line)[:MAX_RAW_BYTES]
        if self.skipped:
            return _closing(line)
        self._held.append((line, complete))
        if not complete:
            self.too_long = True
            raise _RowTooLongError
        if self._size > self._max_bytes or self.count > _MAX_ROW_LINES:
            self.too_long = True
            if self.count == 1 or self.look_merged():
                raise _RowTooLongError
            self.skipped = True
            self._held = []
            return _closing(line)
        try:
            return line.decode()
        except UnicodeDecodeError:
            self.broken = self.broken or self._number
            return line.decode(errors="replace")


def _closing(line: bytes) -> str:
    """Return what of a line inside a quoted field decides whether the field ends: an odd number of quotes does.

    That alone is passed on, so that the next row starts where it should and memory stays bounded.
    """
    return '"' * (line.count(b'"') % 2)


def _loosely(line: bytes) -> Sequence[str]:
    """Return the cells of a line by itself, whatever its quotes."""
    try:
        return next(csv.reader([line.decode(errors="replace")]), [])
    except csv.Error:  # a carriage return within
        return []


def _shape(cell: str) -> str:
    """Return a cell with its runs of digits, letters and anything else as one character each: `doc-17` is `a-0`."""
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "0", cell.strip()))
