"""Which fields the documents of a collection have, and what values, looked up in the database."""

from __future__ import annotations

import sqlite3

from lexhound.retrieval.filters.column import OWN_FIELDS
from lexhound.retrieval.filters.known_fields import Kind

# Metadata made of free keys can have any number of fields; nobody looks at more.
MAX_FIELDS = 200

# Numbers come before texts, so the ends of a field say whether it has them.
_ENDS = (
    "SELECT typeof(value) FROM metadata WHERE field = ? ORDER BY value LIMIT 1",
    "SELECT typeof(value) FROM metadata WHERE field = ? ORDER BY value DESC LIMIT 1",
)
_FROM = "SELECT min(field) FROM metadata WHERE field >= ?"
_AFTER = "SELECT min(field) FROM metadata WHERE field > ?"


class StoredFields:
    """The fields of the stored documents, and of those deleted since the last compaction.

    Those of one tenant where a `prefix` is given. Cost: look-ups in the primary key, two a field and one a name.
    """

    def __init__(self, connection: sqlite3.Connection, prefix: str = "") -> None:
        self._connection = connection
        self._prefix = prefix

    def kinds(self, field: str) -> frozenset[Kind]:
        """Return what values a field has in any document."""
        found: set[Kind] = {"text"} if field in OWN_FIELDS else set()
        for statement in _ENDS:
            row = self._connection.execute(statement, (self._prefix + field,)).fetchone()
            if row is not None:
                found.add("text" if row[0] == "text" else "number")
        return frozenset(found)

    def inner(self, field: str) -> list[str]:
        """Return the fields within a field, ascending."""
        return self._beginning(f"{field}.")

    def names(self) -> list[str]:
        """Return the fields that documents have, ascending."""
        return self._beginning("")

    def _beginning(self, prefix: str) -> list[str]:
        # Jumps from one to the next in the primary key, not a scan.
        names: list[str] = []
        prefix = self._prefix + prefix
        row = self._connection.execute(_FROM, (prefix,)).fetchone()
        while row[0] is not None and row[0].startswith(prefix) and len(names) < MAX_FIELDS:
            names.append(row[0][len(self._prefix) :])
            row = self._connection.execute(_AFTER, (row[0],)).fetchone()
        return names
