"""Statements on a collection's database that several modules need."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

# SQLite's parameter limit was 999 for many years; staying below it works everywhere.
MOST_PARAMETERS = 900


def select_in(connection: sqlite3.Connection, query: str, values: Sequence[Any], *more: Any) -> Iterator[Any]:
    """Yield the rows of a query with `IN (?)`, for any number of values; `more` are the parameters that follow."""
    for start in range(0, len(values), MOST_PARAMETERS):
        chunk = values[start : start + MOST_PARAMETERS]
        yield from connection.execute(query.replace("IN (?)", f"IN ({','.join('?' * len(chunk))})"), (*chunk, *more))


def read_properties(connection: sqlite3.Connection, *names: str) -> dict[str, Any]:
    """Read those properties of the database that it has."""
    return dict(select_in(connection, "SELECT name, value FROM properties WHERE name IN (?)", names))


def write_property(connection: sqlite3.Connection, name: str, value: object) -> None:
    """Store a property of the database (inside a transaction)."""
    connection.execute("INSERT OR REPLACE INTO properties VALUES (?, ?)", (name, value))


def last_internal_id(connection: sqlite3.Connection) -> int:
    """Return the internal id that was given out last; 0 before the first."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'rows'").fetchone()
    return int(row[0]) if row else 0
