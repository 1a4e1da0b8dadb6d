"""Documents of a collection, and what frameworks have in their place: a text, an id, and metadata with the title."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lexhound.retrieval.collection.result import Hit
from lexhound.retrieval.documents.document import Document

TITLE = "title"
"""Of a framework's metadata, what is the document's title in the collection."""


def stored_document(identifier: str, text: str, metadata: Mapping[str, Any] | None) -> Document:
    """Return a document as the collection keeps it: `title` of the metadata is its title.

    Raises:
        InvalidDocumentError: the metadata holds what JSON has no form for.
    """
    values: dict[str, Any] = plain(metadata or {})
    title = values.get(TITLE)
    if isinstance(title, str) and title:
        del values[TITLE]
        return Document(identifier, text, title, values)
    return Document(identifier, text, "", values)


def metadata_of(stored: Document | Hit) -> dict[str, Any]:
    """Return the metadata of a document as frameworks have it, with its title."""
    metadata = dict(stored.metadata or {})
    if stored.title:
        metadata.setdefault(TITLE, stored.title)
    return metadata


def plain(value: Any) -> Any:
    """Return a value with NumPy's numbers and arrays as Python's: only those can be stored and sent."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value
