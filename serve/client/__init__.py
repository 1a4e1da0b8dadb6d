"""A client of the REST service, for programs.

    from lexhound.serve.client import Client

    with Client("http://127.0.0.1:8080", key="lxh_...") as client:
        client.create_collection("my")
        client.put("my", ({"id": str(n), "text": text} for n, text in enumerate(texts)), refresh=True)
        for hit in client.search("my", "heat transfer", k=5, explain=True).hits:
            print(hit.score, hit.id)

`AsyncClient` has the same methods, awaited. Both send a request again when the service is overloaded or starting (429,
503), after the time that it asks for; other errors come as `ApiError`, and a service that cannot be reached as
`UnreachableError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lexhound.core.lazy import lazy_names

if TYPE_CHECKING:
    from lexhound.retrieval.collection.request import SearchRequest
    from lexhound.retrieval.collection.result import Hit, SearchResult

    from .answers import BulkResult, Document
    from .async_client import AsyncClient
    from .client import Client
    from .errors import ApiError, ClientError, UnreachableError

__all__ = [
    "ApiError",
    "AsyncClient",
    "BulkResult",
    "Client",
    "ClientError",
    "Document",
    "Hit",
    "SearchRequest",
    "SearchResult",
    "UnreachableError",
]

if not TYPE_CHECKING:
    __getattr__ = lazy_names(
        __name__,
        {
            **dict.fromkeys(("BulkResult", "Document"), f"{__name__}.answers"),
            **dict.fromkeys(("Hit", "SearchResult"), "lexhound.retrieval.collection.result"),
            "SearchRequest": "lexhound.retrieval.collection.request",
            "AsyncClient": f"{__name__}.async_client",
            "Client": f"{__name__}.client",
            **dict.fromkeys(("ApiError", "ClientError", "UnreachableError"), f"{__name__}.errors"),
        },
    )
