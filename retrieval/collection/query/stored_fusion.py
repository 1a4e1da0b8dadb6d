"""The fusion that a collection keeps for its own hybrid searches: those that name none.

It is one of the small mutable values of the database, so a change of it is a transaction like any other, and readers
see it with the next snapshot. Collections without it are fused by `Fusion()`.
"""

from __future__ import annotations

import sqlite3
from dataclasses import asdict, fields

import orjson

from lexhound.retrieval.collection.request import Fusion
from lexhound.retrieval.collection.store.properties import read_property, write_property
from lexhound.retrieval.errors import CorruptCollectionError, QueryError

_NAME = "fusion"


def read_fusion(connection: sqlite3.Connection) -> Fusion | None:
    """Return the fusion that is kept, or None.

    Raises:
        CorruptCollectionError: what is kept is not a fusion.
    """
    kept = read_property(connection, _NAME)
    if kept is None:
        return None
    try:
        values = orjson.loads(kept)
        return Fusion(**{field.name: values[field.name] for field in fields(Fusion)})
    except (orjson.JSONDecodeError, KeyError, TypeError, QueryError) as error:
        raise CorruptCollectionError(
            f"damaged: the fusion that it keeps cannot be read ({error})",
            hint="replace it: lexhound tune-fusion COLLECTION DATASET --save",
        ) from error


def write_fusion(connection: sqlite3.Connection, fusion: Fusion | None) -> None:
    """Keep a fusion, or none; inside the caller's transaction."""
    write_property(connection, _NAME, None if fusion is None else orjson.dumps(asdict(fusion)).decode())
