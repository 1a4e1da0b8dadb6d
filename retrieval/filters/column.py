"""A column: the values of one metadata field over the rows of a segment, in memory and sorted.

It is read from the database once; from then on a comparison is a binary search among the distinct values and a slice of
row numbers. Values have the order that SQLite gives them: numbers by size, whether integer or not, then texts by code
point (which is the order of their UTF-8 bytes).
"""

from __future__ import annotations

import math
import sqlite3
from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lexhound.retrieval.documents.metadata import Value
from lexhound.retrieval.tenants.keys import end_of

from .expression import Operator

Side: TypeAlias = Literal["left", "right"]
Span: TypeAlias = tuple[int, int]

# Each statement is one range scan of the primary key (field, value, seq), in the order of that key.
_IN_FIELD = "FROM metadata WHERE field = ? AND seq BETWEEN ? AND ?"
_VALUES = f"SELECT value, count(*) {_IN_FIELD} GROUP BY value ORDER BY value"
_SEQS = f"SELECT seq {_IN_FIELD} ORDER BY value, seq"
# The document's own fields, with metadata of the same name: no range scan, but sorted once and kept.
_PAIRS = "SELECT value, seq FROM metadata WHERE field = ?1 AND seq BETWEEN ?2 AND ?3"
_OWN = {
    "id": f"({_PAIRS} UNION SELECT id, seq FROM rows WHERE seq BETWEEN ?2 AND ?3)",
    "title": f"({_PAIRS} UNION SELECT title, seq FROM contents WHERE title != '' AND seq BETWEEN ?2 AND ?3)",
}
# The same of one tenant, whose keys stand together: ?4 is the tenant's prefix and ?5 the end of its keys.
_OF_TENANT = "rows WHERE id >= ?4 AND id < ?5 AND seq BETWEEN ?2 AND ?3"
_OWN_OF_TENANT = {
    "id": f"({_PAIRS} UNION SELECT substr(id, length(?4) + 1), seq FROM {_OF_TENANT})",
    "title": f"({_PAIRS} UNION SELECT title, seq FROM contents"
    f" WHERE title != '' AND seq IN (SELECT seq FROM {_OF_TENANT}))",
}
OWN_FIELDS = tuple(_OWN)
"""Fields of the document itself; metadata of the same name is more values of the field."""

_WITHIN = "SELECT seq FROM metadata WHERE field >= ? AND field < ? AND seq BETWEEN ? AND ?"
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1


class Texts:
    """Distinct texts in ascending order, as UTF-8 one after the other."""

    def __init__(self, data: bytes, ends: NDArray[np.int64]) -> None:
        self._data = data
        self._ends = ends.data

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, position: int) -> bytes:
        return self._data[self._ends[position - 1] if position else 0 : self._ends[position]]

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return len(self._data) + self._ends.nbytes

    def cut(self, text: str, side: Side) -> int:
        """Return how many texts are less than one, or with side `right` at most it."""
        search = bisect_left if side == "left" else bisect_right
        return search(range(len(self)), text.encode("utf-8"), key=self.__getitem__)


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """The values of a field over a segment's rows.

    Attributes:
        integers, floats, texts: the distinct values, ascending; the numbers among them are merged by size.
        starts: int64[distinct values + 1], where the rows of each value begin in `rows`.
        rows: int32[pairs of a value and a row], row numbers in the segment, by value.
        gone: int32, rows whose documents had been deleted when the column was read, so that it may lack their values.
    """

    integers: NDArray[np.int64]
    floats: NDArray[np.float64]
    texts: Texts
    starts: NDArray[np.int64]
    rows: NDArray[np.int32]
    gone: NDArray[np.int32]

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        arrays = (self.integers, self.floats, self.starts, self.rows, self.gone)
        return sum(each.nbytes for each in arrays) + self.texts.nbytes

    def rows_of(self, span: Span) -> NDArray[np.int32]:
        """Return the rows with a value in a span of places; one with several such values is there several times."""
        return self.rows[self.starts[span[0]] : self.starts[span[1]]]

    def everything(self) -> Span:
        """Return the span of all values."""
        return 0, len(self.starts) - 1

    def span(self, operator: Operator, value: Value) -> Span:
        """Return the places of the values of which a comparison holds; for `!=` those of the values that are equal."""
        if isinstance(value, str):
            first, end = self._numbers, len(self.starts) - 1
        else:
            first, end = 0, self._numbers
        if operator == ">":
            return self._cut(value, "right"), end
        if operator == ">=":
            return self._cut(value, "left"), end
        if operator == "<":
            return first, self._cut(value, "left")
        if operator == "<=":
            return first, self._cut(value, "right")
        return self._cut(value, "left"), self._cut(value, "right")

    def counts(self, mask: NDArray[np.bool_]) -> list[tuple[Value, int]]:
        """Return the values of the rows that a bool[rows] mask lets through, ascending, and how many have each."""
        before = np.concatenate([[0], np.cumsum(mask[self.rows])])
        counts = before[self.starts[1:]] - before[self.starts[:-1]]
        places = np.flatnonzero(counts)
        return list(zip(self.values_at(places), counts[places].tolist(), strict=True))

    def values_at(self, places: NDArray[np.int64]) -> list[Value]:
        """Return the values at some places among the distinct ones, in the order given."""
        numbers: list[Value] = [*self.integers.tolist(), *self.floats.tolist()]
        if len(self.integers) and len(self.floats):
            numbers.sort()
        return [
            numbers[place] if place < len(numbers) else self.texts[place - len(numbers)].decode()
            for place in places.tolist()
        ]

    def place_of_rows(self, n_rows: int, *, greatest: bool = False) -> NDArray[np.int64]:
        """Return the place of each row's least value, or with `greatest` of its greatest: int64[n_rows], -1 without."""
        places = np.full(n_rows, -1, np.int64)
        of_pairs = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))
        # Of several values of a row, the one that is written last stays.
        order = slice(None) if greatest else slice(None, None, -1)
        places[self.rows[order]] = of_pairs[order]
        return places

    @property
    def _numbers(self) -> int:
        return len(self.integers) + len(self.floats)

    def _cut(self, value: Value, side: Side) -> int:
        if isinstance(value, str):
            return self._numbers + self.texts.cut(value, side)
        return _cut_integers(self.integers, value, side) + _cut_floats(self.floats, value, side)


def _cut_integers(integers: NDArray[np.int64], value: float, side: Side) -> int:
    """Return how many integers are less than a number (side `right`: at most it), compared exactly."""
    if value > _INT64_MAX:
        return len(integers)
    if value < _INT64_MIN:
        return 0
    floor = math.floor(value)
    return int(np.searchsorted(integers, np.int64(floor), side if floor == value else "right"))


def _cut_floats(floats: NDArray[np.float64], value: float, side: Side) -> int:
    """Return how many floats are less than a number (side `right`: at most it), compared exactly."""
    nearest = float(value)
    if nearest == value:
        return int(np.searchsorted(floats, nearest, side))
    # No float lies between an integer and the one that is nearest to it.
    return int(np.searchsorted(floats, nearest, "left" if nearest > value else "right"))


def read_column(
    connection: sqlite3.Connection,
    field: str,
    internal_ids: NDArray[np.int64],
    gone: NDArray[np.int32],
    prefix: str = "",
) -> Column:
    """Return the column of a field over the rows whose documents have the numbers `internal_ids` in the database
    (int64, ascending; several rows may be of one document).

    Those of OWN_FIELDS are the document's own, and those of its metadata. A `prefix` is that of the tenant whose rows
    these are. Cost: two scans of the field's part of the
    metadata table (of the documents, for their own fields); every pair of a value and a row is fetched once.
    """
    integers, floats, ends, counts = array("q"), array("d"), array("q"), array("q")
    texts = bytearray()
    within: tuple[Any, ...] = (prefix + field, *_range(internal_ids))
    if prefix and field in _OWN:
        within += (prefix, end_of(prefix))
    # Numbers come first: the counts of integers and floats are in the order of both together.
    values, seqs = _statements(field, _OWN_OF_TENANT if prefix else _OWN)
    for value, count in _plain(connection, values, within):
        counts.append(count)
        if isinstance(value, str):
            texts += value.encode("utf-8")
            ends.append(len(texts))
        elif isinstance(value, int):
            integers.append(value)
        else:
            floats.append(value)
    rows, found = _rows(_plain(connection, seqs, within), internal_ids)
    starts = np.concatenate([[0], np.cumsum(np.frombuffer(counts, np.int64))]).astype(np.int64)
    if not (found == 1).all():
        starts = np.concatenate([[0], np.cumsum(found)])[starts]
    return Column(
        np.frombuffer(integers, np.int64),
        np.frombuffer(floats, np.float64),
        Texts(bytes(texts), np.frombuffer(ends, np.int64)),
        starts,
        rows,
        gone,
    )


def read_within(
    connection: sqlite3.Connection,
    field: str,
    internal_ids: NDArray[np.int64],
    gone: NDArray[np.int32],
    prefix: str = "",
) -> Column:
    """Return the rows with any field whose name begins with `field` and a dot, as a column of a single value."""
    field = prefix + field
    # "/" follows "." in Unicode: these are the names that start with "field.".
    found, _ = _rows(_plain(connection, _WITHIN, (f"{field}.", f"{field}/", *_range(internal_ids))), internal_ids)
    rows = np.unique(found)
    nothing = Texts(b"", np.empty(0, np.int64))
    return Column(np.zeros(1, np.int64), np.empty(0), nothing, np.array([0, len(rows)]), rows, gone)


def _statements(field: str, own: dict[str, str]) -> tuple[str, str]:
    """Return the statements for the values of a field with their numbers, and for their rows, by value."""
    if field not in own:
        return _VALUES, _SEQS
    pairs = own[field]
    return (
        f"SELECT value, count(*) FROM {pairs} GROUP BY value ORDER BY value",
        f"SELECT seq FROM {pairs} ORDER BY value, seq",
    )


def _range(internal_ids: NDArray[np.int64]) -> Span:
    return (int(internal_ids[0]), int(internal_ids[-1])) if len(internal_ids) else (0, -1)


def _plain(connection: sqlite3.Connection, statement: str, values: tuple[Any, ...]) -> sqlite3.Cursor:
    cursor = connection.cursor()
    cursor.row_factory = None  # plain tuples, whatever the connection makes of rows
    return cursor.execute(statement, values)


def _rows(cursor: sqlite3.Cursor, internal_ids: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the places among `internal_ids` of the numbers that a statement gives, and how many places each has."""
    numbers = np.fromiter(chain.from_iterable(cursor), np.int64)
    first = np.searchsorted(internal_ids, numbers)
    counts = np.searchsorted(internal_ids, numbers, side="right") - first
    ends = np.cumsum(counts)
    places = np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(first - (ends - counts), counts)
    return places.astype(np.int32), counts
