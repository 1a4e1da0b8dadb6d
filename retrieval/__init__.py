"""Collections: documents, encoders and indexes kept together on disk.

from lexhound.retrieval import Collection, Document

with Collection.create("my.index") as collection:
    collection.add([Document("1", "heat transfer in hypersonic flow")])
    for hit in collection.search("hypersonic heating").hits:
        ...
"""

from lexhound.encoders.bm25.encoder import LexicalSettings
from lexhound.retrieval.collection.collection import Collection
from lexhound.retrieval.collection.query.fusion import Fusion
from lexhound.retrieval.collection.query.search import Contribution, Hit, SearchResult, Share
from lexhound.retrieval.collection.write.writer import AddReport
from lexhound.retrieval.documents.document import Document

from .errors import RetrievalError

__all__ = [
    "AddReport",
    "Collection",
    "Contribution",
    "Document",
    "Fusion",
    "Hit",
    "LexicalSettings",
    "RetrievalError",
    "SearchResult",
    "Share",
]
