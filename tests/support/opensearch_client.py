"""OpenSearch's own client of a service."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from opensearchpy import OpenSearch
from service import Service


def client_of(service: Service, **options: Any) -> OpenSearch:
    """A client of the endpoint, as its users make one."""
    address = urlsplit(service.url)
    host = {"host": address.hostname, "port": address.port, "url_prefix": "opensearch"}
    return OpenSearch(hosts=[host], **options)
