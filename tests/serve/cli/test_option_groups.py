"""A command made of a function of one dataclass has the dataclass's fields, and those of its groups, as parameters."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer

from lexhound.serve.cli.option_groups import with_options


@dataclass(frozen=True, kw_only=True)
class Size:
    width: Annotated[int, typer.Option(min=1)] = 3
    height: Annotated[int, typer.Option("-h")] = 4


@dataclass(frozen=True, kw_only=True)
class Drawing:
    name: Annotated[str, typer.Argument()]
    size: Size
    filled: Annotated[bool, typer.Option("--filled")] = False


SEEN: list[Drawing] = []


@with_options
def draw(options: Drawing) -> None:
    """Draw."""
    SEEN.append(options)


def invoke(*arguments: str) -> Drawing:
    app = typer.Typer()
    app.command()(draw)
    SEEN.clear()
    app(list(arguments), standalone_mode=False)
    (drawing,) = SEEN
    return drawing


def test_groups_are_filled_from_the_command_line() -> None:
    assert invoke("a") == Drawing(name="a", size=Size())
    assert invoke("b", "--width", "7", "-h", "9", "--filled") == Drawing(
        name="b", size=Size(width=7, height=9), filled=True
    )


def test_the_command_has_the_fields_as_parameters() -> None:
    assert list(inspect.signature(draw).parameters) == ["name", "width", "height", "filled"]
    assert (draw.__name__, draw.__doc__) == ("draw", "Draw.")


def test_limits_and_required_arguments_hold() -> None:
    with pytest.raises(typer.TyperException, match="greater than or equal to 1"):
        invoke("a", "--width", "0")
    with pytest.raises(typer.TyperException, match=r"(?i)missing"):
        invoke()
