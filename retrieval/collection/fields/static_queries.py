"""Queries of a collection's dense side by a table of tokens, so that a search needs no transformer.

The table is fitted to the collection's own documents, whose vectors it has: nothing is encoded. It lies in a folder of
its own, is read when a search first needs it, and follows no later change of the documents.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexhound.core.atomic_files import replace_directory
from lexhound.core.disk_errors import storage_errors
from lexhound.retrieval.collection.query.documents import read_documents
from lexhound.retrieval.errors import CorruptCollectionError, QueryError

if TYPE_CHECKING:
    from lexhound.encoders.dense.static_queries import QueryTable
    from lexhound.retrieval.collection.query.snapshot import Snapshot

    from .dense_field import DenseSide

FOLDER = "query_table"
DOCUMENTS = 20_000
"""How many documents a table is fitted to, at most."""


class TableQueries:
    """Vectors of queries by the table that a collection keeps. Safe to call from several threads."""

    def __init__(self, directory: Path, fingerprint: str) -> None:
        self._folder = directory / FOLDER
        self._fingerprint = fingerprint
        self._table: QueryTable | None = None
        self._lock = RLock()

    @property
    def table(self) -> QueryTable:
        """The table.

        Raises:
            EncoderError: `tokenizers` is not installed. CorruptCollectionError: it is damaged, or was made for another
            model.
        """
        from lexhound.encoders.dense.static_queries import QueryTable
        from lexhound.encoders.errors import CheckpointError

        with self._lock:
            if self._table is None:
                try:
                    table = QueryTable.open(self._folder)
                except CheckpointError as error:
                    raise CorruptCollectionError(error.message, where=str(self._folder), hint=error.hint) from error
                if table.facts.fingerprint != self._fingerprint:
                    raise CorruptCollectionError(
                        "the table of dense queries was made for another model",
                        where=str(self._folder),
                        hint="make it again with `lexhound distil-queries`, or drop it with --drop",
                    )
                self._table = table
            return self._table

    def query(self, text: str) -> NDArray[np.float32]:
        """A query's vector: float32[width]."""
        vector: NDArray[np.float32] = self.queries([text])[0]
        return vector

    def queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Queries' vectors: float32[len(texts), width]."""
        return self.table.encode_queries(texts)


def has_table(directory: Path) -> bool:
    """Whether a collection keeps a table."""
    return (directory / FOLDER).is_dir()


def distil(snapshot: Snapshot, dense: DenseSide, documents: int, seed: int = 0) -> QueryTable:
    """Fit a table to documents of a snapshot, drawn at random where there are more than `documents`.

    Raises:
        QueryError: there are too few documents. EncoderError: the model cannot be opened, or makes no unit vectors.
    """
    from lexhound.encoders.dense.static_queries import fit
    from lexhound.encoders.errors import SettingsError

    places = [
        np.stack([np.full(part.segment.n_rows, number), np.arange(part.segment.n_rows)], axis=1)[_live(part.live)]
        for number, part in enumerate(snapshot.parts)
    ]
    pool = np.concatenate([np.empty((0, 2), np.int64), *places])
    if len(pool) > documents:
        pool = pool[np.sort(np.random.default_rng(seed).choice(len(pool), documents, replace=False))]
    texts: list[str] = []
    vectors = [np.empty((0, dense.width), np.float32)]
    for number, part in enumerate(snapshot.parts):
        rows = pool[pool[:, 0] == number, 1]
        if not len(rows) or part.segment.dense is None:
            continue
        seqs = part.segment.seqs[rows].tolist()
        found = read_documents(snapshot, seqs)
        texts += [found[seq].encoded_text for seq in seqs]
        vectors.append(part.segment.dense.vectors_of(rows))
    try:
        return fit(dense.encoder, texts, np.concatenate(vectors))
    except SettingsError as error:
        raise QueryError(f"no table of dense queries can be made: {error.message}", hint=error.hint) from error


def keep_table(directory: Path, table: QueryTable) -> None:
    """Write a table into a collection, in the place of the one it has; a crash leaves the old one or the new one.

    Raises:
        StorageFullError, ReadOnlyError: it cannot be written.
    """
    aside = directory / f".{FOLDER}.part"
    with storage_errors(directory):
        shutil.rmtree(aside, ignore_errors=True)
        try:
            table.save(aside)
            for path in aside.iterdir():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            replace_directory(aside, directory / FOLDER)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def drop_table(directory: Path) -> bool:
    """Remove a collection's table; returns whether there was one."""
    if not has_table(directory):
        return False
    with storage_errors(directory):
        shutil.rmtree(directory / FOLDER)
    return True


def _live(live: NDArray[np.bool_] | None) -> NDArray[np.bool_] | slice:
    return slice(None) if live is None else live
