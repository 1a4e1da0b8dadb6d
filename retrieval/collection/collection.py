"""A collection: documents, their encoder and their index, kept together in one directory.

    >>> with Collection.create("my.index") as collection:
    ...     collection.add([Document("1", "heat transfer in hypersonic flow")])
    ...     collection.search("hypersonic heating").hits[0].id
    '1'

One process writes at a time, any number read. A collection that was opened for reading finds the documents that it saw
until `refresh`; when one that it is to return has been deleted or replaced meanwhile, it moves on to the newest state
by itself. A writer sees its own writes at once. All methods may be called from several threads.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from threading import RLock, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar, Unpack

from lexhound.core.atomic_files import make_directories, neighbour, publish_directory
from lexhound.core.disk_errors import storage_errors
from lexhound.core.errors import CollectionGoneError, MissingExtraError, ReadOnlyError, StorageError
from lexhound.core.lock import Claim, WriterLock
from lexhound.encoders.bm25.vocabulary import MemoryVocabulary
from lexhound.encoders.errors import EncoderError
from lexhound.index.inverted.index import read_ahead, warm
from lexhound.index.inverted.quantization import Query
from lexhound.retrieval.collection.fields.dense_field import WARMING, DenseField
from lexhound.retrieval.collection.fields.opening import VERSION, load_field, open_named
from lexhound.retrieval.collection.fields.sparse_field import SparseField
from lexhound.retrieval.collection.fields.static_queries import TableQueries, drop_table, has_table, keep_table
from lexhound.retrieval.collection.query import hybrid
from lexhound.retrieval.collection.query import row_filter as passing
from lexhound.retrieval.collection.query.documents import read_ids, read_latest
from lexhound.retrieval.collection.query.encoding import QueryEncoders
from lexhound.retrieval.collection.query.facets import find_facets
from lexhound.retrieval.collection.query.fusion import FieldScores
from lexhound.retrieval.collection.query.search import answer, answer_many
from lexhound.retrieval.collection.query.snapshot import SegmentCache, Snapshot, generation_of, take_snapshot
from lexhound.retrieval.collection.query.stored_fusion import write_fusion
from lexhound.retrieval.collection.request import BatchKeywords, BatchRequest, Fusion, SearchKeywords, SearchRequest
from lexhound.retrieval.collection.result import Facet, RankedIds, SearchResult
from lexhound.retrieval.collection.store.connections import Connections
from lexhound.retrieval.collection.store.dense_index import check_policy
from lexhound.retrieval.collection.store.manifest import (
    MANIFEST,
    DenseManifest,
    Manifest,
    read_manifest,
    write_manifest,
)
from lexhound.retrieval.collection.store.schema import (
    DATABASE,
    Identity,
    check_identity,
    connect,
    create_database,
    find_identity,
    keep_log,
)
from lexhound.retrieval.collection.store.segment import read_through, sweep, told_as_damage
from lexhound.retrieval.collection.store.table_checksum import check_tables
from lexhound.retrieval.collection.store.vocabulary import SqliteVocabulary
from lexhound.retrieval.collection.store.wal import WAIT_SECONDS
from lexhound.retrieval.collection.write import compaction, ingest
from lexhound.retrieval.collection.write.ingest_jobs import discard_job
from lexhound.retrieval.collection.write.writer import FIRST_SEGMENT, SMALLEST_SEGMENT, AddReport, Status, Writer
from lexhound.retrieval.corpus import BadRow, Corpus
from lexhound.retrieval.deadline import interrupting
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.errors import (
    CollectionError,
    CollectionExistsError,
    CorruptCollectionError,
    NotACollectionError,
    QueryError,
    StaleSnapshotError,
)

from . import verification
from .background_check import Checker, Damage
from .health import ENGINE, Health
from .info import CollectionInfo, describe
from .recovery import recover
from .settings import CollectionSettings, SettingsKeywords
from .static_query_fitting import DOCUMENTS, distil

if TYPE_CHECKING:
    from lexhound.encoders.base import Span
    from lexhound.encoders.dense.static_queries import StaticQueryFacts
    from lexhound.encoders.sparse.settings import LearnedSettings

T = TypeVar("T")

# Another collection may take the place of the one that is being opened; so often in a row it does not.
_TRIES = 5


class Collection:
    """An open collection; make one with `create` or `open`, and close it or use it as a context manager."""

    def __init__(
        self,
        directory: Path,
        manifest: Manifest,
        lock: WriterLock | None,
        like: SparseField | None = None,
        dense: DenseField | None = None,
        identity: Identity | None = None,
    ) -> None:
        """Internal: use `create` or `open`."""
        self.path = directory
        self.manifest = manifest
        self._writer_lock = lock
        # Refreshing may index what is new, so it has a lock of its own: searches keep the old snapshot meanwhile.
        # Where both are held, `_refreshing` was taken first.
        self._refreshing = RLock()
        self._lock = RLock()
        self._segments = SegmentCache()
        self._snapshot: Snapshot | None = None
        self._connections = Connections(directory, identity)
        self._reader = self._connections.take()  # the vocabulary's, under its lock
        self._watch = self._connections.take()  # tells under `_refreshing` whether anything has changed
        self._sparse_field: SparseField = load_field(manifest.encoder, SqliteVocabulary(self._reader), like=like)
        self._dense = dense
        if manifest.dense is not None and dense is None:
            self._dense = DenseField(manifest.dense.encoder, manifest.dense.width)
        self._table = self._kept_table()
        self._damage = Damage()
        self._ids_whole = False
        self._checker: Checker | None = None
        self._writer: Writer | None = None
        if lock is not None:
            connection = connect(directory, writable=True, identity=self._connections.identity)
            check_tables(connection)
            sparse_field = load_field(manifest.encoder, SqliteVocabulary(connection), like=self._sparse_field)
            policy = "flat" if manifest.dense is None else manifest.dense.index
            self._writer = Writer(directory, connection, RLock(), sparse_field, self._dense, policy, lock.check)
            sweep(directory, {name for (name,) in connection.execute("SELECT name FROM segments")})

    @classmethod
    def create(
        cls,
        path: str | Path,
        settings: CollectionSettings | None = None,
        *,
        load_model: bool = True,
        claimed: bool = False,
        **keywords: Unpack[SettingsKeywords],
    ) -> Collection:
        """Make an empty collection and open it for writing.

        Args:
            settings: of the encoders and the dense index; `keywords` are their attributes (`CollectionSettings`).
            load_model: load a checkpoint's document encoder now, to be sure that it can be; documents that bring their
                vectors do not need it.
            claimed: whether the caller has the claim to `path` (`lock.Claim`).

        Raises:
            CollectionExistsError: something is at `path` already.
            DenseIndexError: `dense_index` is unknown, or `spann` and faiss is not installed.
            EncoderError: the encoder cannot be loaded.
            CollectionLockedError: another run is making something at `path`.
            ReadOnlyError, StorageFullError: the directory cannot be made.
        """
        directory = Path(path)
        settings = CollectionSettings.of(settings, keywords)
        check_policy(settings.dense_index)
        recover(directory)
        if os.path.lexists(directory):
            raise _exists(directory)
        identity, loaded = open_named(settings.encoder, settings.lexical, settings.learned, load_model=load_model)
        side = None if settings.dense is None else DenseField.named(settings.dense, settings.dense_settings)
        vectors = None if side is None else DenseManifest(side.identity, side.width, settings.dense_index)
        with nullcontext() if claimed else Claim(directory), storage_errors(directory):
            # Made aside and renamed, so that a crash leaves a whole collection or none.
            make_directories(directory.resolve().parent)
            aside = neighbour(directory, "creating")
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir()
            try:
                create_database(aside, dense=side is not None)
                write_manifest(aside, Manifest.new(f"lexhound {VERSION}", identity, vectors))
                publish_directory(aside, directory)
            except FileExistsError as error:
                raise _exists(directory) from error
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        return cls._open(directory, loaded, side, writable=True)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        writable: bool = False,
        like: Collection | None = None,
        learned: LearnedSettings | None = None,
        check: bool = False,
    ) -> Collection:
        """Open a collection, for reading unless `writable` is set.

        Args:
            like: the same collection, open already; a model that it has loaded is shared.
            learned: how a learned encoder runs: of these settings only those that change no vectors count (device,
                precision, batches, trust), for this object alone.
            check: read everything once in the background and compare it with its checksums; see `damage`.

        Raises:
            NotACollectionError, NewerFormatError, CorruptCollectionError: what is at `path` cannot be opened.
            CollectionLockedError: `writable` is set and another process writes.
            EncoderError: the collection's encoder cannot be loaded.
        """
        directory = Path(path)
        shared = None
        dense = None
        if like is not None:
            manifest = read_manifest(directory)
            shared = like._sparse_field if like.manifest.encoder == manifest.encoder else None
            dense = like._dense if like.manifest.dense == manifest.dense else None
        if shared is None and learned is not None:
            shared = load_field(read_manifest(directory).encoder, MemoryVocabulary(), learned=learned)
        opened = cls._open(directory, shared, dense, writable=writable)
        if check:
            opened.check_in_background()
        return opened

    @classmethod
    def _open(
        cls, directory: Path, shared: SparseField | None, dense: DenseField | None, *, writable: bool
    ) -> Collection:
        recover(directory)
        for attempt in range(_TRIES):
            # First which database is meant, then all that is read: if another takes its place meanwhile, we see it.
            identity = find_identity(directory)
            manifest = read_manifest(directory)
            lock = WriterLock(directory) if writable else None
            try:
                return cls(directory, manifest, lock, shared, dense, identity)
            except BaseException as error:
                if lock is not None:
                    lock.release()
                if not isinstance(error, CollectionGoneError) or attempt == _TRIES - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        """Give back files and locks; documents that wait for a segment get one if they are many."""
        if self._checker is not None:
            self._checker.close()
            self._checker = None
        with self._refreshing, self._lock:
            self._snapshot = None
            self._segments = SegmentCache()
            self._reader.close()
            self._watch.close()
            self._connections.close()
            if self._writer is not None:
                try:
                    if self._writer.waiting_documents(0) >= SMALLEST_SEGMENT:
                        self._writer.flush()
                    self._writer.log.cut(WAIT_SECONDS)
                finally:
                    self._writer.connection.close()
                    self._writer = None
                    keep_log(self.path)
                    if self._writer_lock is not None:
                        self._writer_lock.release()
                        self._writer_lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def adopt(self, sparse_field: SparseField | None, dense: DenseField | None = None) -> None:
        """Internal: go on with encoders of the same vectors that are loaded already, and run as their settings say."""
        if sparse_field is not None:
            self._sparse_field = sparse_field
        if dense is not None:
            self._dense = dense
        if self._writer is not None:
            self._writer.sparse_field = sparse_field or self._writer.sparse_field
            self._writer.dense = self._dense

    # Writing

    def add(self, documents: Iterable[Document]) -> AddReport:
        """Insert documents, or replace those with the same id; durable and visible when it returns.

        Large inputs are written in chunks, each acknowledged by itself; where one id occurs twice, the later document
        stays.

        Raises:
            ReadOnlyError: the collection is open for reading.
            StorageFullError: the disk is full; earlier chunks stay.
        """
        return self._writing().add(documents)

    def put(self, documents: Sequence[Document]) -> list[Status]:
        """Insert or replace documents in one transaction; returns what became of each, as if added one by one.

        Durable and visible when it returns; meant for moderate numbers, which it holds in memory and encodes together.

        Raises:
            ReadOnlyError, StorageFullError: as for `add`; nothing of this call is stored then.
        """
        return self._writing().put(documents)

    def encode_ahead(self, document: Document) -> Iterator[None]:
        """Do what a long document asks for in steps, each a short transaction; `put` it then.

        For writers that others wait for: they can write between the steps. Readers see nothing of it.

        Raises:
            ReadOnlyError, StorageFullError: as for `add`.
        """
        return self._writing().encode_ahead(document)

    def check(self, documents: Sequence[Document]) -> None:
        """Every document fits; other engines may refuse some (`backends.protocol`)."""

    def delete(self, ids: Sequence[str]) -> list[str]:
        """Delete documents; returns the ids that were there. Durable and visible when it returns."""
        return self._writing().delete(ids)

    def ingest(
        self,
        corpus: Corpus,
        *,
        source: str,
        on_bad_row: Callable[[BadRow], None] | None = None,
        progress: Callable[[ingest.Progress], None] | None = None,
    ) -> ingest.IngestReport:
        """Add a whole corpus as one ingest job: all of it becomes visible at the end, and an interrupted job can go on.

        See `collection.write.ingest.ingest`.
        """
        return ingest.ingest(self._writing(), corpus, source=source, on_bad_row=on_bad_row, progress=progress)

    def discard_unfinished(self) -> int:
        """Drop what an unfinished ingest job holds; returns how many documents that was."""
        return discard_job(self._writing())

    def compact(self) -> compaction.CompactReport:
        """Merge all segments into one without deleted rows and refresh the lexical statistics."""
        return compaction.compact(self._writing())

    def maintain(self, documents: int = FIRST_SEGMENT) -> bool:
        """Turn waiting documents into a segment if there are so many, and merge small segments that have piled up.

        Meant to be called now and then by whoever keeps a collection open for writing; writes in other threads go on
        while segments are merged. Returns whether there was anything to do.
        """
        return compaction.maintain(self._writing(), documents)

    def _writing(self) -> Writer:
        if self._writer is None:
            raise ReadOnlyError(
                "the collection is open for reading", where=str(self.path), hint="open it with writable=True"
            )
        return self._writer

    # Reading

    def refresh(self) -> bool:
        """Move on to the newest committed state; returns whether anything had changed.

        Its cost is that of what is new. Searches in other threads go on with the state before.
        """
        with self._refreshing:
            before = self._snapshot
            if before is not None and before.generation == generation_of(self._watch):
                return False
            newest = take_snapshot(self._connections, self._sparse_field, self._segments, self._width)
            with self._lock:
                self._snapshot = newest
            if self._checker is not None:
                self._checker.look()
            return True

    def check_place(self) -> None:
        """Be sure that the collection is still at its path.

        Raises:
            CollectionGoneError: it was removed, or another one is there.
        """
        check_identity(self.path, self._connections.identity)

    @property
    def address(self) -> str:
        """Where it is, as a person writes it."""
        return str(self.path)

    @property
    def _width(self) -> int | None:
        return None if self._dense is None else self._dense.width

    @property
    def sparse_field(self) -> SparseField:
        """How texts become the vectors of the inverted index; for what reads those vectors back."""
        return self._sparse_field

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes that a search may ask for, beside `auto`."""
        return ("sparse",) if self._dense is None else ("sparse", "dense", "hybrid")

    def is_current(self) -> bool:
        """Whether reads see the newest committed state; one small read of the database."""
        with self._refreshing:
            return self._snapshot is not None and self._snapshot.generation == generation_of(self._watch)

    def snapshot(self, *, hold: bool = False) -> Snapshot:
        """The state that reads see; a writer's own follows its writes.

        With `hold`, the newest state, whose documents all stay readable for as long as there is a reference to it, and
        for as long SQLite's log grows with every write: for what reads everything, such as an export.
        """
        if hold:
            with self._refreshing:
                return take_snapshot(self._connections, self._sparse_field, self._segments, self._width, hold=True)
        if self._snapshot is None or self._writer is not None:
            self.refresh()
        with self._lock:
            if self._snapshot is None:
                raise ReadOnlyError("the collection is closed", where=str(self.path), hint="open it again")
            snapshot = self._snapshot
        for part in snapshot.parts:
            part.segment.check_sizes()
        return snapshot

    def _searched(self, *, hold: bool = False) -> Snapshot:
        """The same, for a search: it is refused where it might be wrong by damage that is known."""
        snapshot = self.snapshot(hold=hold)
        for part in snapshot.parts:
            part.segment.check_condition()
        for problem in self._damage.searches:
            raise CorruptCollectionError(
                f"damaged: {problem.message}",
                where=problem.where,
                hint="run `lexhound verify`; restore the collection from a backup or index the corpus again",
            )
        return snapshot

    def check_in_background(self) -> None:
        """Read everything once in a thread of its own, and later what is new, and compare it with its checksums.

        What it finds is in `damage`: searches that could be wrong by it raise CorruptCollectionError from then on.
        """
        if self._checker is None:
            self.snapshot()
            self._checker = Checker(
                self.path,
                self._sparse_field.name,
                self._damage,
                lambda: self._snapshot,
            )

    @property
    def checked(self) -> bool:
        """Whether `check_in_background` has read everything that was there when it began."""
        return self._checker is not None and self._checker.done.is_set()

    @property
    def damage(self) -> tuple[verification.Problem, ...]:
        """What is known to be damaged; `verify` finds all of it."""
        with self._lock:
            snapshot = self._snapshot
        return () if snapshot is None else self._damage.of(snapshot)

    def warm(self) -> None:
        """Compile the search kernels, or load them from the cache, and load the dense model, before a query needs them.

        A dense model that cannot be loaded is left to the searches that need it. Postings are read into the system's
        cache by a thread in the background, as many as half of the memory holds.
        """
        warm()
        snapshot = self.snapshot()
        indexes = [part.segment.index for part in snapshot.parts]
        Thread(target=read_ahead, args=(indexes,), name="read-ahead", daemon=True).start()
        if self._dense is not None:
            with suppress(EncoderError, MissingExtraError):
                asked = self._table or self._dense
                hybrid.rank_dense(snapshot, asked.query(WARMING), 1, [part.live for part in snapshot.parts])

    def count(self, filter: str | None = None) -> int:
        """How many documents there are, or pass a filter expression.

        Raises:
            FilterSyntaxError: the filter does not parse.
        """
        if filter is None:
            return self.snapshot().n_documents
        return passing.count_passing(self._searched(), filter)

    def ids(self, filter: str) -> list[str]:
        """The ids of the documents that pass a filter expression, in order of insertion.

        Raises:
            FilterSyntaxError: the filter does not parse.
        """
        return self._reading(lambda snapshot: read_ids(snapshot, passing.seqs_passing(snapshot, filter).tolist()))

    def facets(self, fields: Sequence[str] | None = None, limit: int = 20) -> list[Facet]:
        """The most frequent values of metadata fields (all fields unless named), and the range of numbers.

        Raises:
            DeadlineError: the time for it is over. CorruptCollectionError: it could be wrong by damage that is known.
        """
        self._searched()
        with self._connections.reading() as connection, interrupting(connection):
            return find_facets(connection, fields, limit)

    def prepare_filter(self, filter: str) -> None:
        """Find the documents that pass a filter now, so that a search with it that comes next need not.

        Raises:
            FilterSyntaxError: the filter does not parse. DeadlineError: the time for it is over.
        """
        passing.rows_passing(self._searched(), filter)

    def is_prepared(self, filter: str) -> bool:
        """Whether it is known which documents pass a filter."""
        return passing.is_known(self.snapshot(), filter)

    def get(self, identifier: str, *, latest: bool = False) -> Document | None:
        """The document with this id as it is now, or None; unless `latest`, only one that searches see too.

        Raises:
            CorruptCollectionError: it is not what was written, or the index of ids is damaged.
        """
        exact = self._sparse_field.frequencies
        if latest:
            with self._connections.reading() as connection:
                document, seen = read_latest(connection, identifier, exact=exact), True
        else:
            snapshot = self.snapshot()
            with snapshot.reading() as connection:
                document = read_latest(connection, identifier, exact=exact)
                seen = generation_of(connection) == snapshot.generation
            seen = seen or snapshot.holds(identifier)
        if document is None:
            self._check_ids()
        return document if seen else None

    def _check_ids(self) -> None:
        """Before the first document is said not to be there: the index of ids leads to every row.

        Raises:
            CorruptCollectionError: it does not.
        """
        if self._ids_whole or self.checked:
            return
        with self._connections.reading() as connection:  # it takes about a second for a million rows
            problems = [message for (message,) in connection.execute("PRAGMA integrity_check(rows)") if message != "ok"]
        if problems:
            raise CorruptCollectionError(
                f"the index of ids is damaged: {problems[0]}",
                where=str(self.path / DATABASE),
                hint="restore the file from a backup or index the corpus again",
            )
        self._ids_whole = True

    def search(
        self,
        query: str | Mapping[str, float] | SearchRequest,
        k: int | None = None,
        **options: Unpack[SearchKeywords],
    ) -> SearchResult:
        """Return the best documents for a query; fewer than asked for where fewer match.

        Args:
            query: a text, the weights of terms, or a whole request.
            k: how many hits; 10 unless given.
            options: the other attributes of `SearchRequest`.

        Raises:
            QueryError: an option is out of bounds, or the collection does not have the mode; FilterSyntaxError: the
            filter does not parse. EncoderError: a model cannot be loaded.
        """
        request = SearchRequest.of(query, k, options)
        encoders = QueryEncoders.of(request, self._sparse_field, self._table or self._dense)
        return self._reading(lambda snapshot: answer(snapshot, encoders, request))

    def _reading(self, read: Callable[[Snapshot], T]) -> T:
        """What `read` makes of the state that reads see; of the newest one where documents of that are gone by now."""
        with told_as_damage(self.path):
            for _ in range(2):
                try:
                    return read(self._searched())
                except StaleSnapshotError:
                    self.refresh()
            return read(self._searched(hold=True))

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
        encoders = QueryEncoders.of(request, self._sparse_field, self._table or self._dense)
        return self._reading(lambda snapshot: answer_many(snapshot, encoders, request))

    def _kept_table(self) -> TableQueries | None:
        if self.manifest.dense is None or not has_table(self.path):
            return None
        return TableQueries(self.path, self.manifest.dense.encoder.fingerprint)

    @property
    def dense_queries(self) -> str:
        """What makes the dense vectors of queries: "table" where the collection keeps one, otherwise "model"."""
        return "model" if self._table is None else "table"

    def ask_dense_by(self, which: str) -> None:
        """Let this object's searches make the dense vectors of queries by the "table" or by the "model".

        Raises:
            QueryError: the collection keeps no table, or `which` is something else.
        """
        if which not in ("table", "model"):
            raise QueryError(f"dense queries by {which!r}", hint="it must be table or model")
        self._table = None if which == "model" else self._kept_table()
        if which == "table" and self._table is None:
            raise QueryError(
                "the collection keeps no table of dense queries",
                where=str(self.path),
                hint="make one with: lexhound fit-static-queries DIRECTORY",
            )

    def fit_static_queries(self, documents: int = DOCUMENTS) -> StaticQueryFacts:
        """Make a table of tokens from the documents' vectors and keep it: searches need no dense model from then on.

        Collections that are open already go on with the model; see docs/hybrid.md for what a table costs.

        Args:
            documents: how many it is fitted to, at most.

        Raises:
            QueryError: the collection has no dense vectors, or too few documents. EncoderError: the model's tokenizer
            cannot be read, or its vectors are not of unit length. ReadOnlyError: it was opened for reading.
        """
        self._writing()
        if self._dense is None:
            raise QueryError(
                "the collection has no dense vectors, so there is nothing to distil",
                hint="index the corpus again with --dense MODEL",
            )
        snapshot = self.snapshot(hold=True)
        for part in snapshot.parts:
            read_through(self.path, part.segment, self._sparse_field.name)
            part.segment.check_condition()
        table = distil(snapshot, self._dense, documents)
        keep_table(self.path, table)
        self._table = self._kept_table()
        return table.facts

    def drop_static_queries(self) -> bool:
        """Remove the table of dense queries: searches take the model again. Returns whether there was one."""
        self._writing()
        self._table = None
        return drop_table(self.path)

    @property
    def fusion(self) -> Fusion:
        """How hybrid searches that name no fusion are fused."""
        return self.snapshot().fusion or Fusion()

    def keep_fusion(self, fusion: Fusion | None) -> None:
        """Make a fusion the collection's own, for all later hybrid searches that name none; None for the usual one.

        Raises:
            QueryError: the collection has no dense vectors. ReadOnlyError: it was opened for reading.
        """
        if self._dense is None:
            raise QueryError(
                "the collection has no dense vectors, so there is nothing to fuse",
                hint="index the corpus again with --dense MODEL",
            )
        with self._writing().transaction() as connection:
            write_fusion(connection, fusion)

    def fusion_candidates(self, queries: Sequence[str], depth: int) -> Iterator[tuple[list[str], list[FieldScores]]]:
        """Each query's candidates, `depth` a side: their ids, and what both sides say of them, for `fusion.fuse`.

        Raises:
            QueryError: a query is out of bounds, or the collection has no dense vectors. EncoderError: as for `search`.
        """
        request = BatchRequest(queries, mode="hybrid")
        dense = QueryEncoders.of(request, self._sparse_field, self._table or self._dense).dense
        snapshot = self._searched()
        allowed = passing.rows_passing(snapshot, None)
        vectors = self._sparse_field.queries(queries, snapshot)
        near = dense.queries(queries) if dense is not None else ()
        for (terms, weights), vector in zip(vectors, near, strict=True):
            yield hybrid.candidate_scores(snapshot, Query.from_weights(terms, weights), vector, depth, allowed)

    def encode_queries(self, queries: Sequence[str]) -> list[Query]:
        """Query vectors as the index takes them, one a text."""
        vectors = self._sparse_field.queries(queries, self.snapshot())
        return [Query.from_weights(terms, weights) for terms, weights in vectors]

    def statistics(self) -> Snapshot:
        """How many documents there are, and how many hold each term."""
        return self.snapshot()

    def spans(self, text: str) -> list[Span]:
        """(start, end, term id) of the words of a text that count for a term of the collection, for marking."""
        return self._sparse_field.spans(text)

    def highlights(self, text: str, terms: frozenset[int]) -> list[Span]:
        """Those of `spans(text)` that count for one of `terms` (`SearchResult.terms`, say); quick for many texts."""
        return self._sparse_field.highlights(text, terms)

    def info(self) -> CollectionInfo:
        """Counts, sizes, encoder and quantisation loss.

        Raises:
            CollectionGoneError: the collection is no longer at its path.
        """
        try:
            snapshot = self.snapshot()
        except CorruptCollectionError:
            if self._snapshot is None:
                raise
            snapshot = self._snapshot  # its figures are whole, and `damage` tells the rest
        try:
            return describe(self.path, self.manifest, self._sparse_field, snapshot, self.damage)
        except (FileNotFoundError, NotACollectionError):
            self.check_place()
            raise

    def health(self) -> Health:
        """Whether it can be searched now; damage that is known by which no search is wrong is told, too."""
        try:
            self._searched()
        except (CollectionError, StorageError) as error:
            return Health(False, ENGINE, str(error))
        damage = self.damage
        return Health(True, ENGINE, f"{damage[0].where}: {damage[0].message}" if damage else "")

    def verify(self) -> list[verification.Problem]:
        """Read every file and check it against its checksum and the database; an empty list means all is well."""
        return verification.verify(self.path, self.snapshot(hold=True), self._sparse_field.name, self._width)


def _exists(directory: Path) -> CollectionExistsError:
    return CollectionExistsError(
        "a collection is here already" if (directory / MANIFEST).exists() else "something is here already",
        where=str(directory),
        hint="give another path, add to a collection with `lexhound add`, or replace it with --overwrite",
    )
