"""Filters of Haystack in Lexhound's language.

What they mean is kept: `!=`, `not in` and `NOT` let documents without the field pass, and an order with None lets none
pass. Orders compare numbers with numbers, and dates, which are text in ISO 8601, with dates; any other text is refused,
where Haystack's own stores guess a date in it. Dates are compared as text: those of a field are to have one form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from lexhound.core.extras import extra
from lexhound.retrieval.errors import QueryError

from .filters import ORDERS, among, different, equal, field, joined, negated, ordered

with extra("haystack", "the Haystack integration"):
    from haystack.errors import FilterError

_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?)?\Z")
_OTHERS = frozenset({"content", "blob", "score", "embedding", "sparse_embedding", "meta"})


def field_name(name: object) -> str:
    """Return a field's name as the collection has it: without `meta.`.

    Raises:
        FilterError: it is no field that filters see.
    """
    if not isinstance(name, str) or not name or name in _OTHERS:
        raise FilterError(f"a filter names the field {name!r}; it must be `id` or one of the metadata: `meta.NAME`")
    return name.removeprefix("meta.")


def expression_of(filters: Mapping[str, Any] | None) -> str | None:
    """Return filters as an expression; None where there are none.

    Raises:
        FilterError: they mean nothing; says what is wrong.
    """
    if not filters:
        return None
    try:
        return _any(filters)
    except QueryError as error:
        raise FilterError(str(error)) from error


def _any(condition: object) -> str:
    if not isinstance(condition, Mapping):
        raise FilterError(f"a condition is {str(condition)[:60]!r}; it must be a dictionary")
    return _comparison(condition) if "field" in condition else _logic(condition)


def _logic(condition: Mapping[str, Any]) -> str:
    for key in ("operator", "conditions"):
        if key not in condition:
            raise FilterError(f"{key!r} is missing in the condition {str(dict(condition))[:100]}")
    operator, conditions = condition["operator"], condition["conditions"]
    if not isinstance(conditions, list | tuple):
        raise FilterError(f"the conditions of {operator!r} are {str(conditions)[:60]!r}; they must be a list")
    parts = [_any(each) for each in conditions]
    match operator:
        case "AND" | "OR":
            return joined(operator.lower(), parts)
        case "NOT":
            return negated(joined("and", parts))
    raise FilterError(f"the operator {operator!r} is unknown; conditions are joined by AND, OR and NOT")


def _comparison(condition: Mapping[str, Any]) -> str:
    for key in ("operator", "value"):
        if key not in condition:
            raise FilterError(f"{key!r} is missing in the condition {str(dict(condition))[:100]}")
    name, operator, value = field_name(condition["field"]), condition["operator"], condition["value"]
    match operator:
        case "==":
            return equal(name, value)
        case "!=":
            return different(name, value)
        case "in" | "not in":
            if not isinstance(value, list):
                raise FilterError(f"{operator!r} compares {name!r} with {str(value)[:60]!r}; it must be a list")
            return among(name, value) if operator == "in" else negated(among(name, value))
        case _ if operator in ORDERS:
            return _order(name, operator, value)
    raise FilterError(f"the operator {operator!r} is unknown; there are ==, !=, {', '.join(ORDERS)}, in and not in")


def _order(name: str, sign: str, value: object) -> str:
    if value is None:
        return f"exists {field(name)} and not exists {field(name)}"  # nothing is less or more than nothing
    if isinstance(value, str) and not _DATE.match(value):
        raise FilterError(
            f"{sign!r} compares {name!r} with the text {value[:60]!r}, which is no date as in ISO 8601"
            " (2024-05-01T12:00:00); give numbers as numbers"
        )
    if isinstance(value, bool) or not isinstance(value, int | float | str | date):
        raise FilterError(f"{sign!r} compares {name!r} with {str(value)[:60]!r}; it must be a number or a date")
    return ordered(name, sign, value)
