"""The reranking that a collection keeps for its own searches: those that name none."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict

import orjson

from lexhound.retrieval.errors import CorruptCollectionError, QueryError

from .options import Rerank

_NAME = "reranker"


def read_rerank(connection: sqlite3.Connection) -> Rerank | None:
    """Return the reranking that is kept, or None.

    Raises:
        CorruptCollectionError: what is kept is no reranking.
    """
    row = connection.execute("SELECT value FROM properties WHERE name = ?", (_NAME,)).fetchone()
    if row is None:
        return None
    try:
        return Rerank(**orjson.loads(row[0]))
    except (orjson.JSONDecodeError, TypeError, QueryError) as error:
        raise CorruptCollectionError(
            f"damaged: the reranker that it keeps cannot be read ({error})",
            hint="replace it: lexhound reranker COLLECTION MODEL",
        ) from error


def write_rerank(connection: sqlite3.Connection, rerank: Rerank | None) -> None:
    """Keep a reranking, or none; inside the caller's transaction."""
    if rerank is None:
        connection.execute("DELETE FROM properties WHERE name = ?", (_NAME,))
        return
    given = {name: value for name, value in asdict(rerank).items() if value is not None}
    value = orjson.dumps(given).decode()
    connection.execute("INSERT OR REPLACE INTO properties(name, value) VALUES (?, ?)", (_NAME, value))
