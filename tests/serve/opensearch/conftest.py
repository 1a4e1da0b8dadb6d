"""A service with the OpenSearch endpoint, and OpenSearch's own client of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from opensearch_client import client_of
from opensearchpy import OpenSearch
from service import Service, running


@pytest.fixture(scope="package")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("opensearch") / "data"
    path.mkdir()
    return path


@pytest.fixture(scope="package")
def service(data: Path) -> Iterator[Service]:
    with running(data, "--opensearch", "--encoders", "bm25") as started:
        yield started


@pytest.fixture(scope="package")
def client(service: Service) -> Iterator[OpenSearch]:
    made = client_of(service)
    yield made
    made.close()
