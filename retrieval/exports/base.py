"""What every form of an export offers, and what it is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import orjson

from lexhound.core.progress import OnStep
from lexhound.retrieval.collection.fields.sparse_field import SparseField
from lexhound.retrieval.collection.query.snapshot import Snapshot
from lexhound.retrieval.errors import ExportError

from .header import ExportHeader
from .rows import RowChunk, live_rows

LINE = orjson.OPT_APPEND_NEWLINE


@dataclass(frozen=True, slots=True)
class Source:
    """What is exported, and under which name the receiving engine is to know it."""

    snapshot: Snapshot
    sparse_field: SparseField
    header: ExportHeader  # its `files` are empty yet
    name: str

    def rows(self) -> Iterator[RowChunk]:
        """Return all live documents, with impacts in steps of the header's scale, for its average length."""
        return live_rows(self.snapshot, self.sparse_field, self.header.scale, self.header.average_length)

    @property
    def lexical(self) -> bool:
        """Whether the vectors are BM25's."""
        return self.sparse_field.frequencies


class Form(Protocol):
    """How an export is written in one format."""

    def write(self, source: Source, folder: Path, progress: OnStep | None) -> tuple[str, ...]:
        """Write all data files into a folder; returns their names, in order. `progress` is told of the stages.

        Raises:
            ExportError: the receiving engine could not take something; says what.
        """
        ...

    def readme(self, source: Source) -> str:
        """Return how the files are loaded and asked, as Markdown; quantisation is told beside it."""
        ...


def tokens_of(chunk: RowChunk, position: int) -> dict[str, int]:
    """Return tokens and impacts of a document.

    Raises:
        ExportError: two of its terms read alike, so an object of tokens cannot hold both.
    """
    tokens = chunk.tokens(position)
    terms, _ = chunk.vector(position)
    if len(tokens) != len(terms):
        raise ExportError(
            f"two terms of the document {chunk.documents[position].id!r} have the same text, so a vector of tokens"
            " cannot hold both",
            hint="export as qdrant or parquet, which number the terms",
        )
    return tokens


def slug(name: str) -> str:
    """Return a name that engines take for an index: lower-case letters, digits, hyphens."""
    name_of_index = "".join(char if char.isascii() and char.isalnum() else "-" for char in name.lower()).strip("-")
    return name_of_index or "lexhound"
