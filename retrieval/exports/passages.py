"""Documents in passages, in an export: a row a passage, and beside the rows what makes documents of them again.

A passage's row has the name `ID#NUMBER`, numbers from 0, and its own part of the text. `passages.jsonl` has a line for
each document that is split: `{"id", "text", "spans"}`, the whole text (empty where the format keeps none) and where
each passage begins and ends in it, in characters.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from lexhound.core.strict_json import json_fault
from lexhound.retrieval.collection.query.documents import read_documents
from lexhound.retrieval.collection.query.snapshot import Snapshot
from lexhound.retrieval.collection.store.passage_table import read_spans
from lexhound.retrieval.collection.store.sql import select_in
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.documents.passages import Passage
from lexhound.retrieval.documents.splitting import Span
from lexhound.retrieval.errors import ExportError

NAME = "passages.jsonl"
_AT_ONCE = 256


def row_name(identifier: str, number: int) -> str:
    """Return the name of a passage's row."""
    return f"{identifier}#{number}"


def row_document(document: Document, passage: Passage | None) -> Document:
    """Return what an export has in a row: the document, or one of its passages under a name of its own."""
    if passage is None:
        return document
    return Document(row_name(document.id, passage.number), passage.text, document.title, document.metadata)


def split_documents(snapshot: Snapshot) -> NDArray[np.int64]:
    """Return the internal ids of the live documents that have several rows: int64, ascending."""
    pieces = [np.empty(0, np.int64)]
    for view in snapshot.segments:
        if view.segment.passages is not None:
            further = view.segment.passages > 0
            rows = np.flatnonzero(further if view.live is None else further & view.live)
            pieces.append(view.segment.documents_of(rows))
    return np.unique(np.concatenate(pieces))


def write_passages(folder: Path, snapshot: Snapshot, *, texts: bool) -> None:
    """Write `passages.jsonl`, where a document is split.

    Raises:
        ExportError: a document has the name that a passage of another would have.
    """
    if not snapshot.has_passages:
        return
    internal_ids = split_documents(snapshot).tolist()
    with (folder / NAME).open("xb") as file:
        for start in range(0, len(internal_ids), _AT_ONCE):
            chunk = internal_ids[start : start + _AT_ONCE]
            with snapshot.reading() as connection:
                spans = read_spans(connection, chunk)
            documents = read_documents(snapshot, sorted(spans))
            names = [row_name(documents[seq].id, n) for seq in spans for n in range(len(spans[seq]))]
            _refuse_taken(snapshot, [snapshot.prefix + name for name in names])
            for seq in sorted(spans):
                document = documents[seq]
                row = {"id": document.id, "text": document.text if texts else "", "spans": spans[seq].tolist()}
                file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


def _refuse_taken(snapshot: Snapshot, names: list[str]) -> None:
    query = "SELECT id FROM rows WHERE id IN (?) AND run NOT IN (SELECT run FROM runs)"
    with snapshot.reading() as connection:
        for (identifier,) in select_in(connection, query, names):
            own = identifier.removeprefix(snapshot.prefix)
            raise ExportError(
                f"the document {own!a} has the name that a passage of another has in an export",
                hint="give that document another id",
            )


class SplitTexts:
    """What `passages.jsonl` of an export tells; texts are read when they are asked for."""

    def __init__(self, folder: Path) -> None:
        """Read which documents are split. Raises ExportError where a line is damaged."""
        self._path = folder / NAME
        self._places: dict[str, tuple[int, int]] = {}  # where the line begins, and how many passages it tells of
        if not self._path.is_file():
            return
        place = 0
        for number, line in enumerate(self._lines(), 1):
            try:
                row = orjson.loads(line)
                self._places[str(row["id"])] = (place, len(row["spans"]))
            except (orjson.JSONDecodeError, KeyError, TypeError) as error:
                raise self._damaged(error, number) from error
            place += len(line)

    def _lines(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            yield from file

    def passage_of(self, name: str) -> tuple[str, int] | None:
        """Return the document and the number of the passage that a row is; None where it is a document of its own."""
        identifier, mark, number = name.rpartition("#")
        if not mark or identifier not in self._places or not number.isascii() or not number.isdecimal():
            return None
        return (identifier, int(number)) if int(number) < self._places[identifier][1] else None

    def count(self, identifier: str) -> int:
        """Return how many passages a document has."""
        return self._places[identifier][1]

    def read(self, identifier: str) -> tuple[str, list[Span]]:
        """Return a document's text, and where its passages begin and end. Raises ExportError where it is damaged."""
        with self._path.open("rb") as file:
            file.seek(self._places[identifier][0])
            row: Any = orjson.loads(file.readline())
        text, spans = row["text"], [(int(begin), int(end)) for begin, end in row["spans"]]
        inside = all(0 <= begin <= end and (not text or end <= len(text)) for begin, end in spans)
        if not isinstance(text, str) or not inside:
            raise self._damaged(ValueError(f"the passages of {identifier!a} are not in its text"), None)
        return text, spans

    def _damaged(self, error: Exception, line: int | None) -> ExportError:
        reason = json_fault(error) if isinstance(error, orjson.JSONDecodeError) else f"damaged: {error}"
        where = str(self._path) if line is None else f"{self._path}, line {line}"
        return ExportError(reason, where=where, hint="export the collection again")
