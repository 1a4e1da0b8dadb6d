"""Common parts of the options of encoders: checks of single values, and which of them change vectors.

Options are plain frozen dataclasses: every search makes some, and a validation library would cost it more time to
import than they take to check.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any, ClassVar, Self

from .errors import SettingsError


class EncoderSettings:
    """Base of the options of encoders that run models; a frozen dataclass with defaults."""

    __slots__ = ()
    _RUNNING: ClassVar[frozenset[str]] = frozenset()
    """The options that only say how fast vectors come; the others say what they are."""

    def identifying(self) -> dict[str, Any]:
        """Return the options that change vectors, those at their defaults left out."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)  # type: ignore[arg-type]
            if field.name not in self._RUNNING and getattr(self, field.name) != field.default
        }

    def running(self, identifying: dict[str, Any]) -> Self:
        """Return options that make the vectors `identifying` says, the way these run.

        Raises:
            TypeError: `identifying` names an option that there is not.
        """
        values = {name: value for name, value in asdict(self).items() if name in self._RUNNING}  # type: ignore[call-overload]
        return type(self)(**{**identifying, **values})


def require_whole(name: str, value: object, least: int) -> None:
    """Raise SettingsError unless a value is a whole number of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SettingsError(f"{name} is {value!r}", f"It must be a whole number of at least {least}")


def require_number(name: str, value: object, low: float, high: float, rule: str) -> float:
    """Return a finite number from `low` to `high` as a float; raise SettingsError with `rule` for others."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise SettingsError(f"{name} is {value!r}", rule)
    if not low <= value <= high:
        raise SettingsError(f"{name} is {value!r}", rule)
    return float(value)


def require_one_of(name: str, value: object, allowed: Sequence[str]) -> None:
    """Raise SettingsError unless a value is one of those allowed."""
    if value not in allowed:
        raise SettingsError(f"{name} is {value!r}", f"It must be one of {', '.join(allowed)}")


def require_flag(name: str, value: object) -> None:
    """Raise SettingsError unless a value is true or false."""
    if not isinstance(value, bool):
        raise SettingsError(f"{name} is {value!r}", "It must be true or false")
