"""What a search engine has to do so that a collection can be kept in it: vectors in, ranked ids out.

An `Engine` knows documents, vectors and filters, and nothing of encoders, fusion or explanations: those are
`EngineCollection`'s, and the same for all engines. What an engine lacks is left out of its `abilities`; asking for it
is refused before it is called.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.bm25.vocabulary import Vocabulary
from lexhound.retrieval.collection.health import Health
from lexhound.retrieval.collection.store.manifest import Manifest
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.errors import UnsupportedError
from lexhound.retrieval.filters import Expression

SparseVector: TypeAlias = tuple[NDArray[np.int32], NDArray[np.float32]]
"""int32 term ids, ascending, and their float32 weights > 0."""


class Ability(StrEnum):
    """What an engine may or may not be able to do; the value is how a person would say it."""

    DENSE = "dense vectors, which modes dense and hybrid need"
    FILTER = "filters on metadata"
    EXPLAIN = "explanations of scores"
    REPLACE = "adding to, replacing and deleting documents of an index that is there"
    FREQUENCIES = "how many documents hold a term, which this encoder's query weights follow"
    LEXICAL = "the encoder bm25, whose vocabulary grows with the documents"


@dataclass(frozen=True, slots=True, eq=False)
class EngineRow:
    """A document on its way into an engine.

    Attributes:
        internal_id: its place in insertion order; a document that is replaced gets a new one.
        digest: of everything the document holds but its id (`stored_documents.content_hash`).
        sparse: its weights. dense: float32[width], zeros where it has none; None without a dense side.
    """

    internal_id: int
    digest: int
    document: Document
    sparse: SparseVector
    dense: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """Ranked documents of one query: ids, int64 internal ids, float64 scores. Equal scores may come in any order."""

    ids: list[str]
    internal_ids: NDArray[np.int64]
    scores: NDArray[np.float64]

    @classmethod
    def of(cls, triples: Iterable[tuple[str, int, float]]) -> Ranked:
        """Return a ranking of (id, internal id, score) triples."""
        rows = list(triples)
        return cls(
            [row[0] for row in rows],
            np.array([row[1] for row in rows], np.int64),
            np.array([row[2] for row in rows], np.float64),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def ordered(self, depth: int) -> Ranked:
        """Return the best `depth`, score descending, then internal id ascending."""
        order = np.lexsort((self.internal_ids, -self.scores))[:depth]
        return Ranked([self.ids[position] for position in order.tolist()], self.internal_ids[order], self.scores[order])


@dataclass(frozen=True, slots=True)
class Size:
    """What an engine keeps: bytes and stored weights, None where it does not tell; settings that matter, by name."""

    bytes: int | None = None
    postings: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


class Engine(Protocol):
    """An open collection of an engine. All methods may be called from several threads.

    Methods raise `EngineError` where the engine fails and `EngineUnreachableError` where it does not answer.
    """

    address: str
    manifest: Manifest
    abilities: frozenset[Ability]
    refused: tuple[str, ...]
    """What it cannot do, one sentence each, for `info`."""
    max_hits: int
    """The deepest hit that a search may ask for."""

    def check(self, documents: Sequence[Document]) -> None:
        """Refuse documents that the engine cannot hold. Raises UnsupportedError, which names the first of them."""

    def upsert(self, rows: Sequence[EngineRow]) -> None:
        """Insert rows with distinct ids, in place of those with the same ids; searchable when it returns."""

    def delete(self, ids: Sequence[str]) -> None:
        """Delete documents that are there."""

    def finish(self) -> None:
        """Finish a run of upserts: merge, optimise, whatever makes searches faster."""

    def maintain(self) -> bool:
        """Merge what many small upserts leave behind; returns whether there was anything to do."""

    def digests(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the digests of those documents that are there."""

    def documents(self, ids: Sequence[str]) -> dict[str, Document]:
        """Return those documents that are there."""

    def vectors(self, ids: Sequence[str]) -> dict[str, SparseVector]:
        """Return the stored weights of documents (EXPLAIN)."""

    def search_sparse(
        self, queries: Sequence[SparseVector], limit: int, where: Expression | None, among: Sequence[int] | None = None
    ) -> list[Ranked]:
        """Return the best `limit` documents that share a term with each query; `where` needs FILTER.

        With `among`, only documents with these internal ids (needs DENSE, whose hybrid searches ask for it).
        """

    def search_dense(
        self, queries: NDArray[np.float32], limit: int, where: Expression | None, among: Sequence[int] | None = None
    ) -> list[Ranked]:
        """Return the best `limit` documents by inner product with each query, float32[m, width] (DENSE).

        Documents without a vector, whose row has zeros, are not found.
        """

    def count(self, where: Expression | None = None) -> int:
        """Return how many documents there are, or pass a filter."""

    def ids(self, where: Expression) -> list[str]:
        """Return the ids of the documents that pass a filter, in any order (FILTER)."""

    def document_frequencies(self, terms: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return how many documents hold each term (FREQUENCIES)."""

    def rows(self, batch: int) -> Iterator[list[EngineRow]]:
        """Return all rows, `batch` at a time, in any order, for moving them elsewhere."""

    def refresh(self) -> bool:
        """See what others have written; returns whether anything may have changed.

        Raises NotACollectionError where the collection is gone, or another has taken its place.
        """

    def size(self) -> Size:
        """Return what it keeps."""

    def health(self) -> Health:
        """Return whether it answers."""

    def close(self) -> None:
        """Give back connections."""


class LexicalEngine(Engine, Protocol):
    """An engine with the ability LEXICAL: it keeps the vocabulary, and weighs stored term frequencies itself."""

    @property
    def vocabulary(self) -> Vocabulary:
        """The terms of bm25, which grow as documents are encoded."""
        ...


def require(engine: Engine, ability: Ability) -> None:
    """Refuse what an engine cannot do.

    Raises:
        UnsupportedError
    """
    if ability not in engine.abilities:
        raise UnsupportedError(f"the engine does not offer {ability.value}", where=engine.address)
