"""Filters of frameworks as Lexhound writes them: the pieces that their translations are put together from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np

from lexhound.retrieval.errors import QueryError

Filter = str | Mapping[str, Any] | None
"""An expression as in docs/filters.md, or a mapping as `from_mapping` reads it."""

ORDERS = ("<", "<=", ">", ">=")


def field(name: object) -> str:
    """Return a field's name as filters write it.

    Raises:
        QueryError: it is no text.
    """
    if not isinstance(name, str) or not name:
        raise QueryError(f"a filter names the field {name!r}", hint="names of fields are texts")
    return "`" + name.replace("`", "``") + "`"


def literal(value: object) -> str:
    """Return a value as filters write it; dates become text as in ISO 8601.

    Raises:
        QueryError: it is no text, finite number, truth value or date.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, date):  # and datetime
        value = value.isoformat()
    if isinstance(value, str):
        for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t")):
            value = value.replace(plain, escaped)
        return f'"{value}"'
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return repr(value)
    raise QueryError(
        f"a filter compares with {str(value)[:60]!r}, of type {type(value).__name__}",
        hint="compare with texts, finite numbers, truth values and dates",
    )


def equal(name: object, value: object) -> str:
    """Return that a field has a value; without one (None), that it has none at all."""
    return f"not exists {field(name)}" if value is None else f"{field(name)} = {literal(value)}"


def different(name: object, value: object) -> str:
    """Return that a field does not have a value; a document without the field passes, as Python's `!=` has it."""
    return f"exists {field(name)}" if value is None else f"not {field(name)} = {literal(value)}"


def ordered(name: object, sign: str, value: object) -> str:
    """Return that a field compares with a value as one of `ORDERS` says."""
    return f"{field(name)} {sign} {literal(value)}"


def among(name: object, values: object) -> str:
    """Return that a field has one of some values.

    Raises:
        QueryError: they are no list.
    """
    if not isinstance(values, Sequence | set | frozenset) or isinstance(values, str | bytes):
        raise QueryError(f"a filter looks for {name!r} in {str(values)[:60]!r}", hint="give a list of values")
    given = [literal(value) for value in values if value is not None]
    parts = [f"{field(name)} in ({', '.join(given)})"] if given else []
    parts += [equal(name, None)] if len(given) < len(values) else []
    return joined("or", parts) if parts else f"exists {field(name)} and not exists {field(name)}"  # none of nothing


def negated(part: str) -> str:
    """Return the opposite of a filter."""
    return f"not ({part})"


def joined(word: str, parts: Sequence[str]) -> str:
    """Return filters joined by `and` or `or`.

    Raises:
        QueryError: there are none.
    """
    if not parts:
        raise QueryError(f"the filter joins no conditions by {word!r}", hint="give at least one, or leave it out")
    return parts[0] if len(parts) == 1 else f" {word} ".join(f"({part})" for part in parts)


_ONE: Mapping[str, Callable[[object, Any], str]] = {
    "$eq": equal,
    "$ne": different,
    "$lt": lambda name, value: ordered(name, "<", value),
    "$lte": lambda name, value: ordered(name, "<=", value),
    "$gt": lambda name, value: ordered(name, ">", value),
    "$gte": lambda name, value: ordered(name, ">=", value),
    "$in": among,
    "$nin": lambda name, values: negated(among(name, values)),
    "$exists": lambda name, value: f"{'' if value else 'not '}exists {field(name)}",
}


def from_mapping(given: Filter) -> str | None:
    """Return the filter that a mapping means, as many vector stores have them; an expression is returned as it is.

    `{"lang": "en", "year": {"$gte": 1990, "$lt": 2000}}` asks for all of it; `$and`, `$or` and `$not` combine, and the
    comparisons are `$eq`, `$ne`, `$lt`, `$lte`, `$gt`, `$gte`, `$in`, `$nin` and `$exists`.

    Raises:
        QueryError: it is no such mapping; says what is wrong.
    """
    if given is None or isinstance(given, str):
        return given or None
    if not isinstance(given, Mapping):
        raise QueryError(f"the filter is a {type(given).__name__}", hint="write it as text or as a mapping")
    return _mapping(given) if given else None


def _mapping(given: Mapping[str, Any]) -> str:
    parts = []
    for name, value in given.items():
        if name in ("$and", "$or"):
            parts.append(joined(name[1:], [_mapping(each) for each in _list(name, value)]))
        elif name == "$not":
            parts.append(negated(_mapping(value)))
        elif name.startswith("$"):
            raise QueryError(f"the filter has {name!r}", hint="$and, $or and $not combine conditions")
        elif isinstance(value, Mapping):
            parts.append(joined("and", [_condition(name, sign, each) for sign, each in value.items()]))
        else:
            parts.append(equal(name, value))
    return joined("and", parts)


def _condition(name: str, sign: str, value: Any) -> str:
    if sign not in _ONE:
        raise QueryError(f"the filter compares {name!r} by {sign!r}", hint=f"use one of {', '.join(_ONE)}")
    return _ONE[sign](name, value)


def _list(name: str, value: Any) -> Sequence[Mapping[str, Any]]:
    if not isinstance(value, list | tuple) or not all(isinstance(each, Mapping) for each in value):
        raise QueryError(f"{name} of the filter is {str(value)[:60]!r}", hint="give a list of mappings")
    return value
