"""The reranking that a collection keeps for its own searches: those that name none."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict

import orjson

from lexhound.retrieval.collection.store.properties import read_property, write_property
from lexhound.retrieval.errors import CorruptCollectionError, QueryError

from .options import Rerank

_NAME = "reranker"


def read_rerank(connection: sqlite3.Connection) -> Rerank | None:
    """Return the reranking that is kept, or None.

    Raises:
        CorruptCollectionError: what is kept is no reranking.
    """
    kept = read_property(connection, _NAME)
    if kept is None:
        return None
    try:
        return Rerank(**orjson.loads(kept))
    except (orjson.JSONDecodeError, TypeError, QueryError) as error:
        raise CorruptCollectionError(
            f"damaged: the reranker that it keeps cannot be read ({error})",
            hint="replace it: lexhound reranker COLLECTION MODEL",
        ) from error


def write_rerank(connection: sqlite3.Connection, rerank: Rerank | None) -> None:
    """Keep a reranking, or none; inside the caller's transaction."""
    given = {} if rerank is None else {name: value for name, value in asdict(rerank).items() if value is not None}
    write_property(connection, _NAME, orjson.dumps(given).decode() if given else None)
