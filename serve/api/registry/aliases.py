"""Aliases of collections, as the service follows them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from pathlib import Path

from lexhound.retrieval.aliases import FILE, change_aliases, read_aliases
from lexhound.retrieval.errors import AliasError
from lexhound.serve.api.http.exceptions import ConflictError

_log = logging.getLogger("lexhound.serve")


class ServedAliases:
    """The aliases of a data folder, read again when the file of them has changed.

    Requests that are under way go on with the collection that they began with; those that begin later have the new one,
    in every process.
    """

    def __init__(self, folder: Path | None) -> None:
        """Of no folder (None), where a single collection is served, there are none."""
        self._folder = folder
        self._stamp: tuple[int, int, int] | None = None
        self._aliases: dict[str, str] = {}

    def current(self) -> Mapping[str, str]:
        """Return the name of the collection that each alias leads to, by alias in ascending order.

        Costs a look at the file system. A file that cannot be read is logged, and what it held before stays.
        """
        if self._folder is None:
            return {}
        try:
            status = (self._folder / FILE).stat()
        except OSError:
            self._stamp, self._aliases = None, {}
            return self._aliases
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if stamp != self._stamp:
            try:
                self._aliases = read_aliases(self._folder)
            except AliasError as error:
                _log.error("%s", error)
            self._stamp = stamp
        return self._aliases

    def resolve(self, name: str) -> str:
        """Return the name of the collection that an alias leads to, and every other name as it is."""
        return self.current().get(name, name)

    def change(self, put: Mapping[str, str], remove: Collection[str] = ()) -> Mapping[str, str]:
        """Let aliases lead to collections and remove others, all at once; return those that there are then.

        Raises:
            ConflictError: the service serves a single collection. AliasError and what `change_aliases` raises.
        """
        if self._folder is None:
            raise ConflictError(
                "the service serves a single collection, so it has no aliases",
                hint="start it with a folder instead: lexhound serve data/",
                code="single_collection",
            )
        return change_aliases(self._folder, put, remove)

    def check_deletable(self, name: str) -> None:
        """Refuse to delete a collection by an alias, or from under one.

        Raises:
            ConflictError
        """
        if self.resolve(name) != name:
            raise ConflictError(
                f"{name!r} is an alias",
                where="path.name",
                hint="remove it with POST /v1/aliases, or delete the collection that it leads to",
                code="alias",
            )
        if name in self.current().values():
            raise ConflictError(
                "an alias leads to the collection",
                where="path.name",
                hint="let it lead to another one, or remove it, with POST /v1/aliases; GET /v1/aliases lists them",
                code="aliased",
            )
