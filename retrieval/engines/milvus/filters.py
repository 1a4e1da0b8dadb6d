"""Our filters in Milvus: what is stored beside a document so that expressions of Milvus mean exactly what ours do.

Expressions of Milvus over the metadata itself would mean something else: there `true` is not 1, a list has no values
to compare, `!=` holds of a missing field, and keys and texts have to be escaped in ways that differ between versions.
So each document has one more JSON field, `filter`, with a flag for everything that can be asked of it:

    e<d>  1             the field has this value          d: digest of the field and the value
    v<d>  1             the field has a value             d: digest of the field
    x<d>  1             the field, or one in it, has one
    n<d>  1, l<d>, g<d> the field has numbers; the least and the greatest of them
    s<d>  1, a<d>, z<d> it has texts; the least and the greatest, as hexadecimal UTF-8, whose order is that of texts

    none  1             the row has no dense vector, though the collection has them
    cut   1             an encoder left out a part of the document

"Some value is below v" is "the least is below v". Milvus's engine in this process has no `not`, so negations are driven
down to the flags, where `!= 1` holds of a missing one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from lexhound.retrieval.documents.document import JSON
from lexhound.retrieval.documents.metadata import Value, flatten
from lexhound.retrieval.errors import UnsupportedError
from lexhound.retrieval.filters import And, Comparison, Exists, Expression, Membership, Not, Or

FIELD = "filter"
_DIGEST_BYTES = 12
NO_VECTOR, CUT = "none", "cut"
WITH_VECTOR = f'{FIELD}["{NO_VECTOR}"] != 1'
"""The expression that holds of rows with a dense vector."""
IS_CUT = f'{FIELD}["{CUT}"] == 1'
"""The expression that holds of documents of which an encoder left out a part."""

# Up to here a float64, in which Milvus compares, holds every integer.
_EXACT = 2**53


def flags_of(metadata: Mapping[str, JSON]) -> dict[str, int | float | str]:
    """Return what is stored of a document's metadata."""
    flags: dict[str, int | float | str] = {}
    for field, value in flatten(metadata):
        name = _digest(field)
        flags[f"e{_digest(field, value)}"] = 1
        flags[f"v{name}"] = 1
        path = ""
        for part in field.split("."):
            path = f"{path}.{part}" if path else part
            flags[f"x{_digest(path)}"] = 1
        flags[f"x{name}"] = 1
        if isinstance(value, str):
            _widen(flags, "s", "a", "z", name, value.encode().hex())
        else:
            _widen(flags, "n", "l", "g", name, float(value))
    return flags


def _widen(flags: dict[str, Any], kind: str, low: str, high: str, name: str, value: Any) -> None:
    flags[f"{kind}{name}"] = 1
    flags[f"{low}{name}"] = min(flags.get(f"{low}{name}", value), value)
    flags[f"{high}{name}"] = max(flags.get(f"{high}{name}", value), value)


def translate(expression: Expression, *, negated: bool = False) -> str:
    """Return the expression of Milvus that holds of the same documents.

    Raises:
        UnsupportedError: it compares the size of numbers beyond 2**53.
    """
    match expression:
        case Not(operand):
            return translate(operand, negated=not negated)
        case And(operands) | Or(operands):
            joined = "and" if isinstance(expression, And) is not negated else "or"
            return "(" + f" {joined} ".join(translate(operand, negated=negated) for operand in operands) + ")"
        case Exists(field):
            return _flag(f"x{_digest(field)}", not negated)
        case Membership(field, values, excluded):
            equal = [_flag(f"e{_digest(field, value)}", excluded is negated) for value in values]
            if not excluded:
                return "(" + (" and " if negated else " or ").join(equal) + ")"
            # The field has a value, and none of these; negated: it has no value, or one of these.
            has_field = _flag(f"v{_digest(field)}", not negated)
            return "(" + (" or " if negated else " and ").join([has_field, *equal]) + ")"
        case Comparison(field, "=", value):
            return _flag(f"e{_digest(field, value)}", not negated)
        case Comparison(field, "!=", value):
            return translate(Membership(field, (value,), negated=True), negated=negated)
        case Comparison(field, operator, value):
            return _range(field, operator, value, negated=negated)


def _range(field: str, operator: str, value: Value, *, negated: bool) -> str:
    name = _digest(field)
    if isinstance(value, str):
        kind, bound, literal = "s", "a" if operator in ("<", "<=") else "z", f'"{value.encode().hex()}"'
    else:
        if abs(value) >= _EXACT:
            raise UnsupportedError(
                f"Milvus compares numbers as float64, which is not exact for {value}",
                hint="compare with a number below 2**53, or with = and in",
            )
        kind, bound, literal = "n", "l" if operator in ("<", "<=") else "g", repr(float(value))
    if not negated:
        return f'{FIELD}["{bound}{name}"] {operator} {literal}'
    opposite = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}[operator]
    return f'({FIELD}["{bound}{name}"] {opposite} {literal} or {_flag(f"{kind}{name}", False)})'


def _flag(name: str, holds: bool) -> str:
    return f'{FIELD}["{name}"] {"==" if holds else "!="} 1'


def _digest(field: str, value: Value | None = None) -> str:
    """Return the digest of a field, or of a field and a value; values that compare equal have one digest."""
    parts = [field]
    if isinstance(value, str):
        parts += ["text", value]
    elif value is not None:
        is_integer = isinstance(value, int) or value.is_integer()
        parts += ["number", str(int(value)) if is_integer else repr(value)]
    data = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.blake2b(data.encode(), digest_size=_DIGEST_BYTES).hexdigest()


def tenant_of(expression: Expression | None, field: str) -> str | None:
    """Return the tenant key to which a filter confines a search, where it says `field = "..."` of all that it lets
    through.
    """
    if isinstance(expression, And):
        keys = (tenant_of(operand, field) for operand in expression.operands)
        return next((key for key in keys if key is not None), None)
    if isinstance(expression, Comparison) and (expression.field, expression.operator) == (field, "="):
        return _digest(field, expression.value)
    return None


def tenant_key(metadata: Mapping[str, JSON], field: str) -> str:
    """Return the key of a document's tenant; "" where it has none.

    Raises:
        UnsupportedError: it has several.
    """
    values = [value for name, value in flatten(metadata) if name == field]
    if len(values) > 1:
        raise UnsupportedError(
            f"a document has {len(values)} values of {field}, and Milvus keeps a document in one partition",
            hint="give each document one",
        )
    return _digest(field, values[0]) if values else ""
