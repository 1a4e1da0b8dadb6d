"""The exceptions that Lexhound defines."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pkgutil
import re
from functools import cache
from pathlib import Path

import lexhound
from lexhound.core.errors import LexhoundError

# Those that are caught where they are meant for: the user's own wish, told in its own way.
CAUGHT = {"Stopped"}
# A class of one line whose bases may be exceptions, or a statement that goes on: parsing all sources takes seconds.
_MAYBE = re.compile(r"^[ \t]*class\b(?:.*(?:Error|Exception)|.*[^:\s]\s*$)", re.MULTILINE)


@cache
def our_exceptions() -> dict[str, type[LexhoundError]]:
    """Every exception that a module of ours defines and that may leave it, by its name without `Error`."""
    found: dict[str, type[LexhoundError]] = {}
    for module in pkgutil.walk_packages(lexhound.__path__, "lexhound."):
        if not _defines_exceptions(module.name):
            continue
        opened = importlib.import_module(module.name)
        for value in vars(opened).values():
            if not (isinstance(value, type) and issubclass(value, Exception)):
                continue
            if value.__module__ != module.name or value.__name__.startswith("_"):
                continue
            if value.__name__ in CAUGHT:
                continue
            assert issubclass(value, LexhoundError), f"{value.__module__}.{value.__name__}"
            assert found.setdefault(value.__name__.removesuffix("Error"), value) is value, "two of one name"
    return found


def _defines_exceptions(name: str) -> bool:
    """Whether a module's source has a class that is an exception by the names of its bases; models stay unloaded."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text()
    if not _MAYBE.search(source):
        return False
    classes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
    bases = [ast.unparse(base) for each in classes for base in each.bases]
    return any(base.endswith(("Error", "Exception")) for base in bases)
