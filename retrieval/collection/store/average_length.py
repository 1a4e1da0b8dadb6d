"""The average document length that BM25's weights are made with, as the database keeps it.

Every segment remembers the average that its weights were made with. New segments, and documents that wait for one, use
the average that stands here. Readers take it from the database, so all of them rank alike; writers renew it
(`write/average_length.py`).
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from lexhound.retrieval.errors import CorruptCollectionError

from .schema import DATABASE
from .sql import read_properties, write_property

FAR = 0.1
"""Weights made with an average that differs by more than this share are far from those of today. At 10 %, a weight of
BM25 with the usual parameters moves by 2 % at most."""


@dataclass(frozen=True, slots=True)
class AverageLengths:
    """What the database says of average lengths, in words a document.

    Attributes:
        current: what new weights are made with (`read_average_length`); legacy: that of segments which do not say
            theirs, because earlier versions kept one for all.
    """

    current: float | None
    legacy: float | None


def read_average_lengths(connection: sqlite3.Connection) -> AverageLengths:
    """Read both averages at once.

    Raises:
        CorruptCollectionError: the database holds something else.
    """
    values = read_properties(connection, "mean_length", "average_length")
    if not all(isinstance(value, (int, float)) for value in values.values()):
        raise CorruptCollectionError(
            "the database does not tell the average length",
            where=DATABASE,
            hint="restore the file from a backup or index the corpus again",
        )
    legacy = values.get("average_length")
    return AverageLengths(values.get("mean_length", legacy), legacy)


def read_average_length(connection: sqlite3.Connection) -> float | None:
    """Read the average that new weights are made with; None before the first segment, when all that waits decides.

    Raises:
        CorruptCollectionError: the database holds something else.
    """
    return read_average_lengths(connection).current


def write_average_length(connection: sqlite3.Connection, average: float) -> None:
    """Store what `read_average_length` reads (inside a transaction)."""
    write_property(connection, "mean_length", average)


def is_far(stored: float, today: float) -> bool:
    """Return whether weights made with the one average are far from those of the other."""
    return abs(stored - today) > FAR * today
