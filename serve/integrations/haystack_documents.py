"""Haystack's documents and a collection's: each as the other has it, and values of their metadata."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lexhound.core.extras import extra
from lexhound.retrieval.collection.result import Hit
from lexhound.retrieval.documents.document import Document as Stored

from .documents import metadata_of, stored_document
from .haystack_filters import expression_of, field_name

with extra("haystack", "the Haystack integration"):
    from haystack import Document
    from haystack.document_stores.errors import DuplicateDocumentError
    from haystack.document_stores.types import DuplicatePolicy
    from haystack.errors import FilterError

KEPT = "_haystack"
"""The field of metadata that keeps what a collection has no place for: embeddings, blobs, a content of None."""
_ELSEWHERE = ("blob", "embedding", "sparse_embedding")


def stored_form(document: Document) -> Stored:
    """Return a document as the collection keeps it.

    Raises:
        InvalidDocumentError: its metadata holds what JSON has no form for.
    """
    values = document.to_dict(flatten=False)
    kept = {name: values[name] for name in _ELSEWHERE if values.get(name) is not None}
    if document.content is None:
        kept["content"] = None
    metadata = document.meta | ({KEPT: json.dumps(kept)} if kept else {})
    return stored_document(document.id, document.content or "", metadata)


def given_form(stored: Stored | Hit, score: float | None = None) -> Document:
    """Return a document as Haystack has it."""
    metadata = metadata_of(stored)
    kept = json.loads(metadata.pop(KEPT, "{}"))
    return Document.from_dict({"id": stored.id, "content": stored.text, "meta": metadata, "score": score} | kept)


def chosen_by_policy(
    documents: Sequence[Document], policy: DuplicatePolicy, there: Callable[[list[str]], set[str]]
) -> list[Document]:
    """Return the documents that are to be written.

    Args:
        there: which of some ids the collection has.

    Raises:
        DuplicateDocumentError: an id is given twice or is there already, and the policy is FAIL or NONE.
    """
    chosen: dict[str, Document] = {}
    for each in documents:
        if each.id in chosen and policy in (DuplicatePolicy.NONE, DuplicatePolicy.FAIL):
            raise DuplicateDocumentError(f"the id {each.id!r} is given twice")
        if each.id not in chosen or policy is DuplicatePolicy.OVERWRITE:
            chosen[each.id] = each
    if policy is DuplicatePolicy.OVERWRITE:
        return list(chosen.values())
    known = there(list(chosen))
    if known and policy is not DuplicatePolicy.SKIP:
        raise DuplicateDocumentError(f"there is a document {min(known)!r} already")
    return [each for name, each in chosen.items() if name not in known]


def with_metadata(document: Document, metadata: Mapping[str, Any]) -> Document:
    """Return a document with more metadata, which is put over its own."""
    return Document.from_dict(document.to_dict(flatten=False) | {"meta": document.meta | dict(metadata)})


def required_expression(filters: dict[str, Any]) -> str:
    """Return the filter expression of filters.

    Raises:
        FilterError: they mean nothing, or there are none.
    """
    expression = expression_of(filters)
    if expression is None:
        raise FilterError("no filters are given; delete_all_documents deletes everything")
    return expression


def distinct_values(documents: Sequence[Document], name: str) -> list[Any]:
    """Return the different values of a field: 1, 1.0, "1" and True are four."""
    found: dict[tuple[str, str], Any] = {}
    for document in documents:
        value: Any = document.meta
        for part in field_name(name).split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            found.setdefault((type(value).__name__, json.dumps(value)), value)
    return list(found.values())


def page_of_values(
    documents: Sequence[Document], name: str, search_term: str | None, first: int, size: int
) -> tuple[list[Any], int]:
    """Return a page of a field's different values, in order, and how many contain the search term (all without one)."""
    values = distinct_values(documents, name)
    wanted = [each for each in values if search_term is None or search_term.lower() in str(each).lower()]
    wanted.sort(key=lambda value: (str(value), type(value).__name__))
    return wanted[first : first + size], len(wanted)
