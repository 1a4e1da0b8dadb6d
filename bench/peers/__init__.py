"""Engines that search learned sparse vectors, one adapter a file.

Modules are named `on_*`, so that none of them hides the package it imports, and each is imported only by the process
that runs its engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

MODULES = {
    "lexhound": "peers.on_lexhound",
    "pisa": "peers.on_pisa",
    "bmp": "peers.on_bmp",
    "qdrant": "peers.on_qdrant",
    "lucene": "peers.on_lucene",
    "seismic": "peers.on_seismic",
}


class Vectors(Protocol):
    """Documents or queries in row-compressed form, their weights whole numbers from 1 to 255."""

    shape: tuple[int, int]
    indptr: Any  # int64[rows + 1]
    indices: Any  # int32[nnz], ascending within a row
    data: Any  # float32[nnz]

    def rows(self) -> Iterator[tuple[Any, Any]]: ...


class Engine(Protocol):
    """What an adapter does. A prepared query is whatever its `search` takes; preparing is not timed."""

    version: str

    def build(self, vectors: Vectors, folder: Path, options: dict[str, Any]) -> None:
        """Make the index in an empty folder and keep it there."""

    def open(self, folder: Path) -> None:
        """Open what `build` made."""

    def prepare(self, terms: Any, weights: Any) -> Any:
        """A query of int32 terms and float32 weights as the engine wants it."""

    def search(self, query: Any, k: int, setting: dict[str, Any]) -> Any:
        """The best `k`, in whatever form the engine gives them: this is what is timed."""

    def rows(self, found: Any) -> list[int]:
        """The rows of what `search` gave."""


def engine(name: str) -> Engine:
    """The adapter of an engine; imports the engine. Raises ImportError where it is not installed."""
    made: Engine = import_module(MODULES[name]).make()
    return made
