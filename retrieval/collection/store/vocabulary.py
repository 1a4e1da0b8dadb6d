"""The lexical vocabulary of a collection, kept in its database.

Term ids are given out in order and never change or go away, so segments made at different times agree on them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from threading import RLock

import numpy as np
from numpy.typing import NDArray

from .sql import MOST_PARAMETERS, select_in


class SqliteVocabulary:
    """Terms by id and ids by term, read and appended through one connection.

    `grow` writes inside whatever transaction the connection is in: when that rolls back, so do the new terms, and
    caches above must be dropped.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = RLock()

    def lookup(self, terms: Sequence[str]) -> NDArray[np.int32]:
        """Return the ids of terms, -1 for those the collection has never seen; int32, one a term."""
        ordered = terms if len(terms) <= MOST_PARAMETERS else sorted(terms)  # of many, neighbours lie on the same pages
        with self._lock:
            known = dict(select_in(self._connection, "SELECT term, term_id FROM terms WHERE term IN (?)", ordered))
        return np.fromiter((known.get(term, -1) for term in terms), dtype=np.int32, count=len(terms))

    def grow(self, terms: Sequence[str]) -> NDArray[np.int32]:
        """Return the ids of terms; terms not seen before are appended in the order given."""
        ids = self.lookup(terms)
        unknown = np.flatnonzero(ids < 0)
        if not len(unknown):
            return ids
        unseen = [terms[position] for position in unknown.tolist()]
        distinct = dict.fromkeys(unseen)
        first = len(self)
        new = dict(zip(distinct, range(first, first + len(distinct)), strict=True))
        self._connection.executemany(
            "INSERT INTO terms(term_id, term) VALUES (?, ?)", zip(new.values(), new.keys(), strict=True)
        )
        ids[unknown] = [new[term] for term in unseen]
        return ids

    def text(self, term_id: int) -> str:
        """Return the term of an id.

        Raises:
            IndexError: no term has this id.
        """
        with self._lock:
            row = self._connection.execute("SELECT term FROM terms WHERE term_id = ?", (term_id,)).fetchone()
        if row is None:
            raise IndexError(f"no term has the id {term_id}")
        return str(row[0])

    def __len__(self) -> int:
        """Return how many terms there are; ids run from 0 to this, less one."""
        with self._lock:
            row = self._connection.execute("SELECT coalesce(max(term_id) + 1, 0) FROM terms").fetchone()
        return int(row[0])
