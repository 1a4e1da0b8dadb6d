"""Notes: texts that a program keeps with a collection, by name, such as the mapping of an OpenSearch index.

They are small mutable values of the database, as the fusion is: part of every backup, changed by a transaction.
"""

from __future__ import annotations

import re
import sqlite3

from lexhound.retrieval.errors import QueryError

from .properties import read_property, write_property

MAX_NOTE_BYTES = 2**20

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")


def read_note(connection: sqlite3.Connection, name: str) -> str | None:
    """Return the note of this name, or None."""
    return read_property(connection, _property(name))


def write_note(connection: sqlite3.Connection, name: str, text: str | None) -> None:
    """Keep a note, or with None drop it; inside the caller's transaction.

    Raises:
        QueryError: it is too long, or its name is none.
    """
    key = _property(name)
    if text is not None and len(text.encode("utf-8", "replace")) > MAX_NOTE_BYTES:
        raise QueryError(f"the note has more than {MAX_NOTE_BYTES:,} bytes", hint="keep it shorter")
    write_property(connection, key, text)


def _property(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise QueryError(f"{name[:80]!a} is no name of a note", hint="use up to 64 of a-z, 0-9, _ and -")
    return f"note:{name}"
