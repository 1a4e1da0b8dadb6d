"""Lexhound: a learned sparse retrieval search engine.

    import lexhound

    with lexhound.Collection.create("my.index") as collection:
        collection.add([lexhound.Document("1", "heat transfer in hypersonic flow")])
    with lexhound.open("my.index") as collection:
        hits = collection.search("hypersonic heating").hits

The folders beside this file are links to the rooms at the top of the repository. Importing `lexhound` loads none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lexhound.core.lazy import lazy_names

if TYPE_CHECKING:
    from lexhound.core.version import __version__
    from lexhound.retrieval.collection.collection import Collection
    from lexhound.retrieval.documents.document import Document
    from lexhound.retrieval.engines.opening import open_collection as open

__all__ = ["Collection", "Document", "__version__", "open"]

if not TYPE_CHECKING:
    __getattr__ = lazy_names(
        __name__,
        {
            "Collection": "lexhound.retrieval.collection.collection",
            "Document": "lexhound.retrieval.documents.document",
            "__version__": "lexhound.core.version",
            "open": "lexhound.retrieval.engines.opening:open_collection",
        },
    )


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
