"""Haystack's own tests of document stores, for an embedded collection and one of a service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from haystack import Document
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DocumentStore
from haystack.testing.document_store import (
    CountDocumentsByFilterTest,
    CountDocumentsTest,
    CountUniqueMetadataByFilterTest,
    DeleteByFilterTest,
    DeleteDocumentsTest,
    DocumentStoreBaseExtendedTests,
    FilterableDocsFixtureMixin,
    GetMetadataFieldMinMaxTest,
    GetMetadataFieldsInfoTest,
    GetMetadataFieldUniqueValuesTest,
    UpdateByFilterTest,
    WriteDocumentsTest,
)
from haystack.testing.document_store_async import (
    CountDocumentsAsyncTest,
    DeleteDocumentsAsyncTest,
    FilterDocumentsAsyncTest,
    WriteDocumentsAsyncTest,
)
from service import Service

from lexhound.retrieval import Collection
from lexhound.serve.integrations.haystack import LexhoundDocumentStore

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


class Asynchronous(
    CountDocumentsAsyncTest, DeleteDocumentsAsyncTest, FilterDocumentsAsyncTest, WriteDocumentsAsyncTest
):
    async def test_write_documents_async(self, document_store: DocumentStore) -> None:  # type: ignore[override]
        """What a store does without a policy, each says itself."""
        document = Document(content="test doc")
        assert await document_store.write_documents_async([document]) == 1  # type: ignore[attr-defined]
        with pytest.raises(DuplicateDocumentError):
            await document_store.write_documents_async([document])  # type: ignore[attr-defined]


class Everything(
    DocumentStoreBaseExtendedTests,
    CountDocumentsByFilterTest,
    CountUniqueMetadataByFilterTest,
    GetMetadataFieldsInfoTest,
    GetMetadataFieldMinMaxTest,
    GetMetadataFieldUniqueValuesTest,
):
    # For stores that can make their index again while they delete everything.
    test_delete_all_documents_without_recreate_index = None
    test_delete_all_documents_with_recreate_index = None

    def test_write_documents(self, document_store: DocumentStore) -> None:
        """What a store does without a policy, each says itself."""
        document = Document(content="test doc")
        assert document_store.write_documents([document]) == 1
        with pytest.raises(DuplicateDocumentError):
            document_store.write_documents([document])


class TestEmbedded(Everything, Asynchronous):
    @pytest.fixture
    def document_store(self, tmp_path: Path) -> Iterator[DocumentStore]:  # type: ignore[override]
        with Collection.create(tmp_path / "new.index", encoder="bm25") as collection:
            yield LexhoundDocumentStore(collection)


class TestOfAService(
    CountDocumentsTest,
    DeleteDocumentsTest,
    WriteDocumentsTest,
    DeleteByFilterTest,
    UpdateByFilterTest,
    GetMetadataFieldMinMaxTest,
    FilterableDocsFixtureMixin,
):
    """What is asked of the service; filters are translated the same way for both."""

    test_write_documents = Everything.test_write_documents

    @pytest.fixture
    def document_store(self, service: Service) -> Iterator[DocumentStore]:  # type: ignore[override]
        store = LexhoundDocumentStore(service.url, "new", encoder="bm25")
        yield store
        store.close()
        with service.client() as client:
            for each in client.collections():
                if each.name == "new":  # one that no test has used was never made
                    client.delete_collection("new")
