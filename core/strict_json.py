"""Reading JSON that others wrote, so that nothing in it is altered in silence.

Parsers differ where the standard leaves room: of two equal keys most keep the last, and many make a floating-point
number of an integer that does not fit 64 bits. Here a key that occurs twice is an error, and integers are kept whole,
so that whoever reads them can say which field holds one that is too large.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

# Shorter integers fit 64 bits; so many digits in a text or behind a decimal point are read twice, and that is all.
_MANY = b"0" * 19
_DIGITS_AS_0 = bytes(ord("0") if chr(byte).isdecimal() and byte < 128 else ord(" ") for byte in range(256))
_CONTAINERS = frozenset({dict, list})
_SHOWN = 60


class _StrictError(orjson.JSONDecodeError):
    """JSON by its grammar, and yet not to be read."""


def parse_json(data: bytes) -> Any:
    """Return the value that UTF-8 JSON writes; integers may be of any size.

    Raises:
        orjson.JSONDecodeError: it is not JSON, a number is beyond all floating-point numbers, a text has half of a
            surrogate pair, or an object has a key twice; `json_fault` says which.
    """
    value = orjson.loads(data)
    # Every key has a colon: one more than there are keys stands in a text, or behind a key that was dropped.
    keys = _count_keys(value)
    repeated = data.count(b":") > keys and _outside_strings(data).count(b":") > keys
    if not repeated and _MANY not in data.translate(_DIGITS_AS_0):
        return value
    try:
        return json.loads(data, object_pairs_hook=_object)
    except RecursionError:
        raise _StrictError("nested too deeply", "", 0) from None


def json_fault(error: json.JSONDecodeError) -> str:
    """Return what `parse_json` found wrong, without a full stop."""
    if isinstance(error, _StrictError):
        return error.msg
    reason = error.msg
    if "surrogate in string" in reason:
        reason = "half of a surrogate pair, which is not a character,"
    return f"not JSON: {reason} at column {error.colno}"


def _count_keys(value: Any) -> int:
    """Return the keys of all objects in a value."""
    count = 0
    pending = [value] if type(value) in _CONTAINERS else []
    while pending:
        each = pending.pop()
        if type(each) is dict:
            count += len(each)
            each = each.values()
        pending += [inner for inner in each if type(inner) in _CONTAINERS]
    return count


def _outside_strings(data: bytes) -> bytes:
    """Return JSON without its strings: without escapes, every quote opens or closes one."""
    return b"".join(data.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        shown = ascii(twice) if len(twice) <= _SHOWN else f"{twice[:_SHOWN]!a}…"
        raise _StrictError(f"the key {shown} occurs twice in one object", "", 0)
    return values
