"""Collections: documents, encoders and indexes kept together on disk.

from lexhound.retrieval import Collection, Document

with Collection.create("my.index") as collection:
    collection.add([Document("1", "heat transfer in hypersonic flow")])
    for hit in collection.search("hypersonic heating").hits:
        ...
"""

from ..encoders.lexical import LexicalSettings
from .collection import Collection
from .document import Document
from .errors import RetrievalError
from .fusion import Fusion
from .search import Contribution, Hit, SearchResult, Share
from .writer import AddReport

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
