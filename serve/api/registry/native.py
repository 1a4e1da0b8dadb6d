"""What only collections of our own can do."""

from __future__ import annotations

from lexhound.retrieval.collection.collection import Collection
from lexhound.retrieval.engines.protocol import Backend
from lexhound.retrieval.errors import UnsupportedError


def native_collection(collection: Backend, missing: str) -> Collection:
    """Return a collection, as one of our own.

    Raises:
        UnsupportedError: another engine keeps it; `missing` says what that means for the request.
    """
    if isinstance(collection, Collection):
        return collection
    raise UnsupportedError(f"the collection lies in another engine, where {missing}", hint="leave this request out")
