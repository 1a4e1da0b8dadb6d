"""Marks of tests: what starts a process or loads a model is not in `make check`, whichever way it is reached."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import FunctionType

import pytest
from command import run, run_process
from marks import MARKS, UnmarkedError, excluded, reached
from page_server import PageServer
from repository import TINY_DENSE


def by_a_helper() -> None:
    run_process("--version")


def by_a_class() -> None:
    PageServer("data").start()


def by_an_import() -> None:
    from torch import nn  # noqa: F401


def by_a_name() -> Path:
    return TINY_DENSE


def by_nothing() -> None:
    run("--version")


@pytest.mark.parametrize(
    ("function", "marks"),
    [
        (by_a_helper, {"process"}),
        (by_a_class, {"process"}),
        (by_an_import, {"model"}),
        (by_a_name, {"model"}),
        (by_nothing, set()),
    ],
)
def test_marks_are_found_in_what_a_test_reaches(function: FunctionType, marks: set[str]) -> None:
    assert reached(function) == marks


def test_a_test_without_the_mark_can_start_no_process() -> None:
    with pytest.raises(UnmarkedError, match="has no mark `process`"):
        importlib.import_module("subprocess").run(["true"], check=True)


def test_a_test_without_the_mark_can_load_no_model() -> None:
    with pytest.raises(UnmarkedError, match="has no mark `model`"):
        sys.audit("import", "torch")  # as Python does before it loads the module; it may be loaded already


def test_make_check_selects_by_every_mark(root: Path) -> None:
    (expression,) = re.findall(r'^CHECKED := "(.*)"$', (root / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert excluded(expression) == set(MARKS)
    assert excluded("process or model") == set()
