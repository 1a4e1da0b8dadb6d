"""The reading half of an open collection: searching, looking up, figures and condition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Unpack

from lexhound.core.errors import MissingExtraError, StorageError
from lexhound.core.progress import OnStep
from lexhound.core.version import made_by
from lexhound.encoders.errors import EncoderError
from lexhound.encoders.rerank.cross_encoder import open_cross_encoder
from lexhound.index.inverted.quantization import Query
from lexhound.index.warming import read_ahead, warm
from lexhound.retrieval.collection.clauses.listing import ListingCollection
from lexhound.retrieval.collection.fields.dense_field import WARMING
from lexhound.retrieval.collection.fields.sparse_field import SparseField
from lexhound.retrieval.collection.query.facets import FACETED_HITS
from lexhound.retrieval.collection.query.fusion import FieldScores
from lexhound.retrieval.collection.query.hybrid import rank_dense
from lexhound.retrieval.collection.query.modes import modes_of
from lexhound.retrieval.collection.query.search import answer, answer_many, fusion_candidates
from lexhound.retrieval.collection.query.snapshot import RowStatistics, Snapshot
from lexhound.retrieval.collection.request import (
    BatchKeywords,
    BatchRequest,
    Fusion,
    SearchKeywords,
    SearchRequest,
)
from lexhound.retrieval.collection.reranking.options import Rerank
from lexhound.retrieval.collection.reranking.reranked import rerank, rerank_many, wanted
from lexhound.retrieval.collection.result import Facet, RankedIds, SearchResult, Suggestions
from lexhound.retrieval.collection.store.connections import Connections
from lexhound.retrieval.collection.store.manifest import Manifest
from lexhound.retrieval.collection.store.notes import read_note
from lexhound.retrieval.collection.store.schema import DATABASE, Identity, check_identity
from lexhound.retrieval.collection.store.vocabulary import SqliteVocabulary
from lexhound.retrieval.collection.words.suggestions import MOST_COMPLETIONS
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.errors import CollectionError, CorruptCollectionError, NotACollectionError

from .capability import ALL_CAPABILITIES, Capability
from .encoders import CollectionEncoders, LoadedEncoders
from .health import Health
from .info import CollectionInfo, describe
from .reader import CollectionReader
from .verification import Problem, verify

if TYPE_CHECKING:
    from lexhound.encoders.base import Span
    from lexhound.retrieval.collection.clauses.tree import Clause


class ReadableCollection(ListingCollection):
    """What can be read of an open collection; `Collection` opens, closes and writes it.

    Attributes:
        path: its directory.
        manifest: which encoders made its vectors.
    """

    def __init__(
        self, directory: Path, manifest: Manifest, loaded: LoadedEncoders, identity: Identity | None, *, writable: bool
    ) -> None:
        self.path = directory
        self.manifest = manifest
        self._connections = Connections(directory, identity)
        self._vocabulary = self._connections.take()  # used under the vocabulary's lock
        self._encoders = CollectionEncoders(directory, manifest, SqliteVocabulary(self._vocabulary), loaded)
        self._reader = CollectionReader(directory, self._connections, self._encoders, follows_writes=writable)

    def _close_reading(self) -> None:
        self._reader.close()
        self._vocabulary.close()
        self._connections.close()

    @property
    def address(self) -> str:
        """Where it is, as a person writes it."""
        return str(self.path)

    @property
    def sparse_field(self) -> SparseField:
        """How texts become the vectors of the inverted index; for what reads those vectors back."""
        return self._encoders.sparse

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can do beyond what every collection can (`engines.protocol`): all of it."""
        return ALL_CAPABILITIES

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes that a search may ask for, beside `auto`."""
        return modes_of(self.sparse_field, dense=self._encoders.dense is not None)

    def refresh(self) -> bool:
        """Move on to the newest committed state; returns whether anything had changed.

        Its cost is that of what is new. Searches in other threads go on with the state before.
        """
        return self._reader.refresh()

    def is_current(self) -> bool:
        """Return whether reads see the newest committed state; one small read of the database."""
        return self._reader.is_current()

    def snapshot(self, *, hold: bool = False) -> Snapshot:
        """Return the state that reads see; a writer's own follows its writes.

        With `hold`, the newest state, whose documents all stay readable for as long as there is a reference to it, and
        for as long SQLite's log grows with every write: for what reads everything, such as an export.
        """
        return self._reader.snapshot(hold=hold)

    def search(
        self,
        query: str | Mapping[str, float] | Clause | SearchRequest,
        k: int | None = None,
        **options: Unpack[SearchKeywords],
    ) -> SearchResult:
        """Return the best documents for a query; fewer than asked for where fewer match.

        Args:
            query: a text, the weights of terms, a tree of clauses, or a whole request.
            k: how many hits; 10 unless given.
            options: the other attributes of `SearchRequest`.

        Raises:
            QueryError: an option is out of bounds, or the collection does not have the mode; FilterSyntaxError: the
            filter does not parse. UnknownFieldError: no document has what the filter names. EncoderError: a model
            cannot be loaded.
        """
        request = SearchRequest.of(query, k, options)
        reranking = wanted(request, self.reranker)
        if reranking is not None:
            return rerank(self.search, request, reranking)
        encoders = self._encoders.of_queries(request)
        return self._reader.read(lambda snapshot: answer(snapshot, encoders, request))

    def search_many(
        self, queries: Sequence[str] | BatchRequest, k: int | None = None, **options: Unpack[BatchKeywords]
    ) -> list[RankedIds]:
        """Return (id, score) of the best documents for each query, best first, on all cores.

        The answers are those of `search`; in modes dense and hybrid up to the rounding of query vectors, whose last
        bits may differ when many are encoded together.

        Args:
            queries: texts, or a whole request.
            k: how many hits a query; 10 unless given.
            options: the other attributes of `BatchRequest`.

        Raises:
            QueryError, FilterSyntaxError, EncoderError: as for `search`.
        """
        request = BatchRequest.of(queries, k, options)
        reranking = self.reranker if request.rerank is None else request.rerank
        if isinstance(reranking, Rerank):
            return rerank_many(self.search, request, reranking)
        encoders = self._encoders.of_queries(request)
        return self._reader.read(lambda snapshot: answer_many(snapshot, encoders, request))

    def get(self, identifier: str, *, latest: bool = False) -> Document | None:
        """Return the document with this id as it is now, or None; unless `latest`, only one that searches see too.

        Raises:
            CorruptCollectionError: it is not what was written, or the index of ids is damaged.
        """
        return self._reader.get(identifier, latest=latest)

    def count(self, filter: str | None = None, *, allow_unknown_fields: bool = False) -> int:
        """Return how many documents there are, or pass a filter expression.

        Raises:
            FilterSyntaxError: the filter does not parse. UnknownFieldError: no document has what it names.
        """
        return self._reader.count(filter, allow_unknown_fields=allow_unknown_fields)

    def ids(self, filter: str, *, allow_unknown_fields: bool = False) -> list[str]:
        """Return the ids of the documents that pass a filter expression, in order of insertion.

        Raises:
            FilterSyntaxError: the filter does not parse. UnknownFieldError: no document has what it names.
        """
        return self._reader.ids(filter, allow_unknown_fields=allow_unknown_fields)

    def facets(
        self,
        fields: Sequence[str] | None = None,
        limit: int = 20,
        *,
        query: str | Clause | None = None,
        filter: str | None = None,
        mode: str = "auto",
        matching: bool = False,
        allow_unknown_fields: bool = False,
    ) -> list[Facet]:
        """Return the most frequent values of metadata fields (all fields unless named), and the range of numbers.

        Args:
            query: count among its best 1,000 hits alone (`FACETED_HITS`), searched for in `mode`; filter: of the
                documents that pass it.
            matching: with a query, count all documents that match it; in modes dense and hybrid, its candidates.

        Raises:
            UnknownFieldError: no document has one of the fields, or what the filter names. QueryError: the query or its
            mode is out of bounds. DeadlineError: the time for it is over. CorruptCollectionError: it could be wrong by
            damage that is known.
        """
        request = None
        if query is not None:
            request = SearchRequest(
                query, k=FACETED_HITS, mode=mode, filter=filter, allow_unknown_fields=allow_unknown_fields
            )
        return self._reader.facets(
            fields, limit, request, filter=filter, matching=matching, allow_unknown_fields=allow_unknown_fields
        )

    def suggest(
        self, query: str, k: int = MOST_COMPLETIONS, *, filter: str | None = None, allow_unknown_fields: bool = False
    ) -> Suggestions:
        """Return what a query may become: its misspelt words put right, and its last word completed in up to `k` ways.

        Words are those of the documents that a search with this filter may find, and of no others: of 20,000 of them
        where they are more. They are counted at the first call for a state of the collection, which may take seconds.

        Raises:
            QueryError: the query or `k` is out of bounds. FilterSyntaxError, UnknownFieldError: as for `search`.
        """
        request = SearchRequest(query, k=k, filter=filter)
        return self._reader.suggest(query, request.k, filter, allow_unknown_fields=allow_unknown_fields)

    def note(self, name: str) -> str | None:
        """Return the text that `Collection.keep_note` has kept under a name, or None."""
        with self._connections.reading() as connection:
            return read_note(connection, name)

    def prepare_filter(self, filter: str) -> None:
        """Find the documents that pass a filter now, so that a search with it that comes next need not.

        Raises:
            FilterSyntaxError: the filter does not parse. DeadlineError: the time for it is over.
        """
        self._reader.prepare_filter(filter)

    def is_prepared(self, filter: str) -> bool:
        """Return whether it is known which documents pass a filter."""
        return self._reader.is_prepared(filter)

    @property
    def dense_queries(self) -> str:
        """What makes the dense vectors of queries: "table" where the collection keeps one, otherwise "model"."""
        return "model" if self._encoders.static_queries is None else "table"

    def ask_dense_by(self, which: str) -> None:
        """Let this object's searches make the dense vectors of queries by the "table" or by the "model".

        Raises:
            QueryError: the collection keeps no table, or `which` is something else.
        """
        self._encoders.choose_dense_queries(which)

    @property
    def fusion(self) -> Fusion:
        """How hybrid searches that name no fusion are fused."""
        return self.snapshot().fusion or Fusion()

    @property
    def reranker(self) -> Rerank | None:
        """The reranking of searches that name none; see `Collection.keep_reranker`."""
        latest = None if self._reader.follows_writes else self._reader.latest
        return (latest or self.snapshot()).rerank

    @property
    def synonyms(self) -> tuple[str, ...]:
        """The rules of synonyms that queries of BM25 follow, as they were written; see `Collection.keep_synonyms`."""
        synonyms = self.snapshot().synonyms
        return () if synonyms is None else tuple(rule.text for rule in synonyms.rules)

    def fusion_candidates(self, queries: Sequence[str], depth: int) -> Iterator[tuple[list[str], list[FieldScores]]]:
        """Yield each query's candidates, `depth` a side: their ids, and their scores in both fields, for `fusion.fuse`.

        Raises:
            QueryError: a query is out of bounds, or the collection has no dense vectors. EncoderError: as for `search`.
        """
        request = BatchRequest(queries, mode="hybrid")
        return fusion_candidates(self._reader.searchable(), self._encoders.of_queries(request), request, depth)

    def encode_queries(self, queries: Sequence[str]) -> list[Query]:
        """Return query vectors as the index takes them, one a text."""
        vectors = self.sparse_field.queries(queries, self.statistics())
        return [Query.from_weights(terms, weights) for terms, weights in vectors]

    def statistics(self) -> RowStatistics:
        """Return how many rows the index has, one a document or one a passage of it, and how many hold each term."""
        return self.snapshot().statistics

    def stored_state(self) -> dict[str, Any]:
        """Return what changes with every write, as JSON can hold it: equal states answer every search alike."""
        database = (self.path / DATABASE).stat()
        return {
            "kept_fusion": None if self.manifest.dense is None else asdict(self.fusion),
            "generation": self.snapshot().generation,
            "documents": self.count(),
            "database": [database.st_size, database.st_mtime_ns],
        }

    def spans(self, text: str) -> list[Span]:
        """Return (start, end, term id) of the words of a text that count for a term of the collection, for marking."""
        return self.sparse_field.spans(text)

    def highlights(self, text: str, terms: frozenset[int]) -> list[Span]:
        """Return those of `spans(text)` that count for one of `terms` (of a result, say); quick for many texts."""
        return self.sparse_field.highlights(text, terms)

    def warm(self) -> None:
        """Compile the search kernels, or load them from the cache, and load the dense model, before a query needs them.

        A dense model that cannot be loaded is left to the searches that need it. Postings are read into the system's
        cache by a thread in the background, as many as half of the memory holds.
        """
        warm()
        snapshot = self.snapshot()
        indexes = [view.segment.index for view in snapshot.segments]
        Thread(target=read_ahead, args=(indexes,), name="read-ahead", daemon=True).start()
        if snapshot.rerank is not None:
            with suppress(EncoderError, MissingExtraError):
                open_cross_encoder(snapshot.rerank.model)
        dense = self._encoders.dense_queries
        if dense is not None:
            with suppress(EncoderError, MissingExtraError):
                rank_dense(snapshot, dense.query(WARMING), 1, [view.live for view in snapshot.segments])

    # Condition

    def info(self) -> CollectionInfo:
        """Return counts, sizes, encoder and quantisation loss.

        Raises:
            CollectionGoneError: the collection is no longer at its path.
        """
        try:
            snapshot = self.snapshot()
        except CorruptCollectionError:
            latest = self._reader.latest
            if latest is None:
                raise
            snapshot = latest  # its figures are whole, and `damage` tells the rest
        try:
            return describe(self.path, self.manifest, self.sparse_field, snapshot, self.damage)
        except (FileNotFoundError, NotACollectionError):
            self.check_place()
            raise

    def check_place(self) -> None:
        """Be sure that the collection is still at its path.

        Raises:
            CollectionGoneError: it was removed, or another one is there.
        """
        check_identity(self.path, self._connections.identity)

    def health(self) -> Health:
        """Return whether it can be searched now; damage that is known by which no search is wrong is told, too."""
        try:
            self._reader.searchable()
        except (CollectionError, StorageError) as error:
            return Health(False, made_by(), str(error))
        damage = self.damage
        return Health(True, made_by(), f"{damage[0].where}: {damage[0].message}" if damage else "")

    def check_in_background(self) -> None:
        """Read everything once in a thread of its own, and later what is new, and compare it with its checksums.

        What it finds is in `damage`: searches that could be wrong by it raise CorruptCollectionError from then on.
        """
        self._reader.check_in_background()

    @property
    def checked(self) -> bool:
        """Whether `check_in_background` has read everything that was there when it began."""
        return self._reader.checked

    @property
    def damage(self) -> tuple[Problem, ...]:
        """What is known to be damaged; `verify` finds all of it."""
        return self._reader.damage

    def verify(self, progress: OnStep | None = None) -> list[Problem]:
        """Read every file and check it against its checksum and the database; an empty list means all is well.

        `progress` is told of the stages (`core.progress`).
        """
        return verify(self.path, self.snapshot(hold=True), self.sparse_field.name, self._encoders.width, progress)
