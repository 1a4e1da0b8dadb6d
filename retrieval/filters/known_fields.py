"""Is there anything that a filter names?

A misspelt field, or a text where all values are numbers, lets nothing through, which looks like an answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, Protocol, TypeAlias

from lexhound.core.suggestions import nearest
from lexhound.retrieval.documents.metadata import Value
from lexhound.retrieval.errors import UnknownFieldError

from .column import OWN_FIELDS
from .expression import And, Comparison, Exists, Expression, Membership, Not, Or

Kind: TypeAlias = Literal["number", "text"]

_SHOWN_FIELDS = 12
_SEARCHED = ("text", "contents", "body")
ALLOW = "`allow_unknown_fields` lets it through"
"""What a message ends with, for those whose door has that option."""
_ALLOW_CLI = "--allow-unknown-fields lets it through"


class FieldKinds(Protocol):
    """What a collection's documents hold."""

    def kinds(self, field: str) -> frozenset[Kind]:
        """Return what values a field has in any document; none where no document has it."""

    def inner(self, field: str) -> list[str]:
        """Return the fields within a field, by name."""

    def names(self) -> list[str] | None:
        """Return the fields that documents have, by name; None where they cannot be listed."""


def check_known(expression: Expression, fields: FieldKinds) -> None:
    """Refuse an expression with a field that no document has, or with a value of a kind that the field never has.

    Raises:
        UnknownFieldError: it names the field, and the nearest ones that there are; `where` is "filter".
    """
    try:
        _check(expression, fields)
    except UnknownFieldError as error:
        error.where = "filter"
        raise


def check_shown(names: Iterable[str], fields: FieldKinds) -> None:
    """Refuse fields of metadata that hits are to show, and that no document has.

    Raises:
        UnknownFieldError: it names the field, and the nearest ones that there are; `where` is "fields".
    """
    try:
        for name in names:
            if not fields.inner(name):
                check_field(name, fields)
    except UnknownFieldError as error:
        error.where = "fields"
        raise


def _check(expression: Expression, fields: FieldKinds) -> None:
    for clause in _clauses(expression):
        if isinstance(clause, Exists):
            if not fields.inner(clause.field):
                check_field(clause.field, fields)
            continue
        kinds = check_field(clause.field, fields)
        for value in clause.values if isinstance(clause, Membership) else (clause.value,):
            if kind_of(value) not in kinds:
                raise _other_kind(clause.field, value)


def kind_of(value: Value) -> Kind:
    """Return what a value is compared with."""
    return "text" if isinstance(value, str) else "number"


def check_field(field: str, fields: FieldKinds) -> frozenset[Kind]:
    """Return what values a field has.

    Raises:
        UnknownFieldError: it has none.
    """
    kinds = fields.kinds(field)
    if kinds:
        return kinds
    inner = fields.inner(field)
    if inner:
        within = ", ".join(inner[:_SHOWN_FIELDS])
        raise _refusal(f"the field {field!r} has no value of its own", f"the fields within it are {within}")
    raise _unknown(field, fields.names())


def _unknown(field: str, names: list[str] | None) -> UnknownFieldError:
    """Return the refusal of a field that no document has; `names` are those that there are."""
    if names is None:
        return _refusal(f"no document has metadata called {field!r}", "filters of this engine look at metadata alone")
    close = nearest(field, [*names, *OWN_FIELDS])
    if field.lower() in _SEARCHED:
        hint = "filters look at metadata, id and title; texts are what the query searches"
    elif close:
        hint = f"did you mean {' or '.join(close)}?"
    elif names:
        more = f" and {len(names) - _SHOWN_FIELDS:,} more" if len(names) > _SHOWN_FIELDS else ""
        hint = f"the fields are {', '.join(names[:_SHOWN_FIELDS])}{more}"
    else:
        hint = "the documents have no metadata"
    return _refusal(f"no document has the field {field!r}", hint)


def _other_kind(field: str, value: Value) -> UnknownFieldError:
    if isinstance(value, str):
        plain = value if _is_number(value) else value.lower() if value.lower() in ("true", "false") else None
        hint = "compare it with a number" if plain is None else f"write it without quotes: {plain}"
        return _refusal(f"all values of the field {field!r} are numbers, and {_quoted(value)} is text", hint)
    hint = (
        f'write it in quotes: "{value}"' if value not in (0, 1) else f'write it in quotes, such as "{value}" or "true"'
    )
    return _refusal(f"all values of the field {field!r} are text, and {value} is a number", hint)


def _refusal(message: str, hint: str) -> UnknownFieldError:
    ending = " " if hint.endswith("?") else "; "
    return UnknownFieldError(message, hint=f"{hint}{ending}{ALLOW}", cli_hint=f"{hint}{ending}{_ALLOW_CLI}")


def _is_number(text: str) -> bool:
    try:
        return float(text) == float(text)
    except ValueError:
        return False


def _quoted(text: str) -> str:
    return f'"{text[:40]}…"' if len(text) > 40 else f'"{text}"'


def _clauses(expression: Expression) -> Iterator[Comparison | Membership | Exists]:
    pending = [expression]
    while pending:
        part = pending.pop(0)
        match part:
            case Not(operand):
                pending.insert(0, operand)
            case And(operands) | Or(operands):
                pending[:0] = operands
            case _:
                yield part
