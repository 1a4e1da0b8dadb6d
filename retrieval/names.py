"""Names of the collections of a folder: `my.index` is the directory of the collection `my`, and so is `my`.

A name is made of letters, digits, `.`, `_` and `-` and begins with a letter or digit, so no name can lead out of its
folder.
"""

from __future__ import annotations

import re
from pathlib import Path

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
SUFFIX = ".index"

_NAME = re.compile(NAME_PATTERN.removesuffix("$") + r"\Z")


def is_name(text: str) -> bool:
    """Return whether a collection may have this name."""
    return _NAME.match(text) is not None


def directories_named(folder: Path, name: str) -> tuple[Path, ...]:
    """Return the directories that could hold the collection of a name, the one that a new one would have first."""
    plain = folder / name
    # `my.index` names the collection `my`, and no collection of its own.
    return (folder / f"{name}{SUFFIX}",) if name.endswith(SUFFIX) else (folder / f"{name}{SUFFIX}", plain)
