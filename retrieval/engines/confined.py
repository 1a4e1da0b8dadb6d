"""An engine as one tenant sees it: documents under their own ids, and no others.

Documents lie in the engine under their keys (`tenants.keys`), with the tenant as text in their tenant field, and every
question about documents is confined by a filter on that field, which Milvus answers from the tenant's partition.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lexhound.retrieval.collection.health import Health
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.errors import EngineError
from lexhound.retrieval.filters import And, Comparison, Expression
from lexhound.retrieval.tenants.keys import claimed, keyed, plain, prefix_of, with_text

from .engine import (
    EVERYTHING,
    Engine,
    EngineDocument,
    Head,
    Ranked,
    Scope,
    Size,
    SparseVector,
    SplitsText,
    StoredDocument,
)


class ConfinedEngine:
    """What an engine has of one tenant; see `engine.Engine`. It is open for as long as the engine is."""

    def __init__(self, engine: Engine, tenant: str, field: str) -> None:
        self.address = engine.address
        self.manifest = engine.manifest
        self.abilities = engine.abilities
        self.refused = engine.refused
        self.max_hits = engine.max_hits
        self.max_rows = engine.max_rows
        self._engine = engine
        self._tenant = tenant
        self._field = field
        self._prefix = prefix_of(tenant)
        self._own = Comparison(field, "=", tenant)

    def check(self, documents: Sequence[Document], split: SplitsText) -> None:
        """Refuse documents of another tenant (InvalidDocumentError), or that the engine cannot hold."""
        self._engine.check([self._keyed(document) for document in documents], split)

    def upsert(self, documents: Sequence[EngineDocument]) -> None:
        """Insert documents."""
        self._engine.upsert([replace(each, document=self._keyed(each.document)) for each in documents])

    def delete(self, ids: Sequence[str]) -> None:
        """Delete documents that are there."""
        self._engine.delete(self._keys(ids))

    def finish(self) -> None:
        """Finish a run of upserts."""
        self._engine.finish()

    def maintain(self) -> bool:
        """Merge what many small upserts leave behind."""
        return self._engine.maintain()

    def heads(self, ids: Sequence[str]) -> dict[str, Head]:
        """Return the heads of those documents that are there."""
        return {self._id(key): head for key, head in self._engine.heads(self._keys(ids)).items()}

    def documents(self, ids: Sequence[str]) -> dict[str, StoredDocument]:
        """Return those documents that are there."""
        found = self._engine.documents(self._keys(ids))
        return {
            self._id(key): replace(stored, document=plain(stored.document, self._prefix))
            for key, stored in found.items()
        }

    def vectors(self, ids: Sequence[str]) -> dict[str, list[SparseVector]]:
        """Return the stored weights of the rows of documents."""
        return {self._id(key): vectors for key, vectors in self._engine.vectors(self._keys(ids)).items()}

    def search_sparse(self, queries: Sequence[SparseVector], limit: int, scope: Scope = EVERYTHING) -> list[Ranked]:
        """Return the tenant's best rows that share a term with each query."""
        return [self._named(each) for each in self._engine.search_sparse(queries, limit, self._scope(scope))]

    def search_dense(self, queries: NDArray[np.float32], limit: int, scope: Scope = EVERYTHING) -> list[Ranked]:
        """Return the tenant's best rows by inner product with each query."""
        return [self._named(each) for each in self._engine.search_dense(queries, limit, self._scope(scope))]

    def count(self, where: Expression | None = None) -> int:
        """Return how many documents the tenant has, or pass a filter."""
        return self._engine.count(self._where(where))

    def count_rows(self, where: Expression | None = None) -> int:
        """Return how many rows the tenant's documents have."""
        return self._engine.count_rows(self._where(where))

    def count_split(self, where: Expression | None = None) -> tuple[int, int]:
        """Return how many of the tenant's documents are split, and of how many a part was left out."""
        return self._engine.count_split(self._where(where))

    def ids(self, where: Expression) -> list[str]:
        """Return the ids of the tenant's documents that pass a filter."""
        return [self._id(key) for key in self._engine.ids(self._where(where))]

    def document_frequencies(self, terms: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return how many rows hold each term: everybody's, as engines tell of no others."""
        return self._engine.document_frequencies(terms)

    def stored(self, batch: int) -> Iterator[list[EngineDocument]]:
        """Refuse: what is stored is everybody's."""
        raise EngineError("a tenant's part of a collection is not moved", where=self.address)

    def refresh(self) -> bool:
        """See what others have written."""
        return self._engine.refresh()

    def size(self) -> Size:
        """Return nothing: what the engine keeps is everybody's."""
        return Size()

    def health(self) -> Health:
        """Return whether it answers."""
        return self._engine.health()

    def close(self) -> None:
        """Do nothing: the engine stays open."""

    def _where(self, where: Expression | None) -> Expression:
        return self._own if where is None else And((self._own, where))

    def _scope(self, scope: Scope) -> Scope:
        return replace(scope, where=self._where(scope.where))

    def _keys(self, ids: Sequence[str]) -> list[str]:
        return [self._prefix + identifier for identifier in ids]

    def _id(self, key: str) -> str:
        return key.removeprefix(self._prefix)

    def claimed(self, document: Document) -> Document:
        """Return a document of the tenant as the engine keeps it, but under its own id.

        Raises:
            InvalidDocumentError: it is of another tenant.
        """
        return with_text(claimed(document, self._field, self._tenant), self._field)

    def _keyed(self, document: Document) -> Document:
        return keyed(self.claimed(document), self._field, self._tenant)

    def _named(self, ranked: Ranked) -> Ranked:
        return replace(ranked, ids=[self._id(key) for key in ranked.ids])
