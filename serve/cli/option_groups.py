"""Commands whose arguments and options are the fields of a frozen dataclass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from inspect import Parameter, Signature
from typing import Any, TypeVar, get_type_hints

Options = TypeVar("Options")


def with_options(function: Callable[[Options], None]) -> Callable[..., None]:
    """Return a Typer command from a function of one dataclass.

    The command's parameters are the fields of the dataclass, with their `Annotated` types and defaults. A field that is
    a dataclass itself is a group of options that several commands share: its fields take its place.
    """
    hints = get_type_hints(function)
    kind = hints[next(name for name in hints if name != "return")]
    parameters = [
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if field.default is MISSING else field.default,
            annotation=hint,
        )
        for field, hint in _flat_fields(kind)
    ]

    def command(**values: Any) -> None:
        function(_filled(kind, values))

    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(command, name, getattr(function, name))
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _flat_fields(kind: type) -> Iterator[tuple[Field[Any], Any]]:
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        if is_dataclass(hints[field.name]):
            yield from _flat_fields(hints[field.name])
        else:
            yield field, hints[field.name]


def _filled(kind: type[Options], values: dict[str, Any]) -> Options:
    hints = get_type_hints(kind)
    filled = {
        field.name: _filled(hints[field.name], values) if is_dataclass(hints[field.name]) else values[field.name]
        for field in fields(kind)  # type: ignore[arg-type]
    }
    return kind(**filled)
