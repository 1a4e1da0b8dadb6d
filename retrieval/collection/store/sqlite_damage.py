"""A SQLite connection that tells damage as CorruptCollectionError, wherever a statement meets it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

from lexhound.retrieval.errors import CorruptCollectionError

# What SQLite says of a schema that is not ours any more: every statement is ours, so it cannot be at fault.
_SCHEMA = ("no such table", "no such column", "has no column named", "malformed", "no such index")
_DECODING = "Could not decode to UTF-8"
# The second where SQLite's own message has a name from the file in it.
_FAILURES = (sqlite3.DatabaseError, UnicodeDecodeError)


class Connection(sqlite3.Connection):
    """As `sqlite3.Connection`; statements raise CorruptCollectionError where the file is not what was written."""

    def cursor(self, factory: Callable[[sqlite3.Connection], Any] | None = None) -> Any:
        """Return a cursor that does the same."""
        return super().cursor(factory or Cursor)

    # Python's own make a plain cursor.
    def execute(self, *arguments: Any) -> Cursor:
        """See `sqlite3.Connection.execute`."""
        cursor: Cursor = self.cursor()
        return cursor.execute(*arguments)

    def executemany(self, *arguments: Any) -> Cursor:
        """See `sqlite3.Connection.executemany`."""
        cursor: Cursor = self.cursor()
        return cursor.executemany(*arguments)


class Cursor(sqlite3.Cursor):
    """See `Connection`."""

    def execute(self, *arguments: Any) -> Cursor:
        """See `sqlite3.Cursor.execute`."""
        try:
            super().execute(*arguments)
        except _FAILURES as error:
            tell(error)
            raise
        return self

    def executemany(self, *arguments: Any) -> Cursor:
        """See `sqlite3.Cursor.executemany`."""
        try:
            super().executemany(*arguments)
        except _FAILURES as error:
            tell(error)
            raise
        return self

    def fetchone(self) -> Any:
        """See `sqlite3.Cursor.fetchone`."""
        try:
            return super().fetchone()
        except _FAILURES as error:
            tell(error)
            raise

    def fetchall(self) -> list[Any]:
        """See `sqlite3.Cursor.fetchall`."""
        try:
            return super().fetchall()
        except _FAILURES as error:
            tell(error)
            raise

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        fetch = super().fetchone
        try:
            while (row := fetch()) is not None:
                yield row
        except _FAILURES as error:
            tell(error)
            raise


def tell(error: sqlite3.DatabaseError | UnicodeDecodeError) -> None:
    """Raise CorruptCollectionError where a statement's error says that the file is not what was written."""
    code = getattr(error, "sqlite_errorname", None) or ""
    text = str(error)
    damaged = (
        isinstance(error, UnicodeDecodeError)
        or code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT"))
        or text.startswith(_DECODING)
    )
    if damaged or (code in ("", "SQLITE_ERROR") and any(phrase in text for phrase in _SCHEMA)):
        raise CorruptCollectionError(
            f"damaged: not readable as a SQLite database ({text.split(' with text ')[0]})",
            hint="run `lexhound verify`, restore the collection from a backup or index the corpus again",
        ) from error
