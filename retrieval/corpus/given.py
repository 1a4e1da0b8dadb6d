"""Documents and ids as Python programs give them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from lexhound.core.arrow_rows import is_table
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.errors import InvalidDocumentError

from .arrow import FrameCorpus
from .rows import FieldNames, document_from_row

DocumentLike: TypeAlias = Document | Mapping[str, Any]
"""A document, or a mapping that says what a line of JSON Lines would: an id, a text, perhaps a title; all else is
metadata."""

_NAMES = FieldNames()
_MEANT = 'give documents, or mappings such as {"id": "1", "text": "heat transfer", "year": 1958}'


def documents_of(documents: Iterable[DocumentLike]) -> Iterator[Document]:
    """Yield documents, made of mappings, or of the rows of a table in memory, where those are given.

    Raises:
        InvalidDocumentError: one is neither, or breaks a rule; `where` says which it is, from 1. CorpusError: a table
        has no column for ids or texts, or cannot be held in Arrow.
    """
    if is_table(documents):
        return _of_table(documents)
    if isinstance(documents, Document | Mapping | str | bytes) or not isinstance(documents, Iterable):
        one = isinstance(documents, Document | Mapping)
        what = "one document" if one else f"a {type(documents).__name__}"
        hint = "put it into a list: add([document])" if one else _MEANT
        raise InvalidDocumentError(f"{what} is given where many are expected", hint=hint)
    return _each(documents)


def ids_of(ids: Sequence[str]) -> Sequence[str]:
    """Return ids as they are.

    Raises:
        InvalidDocumentError: they are one text, whose letters are surely not meant.
    """
    if isinstance(ids, str | bytes):
        raise InvalidDocumentError("one id is given where many are expected", hint="put it into a list: delete([id])")
    return ids


def _each(documents: Iterable[DocumentLike]) -> Iterator[Document]:
    for number, given in enumerate(documents, 1):
        if isinstance(given, Document):
            yield given
            continue
        where = f"document {number:,}"
        if not isinstance(given, Mapping):
            raise InvalidDocumentError(f"it is a {type(given).__name__}", where=where, hint=_MEANT)
        try:
            yield document_from_row(dict(given), _NAMES, nameable=False)
        except InvalidDocumentError as error:
            raise InvalidDocumentError(error.message, where=where, hint=error.hint) from error


def _of_table(table: Any) -> Iterator[Document]:
    for row in FrameCorpus(table, _NAMES):
        if not isinstance(row, Document):
            raise InvalidDocumentError(row.reason, where=row.where, hint=row.hint)
        yield row
