"""From an expression to the rows of a segment for which it holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

from lexhound.retrieval.deadline import check_deadline

from .column import Column, Span
from .expression import And, Comparison, Exists, Expression, Membership, Not, Or

# What the clauses of an expression leave behind for others that are equal, at most.
_MEMORY = 32 * 2**20


class Columns(Protocol):
    """Where the columns of a segment come from."""

    def field(self, name: str) -> Column:
        """Return the values of a field."""

    def within(self, name: str) -> Column:
        """Return the rows that have a field within this one."""


def select(expression: Expression, columns: Columns, n_rows: int) -> NDArray[np.bool_]:
    """Return bool[n_rows]: whether the expression holds for each row, deleted ones included.

    Rows that a column reports as gone pass nothing, whatever the expression. Equal clauses are looked up once, and all
    clauses of an `or` on one field together: the cost of a clause is at most one look at each row of its field.

    Raises:
        DeadlineError: the time for it is over.
    """
    selection = _Selection(columns, n_rows)
    selected = selection.mask(expression).copy()
    for rows in selection.gone:
        selected[rows] = False
    return selected


class _Selection:
    def __init__(self, columns: Columns, n_rows: int) -> None:
        self.gone: list[NDArray[np.int32]] = []
        self._columns = columns
        self._n_rows = n_rows
        self._fields: dict[tuple[str, bool], Column] = {}
        self._known: dict[Expression, NDArray[np.bool_]] = {}

    def mask(self, expression: Expression) -> NDArray[np.bool_]:
        """Return the rows for which a part of the expression holds; the array may be one that is kept."""
        selected = self._known.get(expression)
        if selected is None:
            check_deadline()
            selected = self._evaluate(expression)
            if (len(self._known) + 1) * self._n_rows <= _MEMORY:
                self._known[expression] = selected
        return selected

    def _evaluate(self, expression: Expression) -> NDArray[np.bool_]:
        match expression:
            case Comparison(field, "!=", value):
                return self._other(field, [self._column(field).span("=", value)])
            case Comparison(field, _, _):
                return self._marked([(field, self._spans(expression))])
            case Membership(field, _, negated):
                spans = self._spans(expression)
                return self._other(field, spans) if negated else self._marked([(field, spans)])
            case Exists(field):
                selected = self._marked([(field, [self._column(field).everything()])])
                within = self._column(field, within=True)
                selected[within.rows] = True
                return selected
            case Not(operand):
                return ~self.mask(operand)
            case And(operands):
                return self._all(list(dict.fromkeys(operands)))
            case Or(operands):
                return self._any(list(dict.fromkeys(operands)))

    def _all(self, operands: Sequence[Expression]) -> NDArray[np.bool_]:
        selected = self.mask(operands[0]).copy()
        for operand in operands[1:]:
            if not selected.any():
                break
            selected &= self.mask(operand)
        return selected

    def _any(self, operands: Sequence[Expression]) -> NDArray[np.bool_]:
        spans: dict[str, list[Span]] = {}
        others = []
        for operand in operands:
            if _is_positive(operand):
                spans.setdefault(operand.field, []).extend(self._spans(operand))
            else:
                others.append(operand)
        selected = self._marked(spans.items())
        for operand in others:
            selected |= self.mask(operand)
        return selected

    def _spans(self, clause: Comparison | Membership) -> list[Span]:
        """Return the places of the values that a clause names."""
        column = self._column(clause.field)
        if isinstance(clause, Membership):
            return [column.span("=", value) for value in clause.values]
        return [column.span(clause.operator, clause.value)]

    def _marked(self, spans_by_field: Iterable[tuple[str, Sequence[Span]]]) -> NDArray[np.bool_]:
        selected = np.zeros(self._n_rows, np.bool_)
        for field, spans in spans_by_field:
            column = self._column(field)
            for span in _joined(spans):
                selected[column.rows_of(span)] = True
        return selected

    def _other(self, field: str, spans: Sequence[Span]) -> NDArray[np.bool_]:
        """Return rows that have the field, and no value of it in the spans."""
        selected = self._marked([(field, [self._column(field).everything()])])
        column = self._column(field)
        for span in _joined(spans):
            selected[column.rows_of(span)] = False
        return selected

    def _column(self, name: str, *, within: bool = False) -> Column:
        column = self._fields.get((name, within))
        if column is None:
            column = self._columns.within(name) if within else self._columns.field(name)
            self._fields[name, within] = column
            if len(column.gone):
                self.gone.append(column.gone)
        return column


def _is_positive(operand: Expression) -> TypeGuard[Comparison | Membership]:
    """Return whether a clause holds for every row with one of some values."""
    if isinstance(operand, Comparison):
        return operand.operator != "!="
    return isinstance(operand, Membership) and not operand.negated


def _joined(spans: Iterable[Span]) -> list[Span]:
    """Return the same places as spans that do not overlap, none of them empty."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if start >= end:
            continue
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((start, end))
    return joined
