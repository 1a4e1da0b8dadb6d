"""Small mutable values of a collection, by name: rows of the table `properties`, part of every backup."""

from __future__ import annotations

import sqlite3


def read_property(connection: sqlite3.Connection, name: str) -> str | None:
    """Return what is kept under a name, or None."""
    row = connection.execute("SELECT value FROM properties WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def write_property(connection: sqlite3.Connection, name: str, text: str | None) -> None:
    """Keep a text in the place of the one before, or with None nothing; inside the caller's transaction."""
    if text is None:
        connection.execute("DELETE FROM properties WHERE name = ?", (name,))
    else:
        connection.execute("INSERT OR REPLACE INTO properties(name, value) VALUES (?, ?)", (name, text))
