"""Our results as plain JSON: dictionaries, lists, strings and numbers, the same bytes for the same input."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def to_json(value: Any) -> Any:
    """Turn dataclasses, tuples, paths and NumPy values into what JSON knows.

    An object with a `to_json` method of its own says itself what is worth telling. Numbers that JSON
    cannot hold (not a number, infinite) become null.
    """
    method = getattr(value, "to_json", None)
    if method is not None and not isinstance(value, type):
        return to_json(method())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        entries = sorted(value) if isinstance(value, (set, frozenset)) else value
        return [to_json(entry) for entry in entries]
    if isinstance(value, np.ndarray):
        return to_json(value.tolist())
    if isinstance(value, np.generic):
        return to_json(value.item())
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def to_json_bytes(value: Any, *, indent: bool = True) -> bytes:
    """Return JSON text in UTF-8 with a newline at its end."""
    import orjson

    options = orjson.OPT_APPEND_NEWLINE | (orjson.OPT_INDENT_2 if indent else 0)
    return orjson.dumps(to_json(value), option=options)
