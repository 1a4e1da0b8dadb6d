"""A filter expression as a tree.

What an expression means is defined on the flat pairs (field, value) of a document's metadata (`metadata.flatten`):

- A comparison holds if *some* value of the field compares so. Numbers compare with numbers only, by size; strings
  with strings only, by code point. Booleans are the numbers 1 and 0. A document without the field has no such value.
- `!=` and `not in` hold if the field has a value and *no* value of it equals (one of) the given: `year != 1990`
  leaves out documents that have no year, `not year = 1990` keeps them.
- `exists field` holds if the field has a value, or a field within it has one (`author` where there is `author.name`).
- `id` and `title` are the document's own; metadata of the same name gives the field more values.
- `and`, `or`, `not` are two-valued: there is no "unknown".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from lexhound.retrieval.documents.metadata import Value

Operator: TypeAlias = Literal["=", "!=", "<", "<=", ">", ">="]


@dataclass(frozen=True, slots=True)
class Comparison:
    """`field operator value`; booleans are already 1 and 0, and `==` is `=`."""

    field: str
    operator: Operator
    value: Value


@dataclass(frozen=True, slots=True)
class Membership:
    """`field in (values)`, or with `negated` `field not in (values)`."""

    field: str
    values: tuple[Value, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Exists:
    """`exists field`."""

    field: str


@dataclass(frozen=True, slots=True)
class Not:
    """`not operand`."""

    operand: Expression


@dataclass(frozen=True, slots=True)
class And:
    """All of two or more operands hold."""

    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """One of two or more operands holds."""

    operands: tuple[Expression, ...]


Expression: TypeAlias = Comparison | Membership | Exists | Not | And | Or
