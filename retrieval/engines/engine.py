"""What a search engine has to do so that a collection can be kept in it: vectors in, ranked ids out.

An `Engine` knows documents, vectors and filters, and nothing of encoders, fusion or explanations: those are
`EngineCollection`'s, and the same for all engines. What an engine lacks is left out of its `abilities`; asking for it
is refused before it is called.

A document is one row, or one a passage where it is split; engines rank rows, and `grouping` makes documents of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.bm25.vocabulary import Vocabulary
from lexhound.retrieval.collection.health import Health
from lexhound.retrieval.collection.store.manifest import Manifest
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.documents.passages import Passage, passage_of
from lexhound.retrieval.documents.splitting import Span
from lexhound.retrieval.errors import UnsupportedError
from lexhound.retrieval.filters import Expression

SparseVector: TypeAlias = tuple[NDArray[np.int32], NDArray[np.float32]]
"""int32 term ids, ascending, and their float32 weights > 0."""


SplitsText: TypeAlias = Callable[[Document], Sequence[Span]]
"""Takes a document; returns where its passages would begin and end, nothing where it stays whole."""


class Ability(StrEnum):
    """What an engine may or may not be able to do; the value is how a person would say it."""

    DENSE = "dense vectors, which modes dense and hybrid need"
    FILTER = "filters on metadata"
    EXPLAIN = "explanations of scores"
    REPLACE = "adding to, replacing and deleting documents of an index that is there"
    FREQUENCIES = "how many documents hold a term, which this encoder's query weights follow"
    LEXICAL = "the encoder bm25, whose vocabulary grows with the documents"


@dataclass(frozen=True, slots=True, eq=False)
class EngineDocument:
    """A document on its way into an engine or out of it, with the vectors of its rows: one, or one a passage.

    Attributes:
        internal_id: its place in insertion order, and the number of its first row; those of the other rows follow. A
            document that is replaced gets a new one.
        digest: of everything the document holds but its id (`stored_documents.content_hash`).
        sparse: the weights of each row.
        dense: float32[rows, width], zeros where a row has no vector; None without a dense side.
        spans: where its passages begin and end in the text, in characters; none of a document that is whole.
        cut: whether an encoder left out a part of it.
    """

    internal_id: int
    digest: int
    document: Document
    sparse: Sequence[SparseVector]
    dense: NDArray[np.float32] | None = None
    spans: Sequence[Span] = ()
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Head:
    """What tells one version of a stored document from another: its digest, internal id and number of rows."""

    digest: int
    internal_id: int
    rows: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class StoredDocument:
    """A document as an engine keeps it, with its internal id and where its passages begin and end."""

    document: Document
    internal_id: int
    spans: Sequence[Span] = ()

    def passage(self, number: int) -> Passage | None:
        """Return one of its passages; None of a document that is whole, or has no such passage."""
        return passage_of(self.document.text, number, self.spans[number]) if number < len(self.spans) else None


@dataclass(frozen=True, slots=True)
class Scope:
    """Which rows a search may find; all unless it says otherwise.

    Attributes:
        where: rows of documents that pass a filter (needs FILTER).
        documents: rows of the documents with these internal ids.
        rows: rows with these internal ids (needs DENSE, whose hybrid searches ask for it).
        without: no rows of the documents with these internal ids (needed where `max_rows` is less than all rows).
    """

    where: Expression | None = None
    documents: Sequence[int] | None = None
    rows: Sequence[int] | None = None
    without: Sequence[int] = ()


EVERYTHING = Scope()


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """Ranked rows of one query: their documents' ids, int64 internal ids, float64 scores. Equal scores may come in any
    order.

    Attributes:
        documents: int64, the internal id of each row's document: its own, unless it is a further passage.
        counts: int64, how many rows the document has.
    """

    ids: list[str]
    internal_ids: NDArray[np.int64]
    scores: NDArray[np.float64]
    documents: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Iterable[RankedRow]) -> Ranked:
        """Return a ranking of rows, each (id, internal id, score, internal id of its document, rows of that)."""
        columns = list(zip(*rows, strict=True)) or [(), (), (), (), ()]
        numbers = [np.array(columns[at], np.int64) for at in (1, 3, 4)]
        return cls(list(columns[0]), numbers[0], np.array(columns[2], np.float64), *numbers[1:])

    @classmethod
    def of_documents(cls, triples: Iterable[tuple[str, int, float]]) -> Ranked:
        """Return a ranking of documents that are whole: (id, internal id, score) of each."""
        return cls.of((name, number, score, number, 1) for name, number, score in triples)

    @classmethod
    def joined(cls, rankings: Sequence[Ranked]) -> Ranked:
        """Return several rankings, one behind the other."""
        if not rankings:
            return cls.of(())
        return cls(
            [identifier for each in rankings for identifier in each.ids],
            np.concatenate([each.internal_ids for each in rankings]),
            np.concatenate([each.scores for each in rankings]),
            np.concatenate([each.documents for each in rankings]),
            np.concatenate([each.counts for each in rankings]),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def at(self, places: NDArray[np.int64]) -> Ranked:
        """Return those at some places, in their order."""
        return Ranked(
            [self.ids[place] for place in places.tolist()],
            self.internal_ids[places],
            self.scores[places],
            self.documents[places],
            self.counts[places],
        )

    def ordered(self, depth: int | None = None) -> Ranked:
        """Return the best `depth`, or all: score descending, then internal id ascending."""
        return self.at(np.lexsort((self.internal_ids, -self.scores))[:depth])


RankedRow: TypeAlias = tuple[str, int, float, int, int]
"""Id, internal id, score, internal id of the document, and how many rows that has."""


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
    max_rows: int
    """The deepest row that `search_sparse` and `search_dense` may be asked for."""

    def check(self, documents: Sequence[Document], split: SplitsText) -> None:
        """Refuse documents that the engine cannot hold; `split` tells how one would be split.

        Raises:
            UnsupportedError: names the first of them.
        """

    def upsert(self, documents: Sequence[EngineDocument]) -> None:
        """Insert documents with distinct ids, in place of those with the same ids, all rows of each at once; searchable
        when it returns.
        """

    def delete(self, ids: Sequence[str]) -> None:
        """Delete documents that are there, with all their rows."""

    def finish(self) -> None:
        """Finish a run of upserts: merge, optimise, whatever makes searches faster."""

    def maintain(self) -> bool:
        """Merge what many small upserts leave behind; returns whether there was anything to do."""

    def heads(self, ids: Sequence[str]) -> dict[str, Head]:
        """Return the heads of those documents that are there."""

    def documents(self, ids: Sequence[str]) -> dict[str, StoredDocument]:
        """Return those documents that are there."""

    def vectors(self, ids: Sequence[str]) -> dict[str, list[SparseVector]]:
        """Return the stored weights of the rows of documents (EXPLAIN)."""

    def search_sparse(self, queries: Sequence[SparseVector], limit: int, scope: Scope = EVERYTHING) -> list[Ranked]:
        """Return the best `limit` rows that share a term with each query.

        Rows of a document that is being replaced may be among them; its head tells (`heads`).
        """

    def search_dense(self, queries: NDArray[np.float32], limit: int, scope: Scope = EVERYTHING) -> list[Ranked]:
        """Return the best `limit` rows by inner product with each query, float32[m, width] (DENSE).

        Rows without a vector, which have zeros, are not found.
        """

    def count(self, where: Expression | None = None) -> int:
        """Return how many documents there are, or pass a filter."""

    def count_rows(self, where: Expression | None = None) -> int:
        """Return how many rows all documents have, or those that pass a filter."""

    def count_split(self, where: Expression | None = None) -> tuple[int, int]:
        """Return how many documents, or of those that pass a filter, are split, and of how many an encoder left out a
        part.
        """

    def ids(self, where: Expression) -> list[str]:
        """Return the ids of the documents that pass a filter, in any order (FILTER)."""

    def document_frequencies(self, terms: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return how many rows hold each term (FREQUENCIES)."""

    def stored(self, batch: int) -> Iterator[list[EngineDocument]]:
        """Yield all documents in order of insertion, `batch` at a time, for moving them elsewhere."""

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
