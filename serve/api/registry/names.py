"""Names of collections, the directories they stand for, and their aliases.

Where there are two directories of one name (`my.index` and `my`), or a directory has the name of an alias, none of them
is served.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from lexhound.retrieval.collection.recovery import recover, recover_all
from lexhound.retrieval.collection.store.manifest import MANIFEST
from lexhound.retrieval.names import NAME_PATTERN, SUFFIX, directories_named, is_name
from lexhound.serve.api.http.exceptions import ConflictError

__all__ = ["NAME_PATTERN", "SUFFIX", "DataFolder", "name_of"]


def name_of(directory: Path) -> str:
    """Return the name of the collection in a directory; characters that names cannot have become `-`."""
    name = Path(os.path.abspath(directory)).name.removesuffix(SUFFIX)  # noqa: PTH100  links keep their own name
    return re.sub(r"[^A-Za-z0-9._-]", "-", name).lstrip("._-")[:128] or "collection"


class DataFolder:
    """Where collections are: a folder of them, or a single one.

    Attributes:
        single: whether `path` is itself a collection, the only one there is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        recover(path)
        self.single = (path / MANIFEST).is_file()

    def find(self, name: str) -> Path | None:
        """Return the directory of a collection, if there is one of this name.

        Raises:
            ConflictError: there are two, `NAME` and `NAME.index`.
        """
        if not is_name(name):
            return None
        if self.single:
            return self.path if name == name_of(self.path) else None
        candidates = directories_named(self.path, name)
        for directory in candidates:
            recover(directory)
        directories = [
            directory for directory in candidates if (directory / MANIFEST).is_file() and name_of(directory) == name
        ]
        if len(directories) > 1:
            raise ConflictError(
                "two directories have the name of this collection, so nobody can tell which is meant",
                where="path.name",
                hint="whoever runs the service has to rename one of them",
                code="ambiguous_name",
            )
        return directories[0] if directories else None

    def new_directory(self, name: str) -> Path:
        """Return where a new collection of this name goes."""
        return self.path / f"{name}{SUFFIX}"

    def names(self) -> list[str]:
        """Return the names of all collections, in ascending order."""
        if self.single:
            return [name_of(self.path)]
        recover_all(self.path)
        return sorted(set(self._names()))

    def twice(self) -> str | None:
        """Return the first name, if any, that two directories have."""
        counts = Counter(() if self.single else self._names())
        return min((name for name, count in counts.items() if count > 1), default=None)

    def _names(self) -> Iterator[str]:
        for directory in self.path.iterdir():
            name = directory.name.removesuffix(SUFFIX)
            if is_name(name) and (directory / MANIFEST).is_file():
                yield name
