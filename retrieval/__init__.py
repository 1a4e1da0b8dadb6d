"""Collections: documents, encoders and indexes kept together on disk.

from lexhound.retrieval import Collection, Document

with Collection.create("my.index") as collection:
    collection.add([Document("1", "heat transfer in hypersonic flow")])
    for hit in collection.search("hypersonic heating").hits:
        ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lexhound.core.lazy import lazy_names

if TYPE_CHECKING:
    from lexhound.encoders.bm25.settings import LexicalSettings
    from lexhound.retrieval.collection.collection import Collection
    from lexhound.retrieval.collection.request import Fusion, SearchRequest
    from lexhound.retrieval.collection.result import Contribution, Hit, SearchResult, Share
    from lexhound.retrieval.collection.write.writer import AddReport
    from lexhound.retrieval.documents.document import Document
    from lexhound.retrieval.errors import RetrievalError

__all__ = [
    "AddReport",
    "Collection",
    "Contribution",
    "Document",
    "Fusion",
    "Hit",
    "LexicalSettings",
    "RetrievalError",
    "SearchRequest",
    "SearchResult",
    "Share",
]

if not TYPE_CHECKING:
    __getattr__ = lazy_names(
        __name__,
        {
            "AddReport": "lexhound.retrieval.collection.write.writer",
            "Collection": "lexhound.retrieval.collection.collection",
            "Contribution": "lexhound.retrieval.collection.result",
            "Document": "lexhound.retrieval.documents.document",
            "Fusion": "lexhound.retrieval.collection.request",
            "Hit": "lexhound.retrieval.collection.result",
            "LexicalSettings": "lexhound.encoders.bm25.settings",
            "RetrievalError": "lexhound.retrieval.errors",
            "SearchRequest": "lexhound.retrieval.collection.request",
            "SearchResult": "lexhound.retrieval.collection.result",
            "Share": "lexhound.retrieval.collection.result",
        },
    )
