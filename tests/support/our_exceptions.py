"""The exceptions that Lexhound defines."""

from __future__ import annotations

import importlib
import pkgutil

import lexhound
from lexhound.core.errors import LexhoundError

# Packages of extras without which some modules cannot be imported, and nothing needs them.
EXTRAS = {"triton"}
# Those that are caught where they are meant for: the user's own wish, told in its own way.
CAUGHT = {"Stopped"}


def our_exceptions() -> dict[str, type[LexhoundError]]:
    """Every exception that a module of ours defines and that may leave it, by its name without `Error`."""
    found: dict[str, type[LexhoundError]] = {}
    for module in pkgutil.walk_packages(lexhound.__path__, "lexhound."):
        if module.name.endswith("__main__"):
            continue
        try:
            opened = importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            if error.name not in EXTRAS:
                raise
            continue
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
