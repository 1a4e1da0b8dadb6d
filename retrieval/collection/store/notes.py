"""Notes: texts that a program keeps with a collection, by name, such as the mapping of an OpenSearch index.

They are small mutable values of the database, as the fusion is: part of every backup, changed by a transaction.
"""

from __future__ import annotations

import re
import sqlite3

from lexhound.retrieval.errors import QueryError

MAX_NOTE_BYTES = 2**20

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")


def read_note(connection: sqlite3.Connection, name: str) -> str | None:
    """Return the note of this name, or None."""
    row = connection.execute("SELECT value FROM properties WHERE name = ?", (_property(name),)).fetchone()
    return None if row is None else str(row[0])


def write_note(connection: sqlite3.Connection, name: str, text: str | None) -> None:
    """Keep a note, or with None drop it; inside the caller's transaction.

    Raises:
        QueryError: it is too long, or its name is none.
    """
    key = _property(name)
    if text is None:
        connection.execute("DELETE FROM properties WHERE name = ?", (key,))
        return
    if len(text.encode("utf-8", "replace")) > MAX_NOTE_BYTES:
        raise QueryError(f"the note has more than {MAX_NOTE_BYTES:,} bytes", hint="keep it shorter")
    connection.execute("INSERT OR REPLACE INTO properties VALUES (?, ?)", (key, text))


def _property(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise QueryError(f"{name[:80]!a} is no name of a note", hint="use up to 64 of a-z, 0-9, _ and -")
    return f"note:{name}"
