"""Slow twins of filters: their meaning on one document, and clauses as scans of the metadata table."""

from __future__ import annotations

import operator
import sqlite3
from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.retrieval.documents.metadata import Value, flatten
from lexhound.retrieval.filters import And, Comparison, Exists, Expression, Membership, Not, Or

COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq}


def matches(expression: Expression, metadata: Mapping[str, Any]) -> bool:
    """The slow twin: the meaning of an expression, on one document."""
    pairs = flatten(metadata)

    def values(field: str) -> list[Any]:
        return [value for name, value in pairs if name == field]

    def compares(name: str, left: Any, right: Any) -> bool:
        return isinstance(left, str) == isinstance(right, str) and COMPARE[name](left, right)

    def holds(tree: Expression) -> bool:
        if isinstance(tree, Comparison):
            found = values(tree.field)
            if tree.operator == "!=":
                return bool(found) and not any(compares("=", value, tree.value) for value in found)
            return any(compares(tree.operator, value, tree.value) for value in found)
        if isinstance(tree, Membership):
            found = values(tree.field)
            inside = any(compares("=", value, wanted) for value in found for wanted in tree.values)
            return bool(found) and inside != tree.negated
        if isinstance(tree, Exists):
            return any(name == tree.field or name.startswith(f"{tree.field}.") for name, _ in pairs)
        if isinstance(tree, Not):
            return not holds(tree.operand)
        results = [holds(operand) for operand in tree.operands]
        return all(results) if isinstance(tree, And) else any(results)

    return holds(expression)


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


def scanned(expression: Expression, connection: sqlite3.Connection, universe: NDArray[np.int64]) -> NDArray[np.int64]:
    """The documents of `universe` for which `expression` holds: int64, sorted, unique."""
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


def _member(internal_ids: NDArray[np.int64], of: NDArray[np.int64]) -> NDArray[np.bool_]:
    """For each of `internal_ids`, whether it is in `of`; both sorted and unique."""
    if not len(of):
        return np.zeros(len(internal_ids), np.bool_)
    places = np.searchsorted(of, internal_ids)
    found: NDArray[np.bool_] = of[np.minimum(places, len(of) - 1)] == internal_ids
    return found


def _common(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    few, many = (left, right) if len(left) <= len(right) else (right, left)
    return few[_member(few, many)]


def _without(internal_ids: NDArray[np.int64], removed: NDArray[np.int64]) -> NDArray[np.int64]:
    return internal_ids[~_member(internal_ids, removed)]


def _union(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return parts[0] if len(parts) == 1 else np.unique(np.concatenate(parts))
