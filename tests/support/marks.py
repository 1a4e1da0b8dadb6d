"""What a test needs beside this process: found in its code, and held against what it does.

A test is marked by what its function, its fixtures and the helpers that they call can reach: `process` where that is
the module `subprocess`, `model` where it is torch, and so on. A test without any mark that starts a process or loads a
model all the same fails: `make check` selects the tests without marks.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest
from repository import ROOT

MARKS = {
    "process": "starts another process",
    "browser": "opens a page in a browser",
    "model": "loads torch, for an encoder that is a neural network",
    "engine": "starts an engine of others: Milvus, Lucene",
    "slow": "takes more than two seconds of a processor",
}
# A test that reaches one of these modules has the mark.
_BY_MODULE = {
    "subprocess": "process",
    "multiprocessing": "process",
    "pty": "process",
    "playwright": "browser",
    "page_visits": "browser",
    "torch": "model",
    "transformers": "model",
    "sentence_transformers": "model",
    "haystack": "model",  # which loads torch where it is installed
    "tiny_checkpoints": "model",
    "pymilvus": "engine",
    "milvus_lite": "engine",
    "jnius": "engine",
    "ray": "process",
}
_BY_FIXTURE = {"browser": "browser"}
_BY_NAME = {"TINY_DENSE": "model"}
# What a test without marks does not do: these events, and imports of these modules.
_STARTS = frozenset({"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system"})
_LOADS = {
    name: mark
    for name, mark in _BY_MODULE.items()
    if mark in {"model", "engine", "browser"} and name not in {"tiny_checkpoints", "page_visits"}
}
_TESTS = str(ROOT / "tests")


class UnmarkedError(Exception):
    """A test without marks starts a process or loads a model."""


def marks_of(item: pytest.Function) -> set[str]:
    """Return the marks of everything that a test's function and fixtures can reach."""
    functions = [item.function]
    definitions = item._fixtureinfo.name2fixturedefs
    functions += [definition.func for each in definitions.values() for definition in each]
    return set().union(
        *(reached(each) for each in functions if isinstance(each, FunctionType)),
        {mark for name, mark in _BY_FIXTURE.items() if name in definitions},
    )


@cache
def reached(function: FunctionType) -> frozenset[str]:
    """Return the marks of everything that a function and the helpers that it calls can reach."""
    found, seen, waiting = set[str](), set[object](), [function]
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        for name in _names(one.__code__):
            if name in _BY_NAME:
                found.add(_BY_NAME[name])
            value = one.__globals__.get(name)
            module = getattr(value, "__name__", name) if value is None or isinstance(value, type(sys)) else ""
            mark = _BY_MODULE.get(module.partition(".")[0]) or _BY_MODULE.get(_home(value).partition(".")[0])
            if mark:
                found.add(mark)
            waiting += _helpers(value)
    return frozenset(found)


def _home(value: object) -> str:
    """The module that a function or class comes from."""
    return str(getattr(value, "__module__", None) or "") if isinstance(value, type | FunctionType) else ""


def _names(code: CodeType) -> Iterator[str]:
    """The names that code and what is defined in it look up."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _helpers(value: Any) -> list[FunctionType]:
    """The functions of ours behind a global name: itself, or the methods of a class."""
    value = getattr(value, "__wrapped__", value)
    members: Iterable[object] = vars(value).values() if isinstance(value, type) else (value,)
    return [each for each in members if isinstance(each, FunctionType) and each.__code__.co_filename.startswith(_TESTS)]


@cache
def marks_of_file(path: Path) -> frozenset[str]:
    """Return the marks of every test of a file: from its `pytestmark`, and from modules that it imports at its top."""
    text = path.read_text("utf-8")
    marks = set(re.findall(r"^pytestmark = .*\bpytest\.mark\.(\w+)", text, re.MULTILINE)) & {*MARKS, "slow"}
    modules = re.findall(r'^(?:import|from|.*pytest\.importorskip\()[ "]*(\w+)', text, re.MULTILINE)
    return frozenset(marks | {_LOADS[name] for name in modules if name in _LOADS})


def excluded(expression: str) -> frozenset[str]:
    """Return the marks that an expression `not (a or b)` of pytest's option -m leaves out."""
    found = re.fullmatch(r"not \((\w+(?: or \w+)*)\)|not (\w+)", expression.strip())
    return frozenset() if found is None else frozenset((found[1] or found[2]).split(" or "))


def loaded_of(marks: Collection[str]) -> list[str]:
    """Return the modules that are loaded although only tests with one of these marks may load them."""
    return sorted(name for name, mark in _LOADS.items() if mark in marks and name in sys.modules)


class Guard:
    """Holds tests without marks to that; by Python's audit events, which nothing in a process gets round."""

    def __init__(self) -> None:
        self._holds = False
        sys.addaudithook(self._see)

    def watch(self, marks: Collection[str] | None) -> None:
        """From now on a test with these marks runs, or none does."""
        self._holds = marks is not None and MARKS.keys().isdisjoint(marks)

    def _see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._holds:
            return
        if event in _STARTS:
            raise UnmarkedError(f"a process is started ({event}: {arguments[0]!r}), and the test has no mark `process`")
        if event == "import" and arguments[0] in _LOADS:
            raise UnmarkedError(f"{arguments[0]} is loaded, and the test has no mark `{_LOADS[arguments[0]]}`")
