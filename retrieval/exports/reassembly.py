"""Rows of an export made into documents again: several rows of one that is split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lexhound.retrieval.collection.fields.splitter import SplitDocument
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.errors import ExportError

from .header import ExportHeader
from .passages import NAME, SplitTexts
from .reading import ExportedRow, read_rows


@dataclass(frozen=True, slots=True, eq=False)
class ImportedDocument:
    """A document of an export, as it was split, and its rows in the order of their passages."""

    document: Document
    split: SplitDocument
    rows: list[ExportedRow]


def read_documents(folder: Path, header: ExportHeader) -> Iterator[ImportedDocument]:
    """Yield the documents of an export; one that is split when its last row has come.

    Raises:
        ExportError: as `read_rows`; or a row of a document that is split is missing or there twice.
    """
    texts = SplitTexts(folder)
    waiting: dict[str, dict[int, ExportedRow]] = {}
    for row in read_rows(folder, header):
        passage = texts.passage_of(row.document.id)
        if passage is None:
            yield ImportedDocument(row.document, SplitDocument([row.document]), [row])
            continue
        identifier, number = passage
        rows = waiting.setdefault(identifier, {})
        if number in rows:
            raise _damaged(folder, f"the row {row.document.id!a} is there twice")
        rows[number] = row
        if len(rows) == texts.count(identifier):
            del waiting[identifier]
            yield _joined(texts, identifier, [rows[at] for at in range(len(rows))])
    for identifier in waiting:
        raise _damaged(folder, f"rows of the document {identifier!a} are missing")


def _joined(texts: SplitTexts, identifier: str, rows: list[ExportedRow]) -> ImportedDocument:
    text, spans = texts.read(identifier)
    title, metadata = rows[0].document.title, rows[0].document.metadata
    pieces = [Document(identifier, text[begin:end], title) for begin, end in spans]
    return ImportedDocument(Document(identifier, text, title, metadata), SplitDocument(pieces, tuple(spans)), rows)


def _damaged(folder: Path, problem: str) -> ExportError:
    return ExportError(f"damaged: {problem}", where=str(folder / NAME), hint="export the collection again")
