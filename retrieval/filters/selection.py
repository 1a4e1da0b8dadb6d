"""From an expression to the documents for which it holds."""

from __future__ import annotations

import sqlite3
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from ..metadata import Value
from .expression import And, Comparison, Exists, Expression, Membership, Not, Or

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Every statement is one range scan of the primary key (field, value, seq). SQLite orders numbers before texts, so ''
# divides the two.
_EQUAL = "SELECT seq FROM metadata WHERE field = ? AND value = ?"
_ANY = "SELECT seq FROM metadata WHERE field = ?"
_WITHIN = "SELECT seq FROM metadata WHERE field >= ? AND field < ?"
_NUMBERS = {
    "<": "SELECT seq FROM metadata WHERE field = ? AND value < ?",
    "<=": "SELECT seq FROM metadata WHERE field = ? AND value <= ?",
    ">": "SELECT seq FROM metadata WHERE field = ? AND value > ? AND value < ''",
    ">=": "SELECT seq FROM metadata WHERE field = ? AND value >= ? AND value < ''",
}
_TEXTS = {
    "<": "SELECT seq FROM metadata WHERE field = ? AND value < ? AND value >= ''",
    "<=": "SELECT seq FROM metadata WHERE field = ? AND value <= ? AND value >= ''",
    ">": "SELECT seq FROM metadata WHERE field = ? AND value > ?",
    ">=": "SELECT seq FROM metadata WHERE field = ? AND value >= ?",
}


def select(expression: Expression, connection: sqlite3.Connection, universe: NDArray[np.int64]) -> NDArray[np.int64]:
    """The documents of `universe` for which `expression` holds: int64, sorted, unique.

    `universe` holds the numbers (`seq`) of all documents in question, int64, sorted and unique; rows of the metadata
    table outside it are passed over. Cost: the rows of the metadata table that the comparisons match, one binary
    search in `universe` for each.
    """
    return _Selection(connection, universe).select(expression)


class _Selection:
    def __init__(self, connection: sqlite3.Connection, universe: NDArray[np.int64]) -> None:
        self._cursor = connection.cursor()
        self._cursor.row_factory = None  # plain tuples, whatever the connection makes of rows
        self._universe = universe

    def select(self, expression: Expression) -> NDArray[np.int64]:
        match expression:
            case Comparison(field, "!=", value):
                return _without(self._scan(_ANY, field), self._scan(_EQUAL, field, value))
            case Comparison(field, "=", value):
                return self._scan(_EQUAL, field, value)
            case Comparison(field, operator, value):
                statements = _TEXTS if isinstance(value, str) else _NUMBERS
                return self._scan(statements[operator], field, value)
            case Membership(field, values, negated):
                found = _union([self._scan(_EQUAL, field, value) for value in values])
                return _without(self._scan(_ANY, field), found) if negated else found
            case Exists(field):
                # "/" follows "." in Unicode: these are the names that start with "field.".
                return _union([self._scan(_ANY, field), self._scan(_WITHIN, f"{field}.", f"{field}/")])
            case Not(operand):
                return _without(self._universe, self.select(operand))
            case And(operands):
                left = self.select(operands[0])
                for operand in operands[1:]:
                    if not len(left):
                        break
                    left = _common(left, self.select(operand))
                return left
            case Or(operands):
                return _union([self.select(operand) for operand in operands])

    def _scan(self, statement: str, *values: Value) -> NDArray[np.int64]:
        rows = self._cursor.execute(statement, values)
        found = np.unique(np.fromiter(chain.from_iterable(rows), np.int64))
        return _common(found, self._universe)


def _member(seqs: NDArray[np.int64], of: NDArray[np.int64]) -> NDArray[np.bool_]:
    """For each of `seqs`, whether it is in `of`; both sorted and unique."""
    if not len(of):
        return np.zeros(len(seqs), np.bool_)
    places = np.searchsorted(of, seqs)
    found: NDArray[np.bool_] = of[np.minimum(places, len(of) - 1)] == seqs
    return found


def _common(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    few, many = (left, right) if len(left) <= len(right) else (right, left)
    return few[_member(few, many)]


def _without(seqs: NDArray[np.int64], removed: NDArray[np.int64]) -> NDArray[np.int64]:
    return seqs[~_member(seqs, removed)]


def _union(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return parts[0] if len(parts) == 1 else np.unique(np.concatenate(parts))
