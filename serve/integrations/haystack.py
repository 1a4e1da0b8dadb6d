"""Haystack: a document store and its retrievers over a collection, embedded or of a service.

>>> store = LexhoundDocumentStore("notes.index", encoder="bm25")
>>> store.write_documents([Document(id="n1", content="heat flows from hot to cold", meta={"year": 1987})])
1
>>> LexhoundKeywordRetriever(store).run("heat")["documents"][0].id
'n1'
"""

from __future__ import annotations

import asyncio
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from lexhound.core.extras import extra
from lexhound.retrieval.collection.request import Fusion, SearchRequest
from lexhound.retrieval.engines.protocol import Backend
from lexhound.retrieval.errors import UnknownFieldError

from .haystack_documents import (
    KEPT,
    chosen_by_policy,
    distinct_values,
    given_form,
    page_of_values,
    required_expression,
    stored_form,
    with_metadata,
)
from .haystack_filters import expression_of, field_name
from .place import Place, open_place

with extra("haystack", "the Haystack integration"):
    from haystack import Document, component, default_from_dict, default_to_dict
    from haystack.document_stores.types import DuplicatePolicy, FilterPolicy
    from haystack.document_stores.types.filter_policy import apply_filter_policy
    from haystack.errors import FilterError
    from haystack.utils import Secret


class LexhoundDocumentStore:
    """A collection as a document store; it makes its vectors itself, so no embedders are needed.

    Args:
        where: a directory, an address in another engine, the address of a service, or an open collection. A directory
            in which nothing is yet becomes a new collection. It is opened when it is first used.
        collection, key: of a service, the collection's name and an API key.
        encoder, dense: of a new collection; the usual ones unless given.
    """

    def __init__(
        self,
        where: str | Path | Backend,
        collection: str | None = None,
        key: Secret | None = None,
        encoder: str | None = None,
        dense: str | None = None,
    ) -> None:
        self._where = where
        self._collection = collection
        self._key = key
        self._encoder = encoder
        self._dense = dense

    @cached_property
    def place(self) -> Place:
        """The collection."""
        key = None if self._key is None else self._key.resolve_value()
        options = {"collection": self._collection, "encoder": self._encoder, "dense": self._dense}
        return open_place(self._where, key=key, create=True, **options)

    def close(self) -> None:
        """Close the collection, if it was opened here."""
        if "place" in self.__dict__:
            self.__dict__.pop("place").close()

    def to_dict(self) -> dict[str, Any]:
        """Return what a pipeline's file says of it.

        Raises:
            ValueError: it was given an open collection, or a key that is no environment variable's.
        """
        if not isinstance(self._where, str | Path):
            raise ValueError("a store over an open collection cannot be written to a file; give its directory")
        return default_to_dict(
            self,
            where=str(self._where),
            collection=self._collection,
            key=None if self._key is None else self._key.to_dict(),
            encoder=self._encoder,
            dense=self._dense,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> LexhoundDocumentStore:
        """Return the store that `to_dict` wrote."""
        parameters = dict(data["init_parameters"])
        if isinstance(parameters.get("key"), dict):
            parameters["key"] = Secret.from_dict(parameters["key"])
        store: LexhoundDocumentStore = default_from_dict(cls, data | {"init_parameters": parameters})
        return store

    # What every store has

    def count_documents(self) -> int:
        """Return how many documents there are."""
        return self.place.count()

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """Return the documents that pass, or all, in order of insertion.

        Raises:
            FilterError: the filters mean nothing; says what.
        """
        return [given_form(each) for each in self.place.find(expression_of(filters))]

    def write_documents(self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE) -> int:
        """Write documents; return how many were. Without a policy, ids that are there already are an error (FAIL).

        Raises:
            ValueError: they are no list of documents. DuplicateDocumentError: by FAIL; nothing is written then.
        """
        if not isinstance(documents, list) or not all(isinstance(each, Document) for each in documents):
            raise ValueError("write_documents takes a list of documents")
        chosen = chosen_by_policy(documents, policy, lambda ids: {each.id for each in self.place.get(ids)})
        self.place.put([stored_form(each) for each in chosen])
        return len(chosen)

    def delete_documents(self, document_ids: list[str]) -> None:
        """Delete documents by their ids; those that are not there are no error."""
        self.place.delete(document_ids)

    # What the larger stores have

    def delete_all_documents(self) -> None:
        """Delete every document; the collection stays."""
        self.place.delete([each.id for each in self.place.find(None)])

    def delete_by_filter(self, filters: dict[str, Any]) -> int:
        """Delete the documents that pass; return how many they were.

        Raises:
            FilterError: the filters mean nothing, or there are none.
        """
        return self.place.delete_where(required_expression(filters))

    def update_by_filter(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """Change the metadata of the documents that pass: `meta` is put over it. Returns how many they are.

        Raises:
            FilterError: the filters mean nothing, or there are none.
        """
        found = [given_form(each) for each in self.place.find(required_expression(filters))]
        self.place.put([stored_form(with_metadata(each, meta)) for each in found])
        return len(found)

    def count_documents_by_filter(self, filters: dict[str, Any]) -> int:
        """Return how many documents pass."""
        return self.place.count(expression_of(filters))

    def count_unique_metadata_by_filter(self, filters: dict[str, Any], metadata_fields: list[str]) -> dict[str, int]:
        """Return how many different values fields have in the documents that pass; these are read for it."""
        found = self.filter_documents(filters)
        return {field_name(name): len(distinct_values(found, name)) for name in metadata_fields}

    def get_metadata_fields_info(self) -> dict[str, dict[str, str]]:
        """Return the metadata fields and their types: `keyword`, or `float` where every value is a number."""
        kinds = {each.field: each.kind for each in self.place.facets(None, 1) if each.field != KEPT}
        return {name: {"type": "float" if kind == "number" else "keyword"} for name, kind in kinds.items()}

    def get_metadata_field_min_max(self, metadata_field: str) -> dict[str, Any]:
        """Return the range of a field's numbers; None where it has none."""
        found = self.place.facets([field_name(metadata_field)], 1)
        return {"min": found[0].minimum, "max": found[0].maximum} if found else {"min": None, "max": None}

    def get_metadata_field_unique_values(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int = 10,
        filters: dict[str, Any] | None = None,
    ) -> tuple[list[Any], int]:
        """Return a page of a field's different values, in order, and how many there are; the documents are read for it.

        Args:
            search_term: only values that contain it, whatever the case of letters.
        """
        return page_of_values(self.filter_documents(filters), metadata_field, search_term, from_, size)

    # The same for asyncio

    async def count_documents_async(self) -> int:
        """Return how many documents there are."""
        return await asyncio.to_thread(self.count_documents)

    async def filter_documents_async(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """Return the documents that pass, or all."""
        return await asyncio.to_thread(self.filter_documents, filters)

    async def write_documents_async(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """Write documents; return how many were."""
        return await asyncio.to_thread(self.write_documents, documents, policy)

    async def delete_documents_async(self, document_ids: list[str]) -> None:
        """Delete documents by their ids."""
        await asyncio.to_thread(self.delete_documents, document_ids)

    # For retrievers

    def search(self, request: SearchRequest) -> list[Document]:
        """Return the hits of a search as documents with scores.

        Raises:
            FilterError: the filter names what no document has. QueryError: the collection does not have the mode.
        """
        try:
            return [given_form(hit, float(hit.score)) for hit in self.place.search(request).hits]
        except UnknownFieldError as error:
            raise FilterError(str(error)) from error


class _Retriever:
    """What the retrievers share; the mode of a search is the class's."""

    mode: ClassVar[str]

    def __init__(
        self,
        document_store: LexhoundDocumentStore,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        filter_policy: FilterPolicy = FilterPolicy.REPLACE,
        allow_unknown_fields: bool = False,
    ) -> None:
        if not isinstance(document_store, LexhoundDocumentStore):
            raise TypeError("document_store must be a LexhoundDocumentStore")
        self.document_store = document_store
        self.filters = filters
        self.top_k = top_k
        self.filter_policy = filter_policy
        self.allow_unknown_fields = allow_unknown_fields

    def _parameters(self) -> dict[str, Any]:
        return {
            "document_store": self.document_store.to_dict(),
            "filters": self.filters,
            "top_k": self.top_k,
            "filter_policy": self.filter_policy.value,
            "allow_unknown_fields": self.allow_unknown_fields,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return what a pipeline's file says of it."""
        return default_to_dict(self, **self._parameters())

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Any:
        """Return the retriever that `to_dict` wrote."""
        parameters = dict(data["init_parameters"])
        parameters["document_store"] = LexhoundDocumentStore.from_dict(parameters["document_store"])
        if "filter_policy" in parameters:
            parameters["filter_policy"] = FilterPolicy.from_str(parameters["filter_policy"])
        return default_from_dict(cls, data | {"init_parameters": parameters})

    def _find(
        self, query: str, filters: dict[str, Any] | None, top_k: int | None, fusion: Fusion | None = None
    ) -> dict[str, list[Document]]:
        chosen = apply_filter_policy(self.filter_policy, self.filters, filters)
        request = SearchRequest(
            query,
            k=self.top_k if top_k is None else top_k,
            mode=self.mode,
            filter=expression_of(chosen),
            allow_unknown_fields=self.allow_unknown_fields,
            fusion=fusion,
        )
        return {"documents": self.document_store.search(request)}


@component
class LexhoundKeywordRetriever(_Retriever):
    """Documents by the collection's index of terms: BM25, or a learned sparse encoder.

    Args:
        document_store: the collection.
        filters: of searches that give none, or by `filter_policy` (MERGE) of all.
        top_k: how many documents at most.
        allow_unknown_fields: let filters name fields that no document has.
    """

    mode = "sparse"

    @component.output_types(documents=list[Document])
    def run(
        self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """Return the best documents for a query, best first.

        Raises:
            FilterError: the filters mean nothing. QueryError: `top_k` or the query is out of bounds.
        """
        return self._find(query, filters, top_k)

    @component.output_types(documents=list[Document])
    async def run_async(
        self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """Return the best documents for a query, best first."""
        return await asyncio.to_thread(self._find, query, filters, top_k)


@component
class LexhoundEmbeddingRetriever(_Retriever):
    """Documents by their dense vectors; the collection embeds the query, so it takes the text.

    The arguments are those of `LexhoundKeywordRetriever`.
    """

    mode = "dense"

    @component.output_types(documents=list[Document])
    def run(
        self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """Return the best documents for a query, best first.

        Raises:
            FilterError: the filters mean nothing. QueryError: the collection has no dense vectors.
        """
        return self._find(query, filters, top_k)

    @component.output_types(documents=list[Document])
    async def run_async(
        self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """Return the best documents for a query, best first."""
        return await asyncio.to_thread(self._find, query, filters, top_k)


@component
class LexhoundHybridRetriever(_Retriever):
    """Documents by terms and dense vectors, fused by the collection; no joiner is needed behind it.

    The arguments are those of `LexhoundKeywordRetriever`, and `dense_weight`: the share of the dense side from 0 to 1;
    the collection's own fusion unless given.
    """

    mode = "hybrid"

    def __init__(
        self,
        document_store: LexhoundDocumentStore,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        filter_policy: FilterPolicy = FilterPolicy.REPLACE,
        allow_unknown_fields: bool = False,
        dense_weight: float | None = None,
    ) -> None:
        # The decorator makes another class, which `super` would not know.
        _Retriever.__init__(self, document_store, filters, top_k, filter_policy, allow_unknown_fields)
        self.dense_weight = dense_weight

    def _parameters(self) -> dict[str, Any]:
        return _Retriever._parameters(self) | {"dense_weight": self.dense_weight}

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        dense_weight: float | None = None,
    ) -> dict[str, list[Document]]:
        """Return the best documents for a query, best first.

        Raises:
            FilterError: the filters mean nothing. QueryError: the collection has no dense vectors.
        """
        weight = self.dense_weight if dense_weight is None else dense_weight
        return self._find(query, filters, top_k, None if weight is None else Fusion(dense_weight=weight))

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query: str,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        dense_weight: float | None = None,
    ) -> dict[str, list[Document]]:
        """Return the best documents for a query, best first."""
        return await asyncio.to_thread(self.run, query, filters, top_k, dense_weight)
