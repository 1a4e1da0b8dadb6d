"""Where the documents of a framework's store are: a collection that this process opens, or one of a service."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from lexhound.retrieval.collection.capability import Capability
from lexhound.retrieval.collection.collection import Collection
from lexhound.retrieval.collection.request import SearchRequest
from lexhound.retrieval.collection.result import Facet, Hit, SearchResult
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.engines.address import read_address
from lexhound.retrieval.engines.opening import create_collection, open_collection
from lexhound.retrieval.engines.protocol import Backend, matching_ids, require_capability
from lexhound.retrieval.errors import InvalidDocumentError, NotACollectionError, QueryError, UnknownFieldError
from lexhound.serve.client.errors import ClientError
from lexhound.serve.engines import milvus_settings

T = TypeVar("T")


class Place(Protocol):
    """A collection, wherever it is. Documents that are written are searchable at once."""

    def search(self, request: SearchRequest) -> SearchResult:
        """Return the hits of a search."""
        ...

    def put(self, documents: Sequence[Document]) -> None:
        """Insert or replace documents."""
        ...

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents; return how many were there."""
        ...

    def get(self, ids: Sequence[str]) -> list[Document]:
        """Return those of the documents that are there, in the order of the ids."""
        ...

    def find(self, filter: str | None, limit: int | None = None) -> list[Document]:
        """Return the documents that pass a filter, or all, in order of insertion; unknown fields are no error."""
        ...

    def delete_where(self, filter: str) -> int:
        """Delete the documents that pass a filter; return how many they were."""
        ...

    def count(self, filter: str | None = None) -> int:
        """Return how many documents there are, or pass a filter."""
        ...

    def facets(self, fields: Sequence[str] | None, limit: int) -> list[Facet]:
        """Return the values of metadata fields, of all unless named."""
        ...

    def close(self) -> None:
        """Give back what was opened for this."""
        ...


class OpenedPlace:
    """A collection that this process has open.

    One that was given open is used as it is, and stays open. One that was opened here is opened for writing for as long
    as a write takes, so other processes can write in between.
    """

    def __init__(self, collection: Backend, address: str | None) -> None:
        self._collection = collection
        self._address = address
        self._lock = threading.Lock()

    def _read(self) -> Backend:
        if self._address is not None:
            self._collection.refresh()
        return self._collection

    def _write(self, work: Callable[[Backend], T]) -> T:
        with self._lock:
            if self._address is None:
                return work(self._collection)
            with self._writer(self._address) as writer:
                result = work(writer)
            self._collection.refresh()
            return result

    def _writer(self, address: str) -> Backend:
        if isinstance(self._collection, Collection):
            return Collection.open(self._collection.path, writable=True, like=self._collection)
        return open_collection(address, writable=True, milvus=milvus_settings())

    def search(self, request: SearchRequest) -> SearchResult:
        """Return the hits of a search."""
        return self._read().search(request)

    def put(self, documents: Sequence[Document]) -> None:
        """Insert or replace documents: in chunks, each durable by itself."""
        self._write(lambda writer: writer.add(documents))

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents; return how many were there."""
        return len(self._write(lambda writer: writer.delete(list(ids))))

    def get(self, ids: Sequence[str]) -> list[Document]:
        """Return those of the documents that are there."""
        collection = self._read()
        found = (collection.get(each) for each in ids)
        return [document for document in found if document is not None]

    def find(self, filter: str | None, limit: int | None = None) -> list[Document]:
        """Return the documents that pass a filter, or all, in order of insertion."""
        return self.get(matching_ids(self._read(), filter, allow_unknown_fields=True)[:limit])

    def delete_where(self, filter: str) -> int:
        """Delete the documents that pass a filter; return how many they were."""
        return self._write(lambda writer: len(writer.delete(writer.ids(filter, allow_unknown_fields=True))))

    def count(self, filter: str | None = None) -> int:
        """Return how many documents there are, or pass a filter."""
        return self._read().count(filter, allow_unknown_fields=True)

    def facets(self, fields: Sequence[str] | None, limit: int) -> list[Facet]:
        """Return the values of metadata fields."""
        able = require_capability(self._read(), Capability.FACETS)
        return able.facets(fields, limit, allow_unknown_fields=True)

    def close(self) -> None:
        """Close a collection that was opened here."""
        if self._address is not None:
            self._collection.close()


class ServedPlace:
    """A collection of a service."""

    def __init__(self, url: str, name: str | None, key: str | None) -> None:
        from lexhound.core.extras import extra

        with extra("serve", "a collection of a service"):
            from lexhound.serve.client.client import Client

        self._client = Client(url, key=key)
        self._name = name or self._only()

    def _only(self) -> str:
        names = [each.name for each in self._client.collections() if each.alias_of is None]
        if len(names) != 1:
            hint = f"give `collection`: one of {', '.join(names)}" if names else "make one first"
            raise QueryError(f"the service has {len(names)} collections, and none is named", hint=hint)
        return names[0]

    def create(self, encoder: str | None, dense: str | None) -> None:
        """Make the collection where the service has none of its name."""
        if self._name not in {each.name for each in self._client.collections()}:
            self._client.create_collection(self._name, encoder=encoder, dense=dense)

    def search(self, request: SearchRequest) -> SearchResult:
        """Return the hits of a search.

        Raises:
            UnknownFieldError: no document has what the filter names; other refusals as the client raises them.
        """
        try:
            return self._client.search(self._name, request)
        except ClientError as error:
            if error.code != UnknownFieldError.code:
                raise
            raise UnknownFieldError(error.message, hint=error.hint) from error

    def put(self, documents: Sequence[Document]) -> None:
        """Insert or replace documents.

        Raises:
            InvalidDocumentError: the service has not stored one; those beside it are stored.
        """
        bodies = (
            {"id": each.id, "text": each.text, "title": each.title, "metadata": dict(each.metadata)}
            for each in documents
        )
        result = self._client.put(self._name, bodies, refresh=True)
        if result.rejected:
            first = result.rejected[0]
            raise InvalidDocumentError(first.message, where=f"document {first.place + 1:,}", hint=first.hint)

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents; return how many were there."""
        return self._client.delete(self._name, list(ids), refresh=True).deleted

    def get(self, ids: Sequence[str]) -> list[Document]:
        """Return those of the documents that are there."""
        found = (self._client.get(self._name, each) for each in ids)
        return [Document(each.id, each.text, each.title, each.metadata) for each in found if each is not None]

    def find(self, filter: str | None, limit: int | None = None) -> list[Document]:
        """Return the documents that pass a filter, or all, in order of insertion."""
        found = self._client.list_documents(self._name, filter, limit=limit, allow_unknown_fields=True)
        return [Document(each.id, each.text, each.title, each.metadata) for each in found]

    def delete_where(self, filter: str) -> int:
        """Delete the documents that pass a filter; return how many they were."""
        return self._client.delete_where(self._name, filter, allow_unknown_fields=True, refresh=True).deleted

    def count(self, filter: str | None = None) -> int:
        """Return how many documents there are, or pass a filter."""
        return self._client.count(self._name, filter, allow_unknown_fields=True)

    def facets(self, fields: Sequence[str] | None, limit: int) -> list[Facet]:
        """Return the values of metadata fields; the service gives at most 1,000 of each."""
        return self._client.facets(self._name, fields or (), limit=min(limit, 1000), allow_unknown_fields=True)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def open_place(
    where: str | Path | Backend,
    *,
    collection: str | None = None,
    key: str | None = None,
    create: bool = False,
    encoder: str | None = None,
    dense: str | None = None,
) -> Place:
    """Return the collection that a store or retriever is to use.

    Args:
        where: a directory, an address in another engine, the address of a service (`http://...`), or a collection that
            is open already.
        collection, key: of a service, the collection's name (may be left out where there is only one), and an API key.
        create: make the collection where there is none, with `encoder` and `dense` (the default ones unless given).

    Raises:
        NotACollectionError: there is none; and what `open_collection` and the client raise.
    """
    if not isinstance(where, str | Path):
        return OpenedPlace(where, None)
    address = str(where)
    if address.startswith(("http://", "https://")):
        served = ServedPlace(address, collection, key)
        if create and collection is not None:
            served.create(encoder, dense)
        return served
    for name, value in (("collection", collection), ("key", key)):
        if value is not None:
            raise QueryError(
                f"`{name}` is for services, and {address} is none", hint="give http://..., or leave it out"
            )
    try:
        opened = open_collection(address, milvus=milvus_settings())
    except NotACollectionError:
        path = read_address(address).path
        if not create or (path is not None and path.exists() and any(path.iterdir())):
            raise
        settings = {"encoder": encoder, "dense": dense}
        chosen: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
        create_collection(address, milvus=milvus_settings(), **chosen).close()
        opened = open_collection(address, milvus=milvus_settings())
    return OpenedPlace(opened, address)


def filled(place: Place, request: SearchRequest, result: SearchResult) -> list[Hit]:
    """Return the hits, and after them other documents that pass the filter, in order of insertion, up to k.

    They have nothing in common with the query, and their score is 0. For programs, and tests, that take a store to be a
    list of everything sorted by similarity.
    """
    hits = list(result.hits)
    missing = request.k - len(hits)
    if missing <= 0:
        return hits
    known = {hit.id for hit in hits}
    for document in place.find(request.filter, request.k + len(hits)):
        if document.id not in known and len(hits) < request.k:
            hits.append(Hit(len(hits) + 1, document.id, 0.0, document.title, document.text, document.metadata))
    return hits
