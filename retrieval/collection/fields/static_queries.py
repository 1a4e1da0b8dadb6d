"""Static query embeddings: queries of a collection's dense field by a table of tokens, without a transformer.

The table lies in a folder of its own and is read when a search first needs it. It follows no later change of the
documents that it was fitted to (`static_query_fitting.py`).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexhound.core.atomic_files import replace_directory
from lexhound.core.disk_errors import storage_errors
from lexhound.retrieval.errors import CorruptCollectionError

if TYPE_CHECKING:
    from lexhound.encoders.dense.static_queries import StaticQueryEmbeddings

FOLDER = "query_table"


class TableQueries:
    """Vectors of queries by the table that a collection keeps. Safe to call from several threads."""

    def __init__(self, directory: Path, fingerprint: str) -> None:
        self._folder = directory / FOLDER
        self._fingerprint = fingerprint
        self._table: StaticQueryEmbeddings | None = None
        self._lock = RLock()

    @property
    def table(self) -> StaticQueryEmbeddings:
        """The table.

        Raises:
            EncoderError: `tokenizers` is not installed. CorruptCollectionError: it is damaged, or was made for another
            model.
        """
        from lexhound.encoders.dense.static_queries import StaticQueryEmbeddings
        from lexhound.encoders.errors import CheckpointError

        with self._lock:
            if self._table is None:
                try:
                    table = StaticQueryEmbeddings.open(self._folder)
                except CheckpointError as error:
                    raise CorruptCollectionError(error.message, where=str(self._folder), hint=error.hint) from error
                if table.facts.fingerprint != self._fingerprint:
                    raise CorruptCollectionError(
                        "the table of dense queries was made for another model",
                        where=str(self._folder),
                        hint="make it again with `fit_static_queries`, or drop it with `drop_static_queries`",
                        cli_hint="make it again with `lexhound fit-static-queries`, or drop it with --drop",
                    )
                self._table = table
            return self._table

    def query(self, text: str) -> NDArray[np.float32]:
        """Return a query's vector: float32[width]."""
        vector: NDArray[np.float32] = self.queries([text])[0]
        return vector

    def queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return queries' vectors: float32[len(texts), width]."""
        return self.table.encode_queries(texts)

    def cuts_query(self, text: str) -> bool:
        """Return whether a part of a query is not read."""
        return self.table.query_reader().cuts(text)


def has_table(directory: Path) -> bool:
    """Return whether a collection keeps a table."""
    return (directory / FOLDER).is_dir()


def keep_table(directory: Path, table: StaticQueryEmbeddings) -> None:
    """Write a table into a collection, in the place of the one it has; a crash leaves the old one or the new one.

    Raises:
        StorageFullError, ReadOnlyError: it cannot be written.
    """
    aside = directory / f".{FOLDER}.part"
    with storage_errors(directory), replace_directory(directory / FOLDER, aside) as folder:
        table.save(folder)


def drop_table(directory: Path) -> bool:
    """Remove a collection's table; returns whether there was one."""
    if not has_table(directory):
        return False
    with storage_errors(directory):
        shutil.rmtree(directory / FOLDER)
    return True
