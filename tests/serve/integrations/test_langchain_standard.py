"""LangChain's own standard tests: of a vector store, embedded and of a service, and of retrievers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import RetrieversIntegrationTests, VectorStoreIntegrationTests
from service import Service

from lexhound.retrieval import Collection
from lexhound.serve.integrations.langchain import LexhoundRetriever, LexhoundVectorStore

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


class TestVectorStore(VectorStoreIntegrationTests):
    """With `fill`: five of these tests ask for hits that share nothing with the query."""

    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[VectorStore]:  # type: ignore[override]
        store = LexhoundVectorStore(tmp_path / "new.index", encoder="bm25", fill=True)
        yield store
        store.close()


class TestVectorStoreOfAService(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, service: Service) -> Iterator[VectorStore]:  # type: ignore[override]
        store = LexhoundVectorStore(service.url, collection="new", encoder="bm25", fill=True)
        yield store
        store.close()
        with service.client() as client:
            client.delete_collection("new")


@pytest.fixture(scope="module")
def heat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("retriever") / "c"
    with Collection.create(path, encoder="bm25") as collection:
        collection.add([{"id": str(n), "text": f"heat flows {n}"} for n in range(5)])
    return path


class TestRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _given(self, heat: Path) -> None:
        self.place = heat

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return LexhoundRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"where": self.place}

    @property
    def retriever_query_example(self) -> str:
        return "heat"
