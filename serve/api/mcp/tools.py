"""What the tools do with a collection, whoever has it open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lexhound.retrieval.collection.capability import Capability
from lexhound.retrieval.collection.request import METADATA_FIELD, SearchRequest
from lexhound.retrieval.collection.result import Facet
from lexhound.retrieval.corpus.given import documents_of
from lexhound.retrieval.documents.encoded_document import is_wordless
from lexhound.retrieval.engines.protocol import Backend, capable
from lexhound.serve.api.http.exceptions import UnknownNameError

from .answers import AddedAnswer, CollectionAnswer, DeletedAnswer, DocumentAnswer, FieldAnswer, SearchAnswer
from .budget import document_answer, search_answer

FILTERS = (
    'Comparisons of a field with a value (=, !=, <, <=, >, >=), `field in ("a", "b")` and `exists field`, joined by'
    ' and, or, not and parentheses; text stands in double quotes: year >= 1990 and (lang = "en" or tags = "heat").'
    ' Dates are text as in ISO 8601: date >= "2024-05-01". `id` and `title` are fields, too.'
)
_VALUES = 8
_VALUE_CHARACTERS = 60


def request_of(query: str, k: int, mode: str, filter: str | None, shown: Sequence[str]) -> SearchRequest:
    """Return the request of a search.

    Raises:
        QueryError: a value is out of bounds.
    """
    fields = ("title", "text", *(METADATA_FIELD + name for name in shown))
    return SearchRequest(query, k=k, mode=mode, filter=filter or None, fields=fields)


def search(
    name: str, collection: Backend, request: SearchRequest, characters: int, shown: Sequence[str]
) -> SearchAnswer:
    """Return the hits of a search, cut to a number of characters."""
    return search_answer(name, collection, collection.search(request), characters, shown)


def get(name: str, collection: Backend, identifier: str, offset: int, characters: int) -> DocumentAnswer:
    """Return a document, its text from `offset` on.

    Raises:
        UnknownNameError: there is none of this id.
    """
    document = collection.get(identifier)
    if document is None:
        raise UnknownNameError(
            f"there is no document {identifier[:100]!r} in {name}", hint="ids are compared character by character"
        )
    answer = DocumentAnswer(
        collection=name,
        id=document.id,
        title=document.title,
        metadata=dict(document.metadata),
        text="",
        characters=0,
    )
    return document_answer(answer, document.text, min(offset, len(document.text)), characters)


def read_document(name: str, collection: Backend, identifier: str) -> str:
    """Return a document as text: its title, an empty line, and the text.

    Raises:
        UnknownNameError: there is none of this id.
    """
    document = collection.get(identifier)
    if document is None:
        raise UnknownNameError(f"there is no document {identifier[:100]!r} in {name}")
    return f"{document.title}\n\n{document.text}" if document.title else document.text


def describe(name: str, collection: Backend) -> CollectionAnswer:
    """Return what a caller needs to know of a collection to search it."""
    able = capable(collection, Capability.FACETS)
    found = [] if able is None else able.facets(None, _VALUES)
    return CollectionAnswer(
        name=name,
        documents=collection.count(),
        modes=["auto", *collection.modes],
        # Fields that begin with `_` are those of programs: where there is room for some, it is for the others.
        fields=[_field(each) for each in sorted(found, key=lambda facet: (facet.field[0] == "_", -facet.documents))],
        note=None if able is not None else "the engine of this collection does not list its fields",
    )


def _field(facet: Facet) -> FieldAnswer:
    values = [each.value for each in facet.values]
    return FieldAnswer(
        field=facet.field,
        kind=facet.kind,
        documents=facet.documents,
        values=[each[:_VALUE_CHARACTERS] if isinstance(each, str) else each for each in values],
        min=facet.minimum,
        max=facet.maximum,
    )


def add(name: str, collection: Backend, documents: Sequence[dict[str, Any]]) -> AddedAnswer:
    """Insert or replace documents, all of them or none.

    Raises:
        InvalidDocumentError: one is no document.
    """
    given = list(documents_of(documents))
    statuses = collection.put(given)
    return AddedAnswer(
        collection=name,
        added=statuses.count("added"),
        replaced=statuses.count("replaced"),
        unchanged=statuses.count("unchanged"),
        wordless=sum(map(is_wordless, given)),
    )


def delete(name: str, collection: Backend, ids: Sequence[str]) -> DeletedAnswer:
    """Delete documents by their ids."""
    requested = list(dict.fromkeys(ids))
    deleted = set(collection.delete(requested))
    missing = [each for each in requested if each not in deleted]
    return DeletedAnswer(collection=name, deleted=len(deleted), missing=missing)
