"""Lucene as an engine: documents in SQLite, an impact index that Anserini builds once, exact searches.

Lucene adds scores up as float32, which holds whole numbers below 2**24. So a query's weights become whole numbers whose
sum times 255 stays below that, Lucene ranks by exact sums of those, and what it finds is scored again with the weights
as they were given. A document that Lucene did not return can score at most what the rounding allows, so hits are asked
for until none of them could be among the best: the result is that of brute force over the same impacts.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from threading import RLock

import numpy as np
from numpy.typing import NDArray

from lexhound.core.disk_errors import storage_errors
from lexhound.core.lock import WriterLock
from lexhound.encoders.bm25.encoder import KIND, LexicalEncoder
from lexhound.encoders.bm25.vocabulary import Vocabulary
from lexhound.encoders.load import load_encoder
from lexhound.index.inverted.quantization import MAX_IMPACT
from lexhound.retrieval.collection.health import Health
from lexhound.retrieval.collection.store.manifest import Manifest, read_manifest, write_manifest
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.engines.address import Address
from lexhound.retrieval.engines.engine import (
    EVERYTHING,
    Ability,
    EngineDocument,
    Head,
    Ranked,
    Scope,
    Size,
    SparseVector,
    SplitsText,
    StoredDocument,
)
from lexhound.retrieval.engines.refusals import REFUSED
from lexhound.retrieval.errors import CollectionExistsError, EngineError, NotACollectionError, UnsupportedError
from lexhound.retrieval.filters import Expression

from .building import INDEX, build
from .impact_weights import ImpactWeights
from .java import Java, find_java
from .machine import Searcher
from .store import DATABASE, Store

MANIFEST = "lucene.json"
MAX_HITS = 100_000
_WITH_PASSAGES = 8  # the format of collections whose texts may be split, which earlier versions refuse
_EXACT = 2**24  # float32 holds every whole number up to it
_SPARE, _MORE = 8, 4
_MAKE = "make one with: lexhound index CORPUS --into lucene:PATH --encoder default"


def open_lucene(address: Address, create: Manifest | None = None) -> LuceneEngine:
    """Open the collection at an address, or with a manifest make it.

    Raises:
        MissingEngineError: pyserini or Java is missing, or they do not fit together.
        NotACollectionError, CorruptCollectionError, CollectionExistsError, ReadOnlyError: see `Collection`.
        CollectionLockedError: it is to be made, and another process is at it.
    """
    folder = address.path or Path()
    java = find_java()
    if create is not None:
        if create.passages is not None:
            create = replace(create, format=_WITH_PASSAGES)
        if folder.exists() and not _unfinished(folder, create):
            raise CollectionExistsError(
                "something is here already", where=str(address), hint="give another path, or remove what is there"
            )
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / DATABASE).exists():
                Store(folder, create=True).close()
                write_manifest(folder, create, MANIFEST)
    if not (folder / DATABASE).is_file():
        raise NotACollectionError("no such Lucene collection", where=str(address), hint=_MAKE)
    return LuceneEngine(address, folder, _read_manifest(folder), java)


def _unfinished(folder: Path, manifest: Manifest) -> bool:
    """Return whether a collection is here whose building was begun with the same settings and not finished."""
    if not (folder / DATABASE).is_file() or (folder / INDEX).exists():
        return False
    begun = _read_manifest(folder)
    return begun.passages == manifest.passages and begun.encoder.same_vectors(manifest.encoder)


def _read_manifest(folder: Path) -> Manifest:
    return read_manifest(folder, MANIFEST, newest=_WITH_PASSAGES)


class LuceneEngine:
    """An open collection in Lucene; see `engine.Engine`."""

    abilities = frozenset({Ability.EXPLAIN, Ability.FREQUENCIES, Ability.LEXICAL})
    max_hits = MAX_HITS
    max_rows = sys.maxsize

    def __init__(self, address: Address, folder: Path, manifest: Manifest, java: Java) -> None:
        """Internal: use `open_lucene`."""
        self.address = str(address)
        self.manifest = manifest
        self.refused = REFUSED[address.engine]
        self._folder = folder
        self._java = java
        self._lock = RLock()
        self._store = Store(folder)
        self._lexical = _lexical(manifest, self._store)
        statistics = self._store.statistics
        self._impact_weights = None if statistics is None else ImpactWeights(*statistics, self._lexical)
        self._known = _identity(folder)
        self._searcher: Searcher | None = None
        self._writing: WriterLock | None = None

    @property
    def vocabulary(self) -> Vocabulary:
        """The terms of bm25."""
        return self._store.vocabulary

    def check(self, documents: Sequence[Document], split: SplitsText) -> None:
        """Accept every document."""

    def upsert(self, documents: Sequence[EngineDocument]) -> None:
        """Keep documents for the index, which is built by `finish`, or by the first search."""
        with self._lock:
            if self._impact_weights is not None:
                raise UnsupportedError(
                    "a Lucene index is not added to once it is built",
                    where=self.address,
                    hint="index the whole corpus again at another path",
                )
            if self._writing is None:
                self._writing = WriterLock(self._folder)
            with storage_errors(self._folder):
                self._store.put(documents)

    def delete(self, ids: Sequence[str]) -> None:
        """Raise UnsupportedError: callers refuse this before they get here."""
        raise UnsupportedError("a Lucene index is not deleted from", where=self.address)

    def finish(self) -> None:
        """Build the index of what was inserted, once."""
        with self._lock:
            if self._impact_weights is None:
                if self._writing is None:
                    self._writing = WriterLock(self._folder)
                self._impact_weights = build(self._folder, self._store, self._java, self._lexical)

    def maintain(self) -> bool:
        """Do nothing: nothing piles up."""
        return False

    def heads(self, ids: Sequence[str]) -> dict[str, Head]:
        """Return the heads of those documents that are there."""
        return self._store.heads(ids)

    def documents(self, ids: Sequence[str]) -> dict[str, StoredDocument]:
        """Return those documents that are there."""
        return self._store.documents(ids)

    def vectors(self, ids: Sequence[str]) -> dict[str, list[SparseVector]]:
        """Return the weights of the rows of documents as the index has them: impacts times their scale."""
        impact_weights = self._ready()
        return {
            identifier: [
                (terms, (impact_weights.impacts([(terms, weights)]) * impact_weights.scale).astype(np.float32))
                for terms, weights in vectors
            ]
            for identifier, vectors in self._store.vectors(ids).items()
        }

    def search_sparse(self, queries: Sequence[SparseVector], limit: int, scope: Scope = EVERYTHING) -> list[Ranked]:
        """Return the best rows by the impact index; exact. Those of some documents are scored without it."""
        if scope.where is not None or scope.rows is not None or scope.without:
            raise self._no_filters()
        impact_weights = self._ready()
        if scope.documents is None:
            return [self._search(terms, weights, limit, impact_weights) for terms, weights in queries]
        rows = np.array(self._store.rows_of(scope.documents), np.int64)
        found = []
        for terms, weights in queries:
            ranked = self._rescored(rows, _lookup(terms, weights), impact_weights)
            found.append(ranked.at(np.flatnonzero(ranked.scores > 0)).ordered(limit))
        return found

    def search_dense(self, queries: NDArray[np.float32], limit: int, scope: Scope = EVERYTHING) -> list[Ranked]:
        """Raise UnsupportedError: callers refuse this before they get here."""
        raise UnsupportedError(f"the engine does not offer {Ability.DENSE.value}", where=self.address)

    def count(self, where: Expression | None = None) -> int:
        """Return how many documents there are."""
        if where is not None:
            raise self._no_filters()
        return self._store.count()

    def count_rows(self, where: Expression | None = None) -> int:
        """Return how many rows all documents have."""
        if where is not None:
            raise self._no_filters()
        return self._store.count_rows()

    def count_split(self, where: Expression | None = None) -> tuple[int, int]:
        """Return how many documents are split, and of how many an encoder left out a part."""
        if where is not None:
            raise self._no_filters()
        return self._store.count_split()

    def ids(self, where: Expression) -> list[str]:
        """Raise UnsupportedError: callers refuse this before they get here."""
        raise self._no_filters()

    def document_frequencies(self, terms: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return how many rows hold each term."""
        self._ready()
        return self._store.frequencies(terms)

    def stored(self, batch: int) -> Iterator[list[EngineDocument]]:
        """Yield all documents, in order of insertion."""
        return self._store.stored(batch)

    def refresh(self) -> bool:
        """Look for changes: nothing changes once the index is built, but another may take its place."""
        if _identity(self._folder) != self._known:
            raise NotACollectionError(
                "the collection is gone, or another has taken its place", where=self.address, hint=_MAKE
            )
        with self._lock:
            statistics = self._store.statistics
            if self._impact_weights is not None or statistics is None:
                return False
            self._impact_weights = ImpactWeights(*statistics, self._lexical)
            return True

    def size(self) -> Size:
        """Return the bytes of the index and of the documents, and what it is made of."""
        size = sum((Path(folder) / name).stat().st_size for folder, _, names in os.walk(self._folder) for name in names)
        settings = {"scale": self._impact_weights and self._impact_weights.scale, "bits": 8, "java": self._java.version}
        return Size(size, self._store.postings, settings)

    def health(self) -> Health:
        """Return whether there is an index that opens."""
        engine = f"Anserini {self._java.anserini}, Java {self._java.version}"
        if self._impact_weights is None and self._store.count():
            return Health(False, engine, "the index is not built yet")
        return Health(True, engine)

    def close(self) -> None:
        """Give back files and locks. What was inserted and not finished is kept for the next attempt."""
        with self._lock:
            if self._searcher is not None:
                self._searcher.close()
                self._searcher = None
            self._store.close()
            if self._writing is not None:
                self._writing.release()
                self._writing = None

    def _no_filters(self) -> UnsupportedError:
        return UnsupportedError(f"the engine does not offer {Ability.FILTER.value}", where=self.address)

    def _ready(self) -> ImpactWeights:
        """Return how the vectors of the index were weighed; it is built and opened if need be."""
        with self._lock:
            if self._impact_weights is None:
                if self._writing is None and self._store.count():
                    raise EngineError(
                        "the index is not built: the ingest job that was to make it was not finished",
                        where=self.address,
                        hint="finish it with the command it was begun with",
                    )
                if self._writing is None:  # empty, and not ours to write to
                    return ImpactWeights(1.0, 1.0, self._lexical)
                self.finish()
            if self._searcher is None and any((self._folder / INDEX).iterdir()):
                self._searcher = Searcher(self._java, self._folder / INDEX)
            return self._impact_weights or ImpactWeights(1.0, 1.0, self._lexical)

    def _search(
        self, terms: NDArray[np.int32], weights: NDArray[np.float32], limit: int, impact_weights: ImpactWeights
    ) -> Ranked:
        searcher = self._searcher
        if searcher is None or not len(terms):
            return Ranked.of(())
        exact = weights.astype(np.float64)
        # A power of two, so that rounding is all that is lost: |weight × factor - integer| is at most a half,
        # unless the integer is 1 where 0 would be nearer.
        budget = _EXACT // MAX_IMPACT - len(terms)
        if budget < len(terms):
            raise UnsupportedError(f"a query of {len(terms):,} terms is too long for Lucene", where=self.address)
        factor = 2.0 ** (math.frexp(budget / math.fsum(exact.tolist()))[1] - 1)
        integers = np.maximum(1, np.rint(exact * factor))
        # What a document may score above what Lucene says of it.
        above = float(np.maximum(0, exact * factor - integers).sum()) * MAX_IMPACT
        names, numbers = [str(term) for term in terms.tolist()], integers.astype(np.int64).tolist()
        lookup = _lookup(terms, weights)
        rows = self._store.count_rows()
        depth = limit + _SPARE + limit // 8
        while True:
            depth = min(depth, rows)
            internal_ids, sums = searcher.search(names, numbers, depth)
            ranked = self._rescored(internal_ids, lookup, impact_weights)
            if len(internal_ids) < depth or depth == rows or (integers == exact * factor).all():
                break
            bound = (float(sums[-1]) + above) / factor * impact_weights.scale
            if int((ranked.scores > bound).sum()) >= limit:
                break
            depth *= _MORE
        return ranked.ordered(limit)

    def _rescored(
        self, internal_ids: NDArray[np.int64], lookup: NDArray[np.float64], impact_weights: ImpactWeights
    ) -> Ranked:
        """Return rows with sums of impact × the weight as it was given (`lookup`, by term id), times the scale."""
        numbers = internal_ids.tolist()
        stored = self._store.numbered(numbers)
        found = [stored[seq] for seq in numbers]
        if not found:
            return Ranked.of(())
        vectors = [row.vector for row in found]
        terms = np.concatenate([terms for terms, _ in vectors])
        rows = np.repeat(np.arange(len(vectors)), [len(terms) for terms, _ in vectors])
        shared = terms < len(lookup)
        products = lookup[terms[shared]] * impact_weights.impacts(vectors)[shared]
        # Multiples of one unit below 2**53 of it: the sums are exact in any order.
        sums = np.bincount(rows[shared], products, len(vectors)).astype(np.float64) * impact_weights.scale
        documents = np.array([row.document for row in found], np.int64)
        counts = np.array([row.rows for row in found], np.int64)
        return Ranked([row.id for row in found], internal_ids, sums, documents, counts)


def _lookup(terms: NDArray[np.int32], weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return a query's weights by term id."""
    lookup = np.zeros(int(terms[-1]) + 1 if len(terms) else 0, np.float64)
    lookup[terms] = weights
    return lookup


def _lexical(manifest: Manifest, store: Store) -> LexicalEncoder | None:
    """Return bm25, where it is the collection's encoder."""
    if manifest.encoder.kind != KIND:
        return None
    encoder = load_encoder(manifest.encoder, vocabulary=store.vocabulary)
    return encoder if isinstance(encoder, LexicalEncoder) else None


def _identity(folder: Path) -> tuple[int, int] | None:
    """Return which collection lies in a folder: its database's device and inode; None where there is none."""
    try:
        status = (folder / DATABASE).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
