"""Rows of training files, as streams: what stands in them, and what one that is wrong is told.

JSON Lines (`.jsonl`, `.json`, `.ndjson`) with one object a row, or tab-separated columns (`.tsv`) without a header;
either may be compressed (`.gz`, `.zst`).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lexhound.core.field_names import normalised
from lexhound.core.rows import BadRecord, Record, read_json_lines, read_tsv
from lexhound.core.streams import open_input, without_compression
from lexhound.encoders.errors import TrainingDataError

_TABLE = ".tsv"

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that a row says.

    Attributes:
        called: its name in messages, and in tables.
        names: what it may be called in JSON, normalised; tables have the fields in a fixed order.
        kind: "text"; "id", text or a whole number; "number".
        many: whether it is a list; the last column of a table and all further ones.
    """

    called: str
    names: tuple[str, ...]
    kind: str = "text"
    many: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """The fields of one row, and where it stands."""

    values: Mapping[str, Any]
    where: str

    def error(self, message: str, hint: str) -> TrainingDataError:
        """Return the error of this row."""
        return TrainingDataError(f"{self.where}: {message}", hint)

    def has(self, field: Field) -> bool:
        """Return whether there is anything in a field."""
        return any(self.values.get(name) not in (None, "") for name in field.names)

    def text(self, field: Field) -> str:
        """Return a field that must be there, as text; raises TrainingDataError."""
        return self._as_text(self._value(field), field)

    def texts(self, field: Field) -> list[str]:
        """Return a list that must be there, or the one text that stands in its place; raises TrainingDataError."""
        return [self._as_text(value, field) for value in self._listed(field)]

    def numbers(self, field: Field) -> tuple[float, ...]:
        """Return finite numbers; raise TrainingDataError."""
        values = self._listed(field)
        for value in values:
            if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
                raise self.error(f"{value!r} among the {field.called} is not a number", "Give finite numbers")
        return tuple(map(float, values))

    def first(self, field: Field) -> str:
        """Return the first of a field's names that holds something, as text; "" where none does."""
        for name in field.names:
            value = self.values.get(name)
            if value not in (None, ""):
                return self._as_text(value, field, blank=True)
        return ""

    def _value(self, field: Field) -> Any:
        names = [name for name in field.names if self.values.get(name) is not None]
        if not names:
            raise self.error(f"the row has no {field.called}", f"It must stand in {', '.join(field.names)}")
        if len(names) > 1:
            raise self.error(
                f"the row has both {names[0]!r} and {names[1]!r}", f"Keep one: the {field.called} is one of them"
            )
        return self.values[names[0]]

    def _listed(self, field: Field) -> list[Any]:
        value = self._value(field)
        values = value if isinstance(value, list) else [value]
        if not values:
            raise self.error(f"the list of the {field.called} is empty", "Give at least one")
        return values

    def _as_text(self, value: Any, field: Field, *, blank: bool = False) -> str:
        if field.kind == "id" and isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str):
            raise self.error(f"the {field.called} is {type(value).__name__}, not text", "Write it in quotes")
        if not blank and not value.strip():
            raise self.error(f"the {field.called} is empty", "Leave the row out, or fill it in")
        return value


def is_table(path: Path) -> bool:
    """Return whether a file is read as tab-separated columns."""
    return without_compression(path).suffix.lower() == _TABLE


def read_rows(
    path: Path, fields: Sequence[Field], make: Callable[[Row], Made], *, beside: Sequence[str] | None = ()
) -> Iterator[Made]:
    """Yield `make(row)` of each row.

    Args:
        fields: what a row has, in the order of a table's columns.
        beside: further names that a row may have; None for any.

    Raises:
        TrainingDataError: from the iteration: the file is missing, empty or damaged, or a row is wrong.
    """
    known = {name for field in fields for name in field.names} | set(beside or ())
    empty = True
    for row in _rows(path, fields):
        empty = False
        if beside is not None:
            for name in row.values:
                if name not in known:
                    near = difflib.get_close_matches(name, sorted(known), 1, 0.0)[0]
                    raise row.error(
                        f"the row has the unknown field {name!r}",
                        f"A row has {_called(fields)}; did you mean {near!r}? Other things belong in 'metadata'",
                    )
        yield make(row)
    if empty:
        raise TrainingDataError(f"{path} is empty: it holds not one row", "Check that this is the right file")


def _called(fields: Sequence[Field]) -> str:
    return ", ".join(field.called for field in fields)


def _rows(path: Path, fields: Sequence[Field]) -> Iterator[Row]:
    if not path.exists():
        raise TrainingDataError(f"there is no file {path}", "Give the path of a training file")
    with open_input(path, str(path), _fault) as stream:
        for record in read_tsv(stream) if is_table(path) else read_json_lines(stream):
            where = f"{path}, line {record.line}"
            if isinstance(record, BadRecord):
                raise TrainingDataError(f"{where}: {record.reason}", record.hint)
            if isinstance(record, Record):
                yield Row(_from_cells(record.cells, where, fields), where)
                continue
            values = normalised(record.values)
            if isinstance(values, str):
                raise TrainingDataError(f"{where}: {values}", "Keep one of them")
            yield Row(values, where)


def _from_cells(cells: list[str], where: str, fields: Sequence[Field]) -> dict[str, Any]:
    last = fields[-1]
    if len(cells) < len(fields) or (len(cells) > len(fields) and not last.many):
        raise TrainingDataError(
            f"{where}: {len(cells)} columns where {_called(fields)} are expected", "Separate them by one tab each"
        )
    values: dict[str, Any] = {field.names[0]: cell for field, cell in zip(fields, cells, strict=False)}
    if last.many:
        values[last.names[0]] = cells[len(fields) - 1 :]
    if last.kind == "number":
        try:
            values[last.names[0]] = [float(cells[-1])]
        except ValueError as error:
            raise TrainingDataError(
                f"{where}: {cells[-1]!r} is not a number", "The last column is the score"
            ) from error
    return values


def _fault(message: str, where: str, hint: str) -> TrainingDataError:
    return TrainingDataError(f"{where}: {message}", hint.removesuffix("."))
