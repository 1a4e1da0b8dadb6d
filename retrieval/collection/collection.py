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

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack

from lexhound.core.errors import CollectionGoneError, ReadOnlyError
from lexhound.core.lock import WriterLock
from lexhound.core.progress import OnStep
from lexhound.encoders.bm25.vocabulary import MemoryVocabulary
from lexhound.encoders.rerank.cross_encoder import open_cross_encoder
from lexhound.retrieval.aliases import resolve_alias
from lexhound.retrieval.collection.fields.dense_field import DenseField
from lexhound.retrieval.collection.fields.opening import load_field
from lexhound.retrieval.collection.fields.sparse_field import SparseField
from lexhound.retrieval.collection.fields.static_queries import drop_table
from lexhound.retrieval.collection.query.stored_fusion import write_fusion
from lexhound.retrieval.collection.request import Fusion
from lexhound.retrieval.collection.store.manifest import Manifest, read_manifest
from lexhound.retrieval.collection.store.notes import write_note
from lexhound.retrieval.collection.store.schema import Identity, find_identity
from lexhound.retrieval.corpus.given import DocumentLike, documents_of, ids_of
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.tenants.keys import count_tenants, keyed_all, no_tenants, tenant_required

from .creation import create_directory
from .encoders import LoadedEncoders
from .readable import ReadableCollection
from .recovery import recover
from .settings import CollectionSettings, SettingsKeywords

if TYPE_CHECKING:
    from lexhound.encoders.dense.static_queries import StaticQueryFacts
    from lexhound.encoders.sparse.settings import LearnedSettings
    from lexhound.retrieval.collection.reranking.options import Rerank
    from lexhound.retrieval.collection.write.compaction import CompactReport
    from lexhound.retrieval.collection.write.ingest import IngestReport
    from lexhound.retrieval.collection.write.progress import Progress
    from lexhound.retrieval.collection.write.writer import AddReport, Status, Writer
    from lexhound.retrieval.corpus import BadRow, Corpus
    from lexhound.retrieval.tenants.view import TenantCollection

# Another collection may take the place of the one that is being opened; so often in a row it does not.
_TRIES = 5


class Collection(ReadableCollection):
    """An open collection; make one with `create` or `open`, and close it or use it as a context manager."""

    def __init__(
        self,
        directory: Path,
        manifest: Manifest,
        lock: WriterLock | None,
        loaded: LoadedEncoders,
        identity: Identity | None,
    ) -> None:
        """Internal: use `create` or `open`."""
        super().__init__(directory, manifest, loaded, identity, writable=lock is not None)
        self._lock = lock
        self._writer: Writer | None = None
        if lock is not None:
            from .writing import open_writer  # what a search needs none of is loaded by those who write

            self._writer = open_writer(directory, self._connections.identity, manifest, self._encoders, lock)

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
        chosen = CollectionSettings.of(settings, keywords)
        loaded = create_directory(directory, chosen, load_model=load_model, claimed=claimed)
        return cls._open(directory, loaded, writable=True)

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
        """Open a collection, for reading unless `writable` is set; `path` may be that of an alias of its folder.

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
        directory = resolve_alias(Path(path))
        loaded = LoadedEncoders()
        if like is not None:
            loaded = like._encoders.shared_with(read_manifest(directory))
        if loaded.sparse is None and learned is not None:
            encoder = read_manifest(directory).encoder
            loaded = loaded._replace(sparse=load_field(encoder, MemoryVocabulary(), learned=learned))
        opened = cls._open(directory, loaded, writable=writable)
        if check:
            opened.check_in_background()
        return opened

    @classmethod
    def _open(cls, directory: Path, loaded: LoadedEncoders, *, writable: bool) -> Collection:
        recover(directory)
        for attempt in range(_TRIES):
            # First which database is meant, then all that is read: if another takes its place meanwhile, we see it.
            identity = find_identity(directory)
            manifest = read_manifest(directory)
            lock = WriterLock(directory) if writable else None
            try:
                return cls(directory, manifest, lock, loaded, identity)
            except BaseException as error:
                if lock is not None:
                    lock.release()
                if not isinstance(error, CollectionGoneError) or attempt == _TRIES - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        """Give back files and locks; documents that wait for a segment get one if they are many."""
        self._close_reading()
        writer, self._writer = self._writer, None
        if writer is not None:
            from .writing import close_writer

            try:
                close_writer(self.path, writer)
            finally:
                if self._lock is not None:
                    self._lock.release()
                    self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def adopt(self, sparse: SparseField | None, dense: DenseField | None = None) -> None:
        """Internal: go on with encoders of the same vectors that are loaded already, and run as their settings say."""
        self._encoders.adopt(LoadedEncoders(sparse, dense))
        if self._writer is not None:
            self._writer.sparse_field = sparse or self._writer.sparse_field
            self._writer.dense = self._encoders.dense

    def for_tenant(self, tenant: str, *, must_exist: bool = True) -> TenantCollection:
        """Return the collection as one tenant sees it: all it reads, counts and writes is the tenant's own.

        Args:
            must_exist: refuse questions about a tenant of whom there is no document (UnknownTenantError), which is
                surely a misspelt name, unless someone else vouches for it.

        Raises:
            TenantError: the collection has no tenants, or this is no name of one.
        """
        from lexhound.retrieval.tenants.view import TenantCollection

        return TenantCollection(self, tenant, must_exist=must_exist)

    def tenants(self) -> list[tuple[str, int]]:
        """Return the tenants of all visible documents and how many each has, by name; a scan of all ids.

        Raises:
            TenantError: the collection has no tenants.
        """
        if self.manifest.tenant_field is None:
            raise no_tenants()
        with self.snapshot().reading() as connection:
            return count_tenants(connection)

    # Writing

    def _keyed(self, documents: Iterable[DocumentLike]) -> Iterator[Document]:
        given = documents_of(documents)
        field = self.manifest.tenant_field
        return given if field is None else keyed_all(given, field)

    def add(self, documents: Iterable[DocumentLike]) -> AddReport:
        """Insert documents, or replace those with the same id; durable and visible when it returns.

        A mapping stands for a document as a line of JSON Lines does: an id, a text, perhaps a title; all else is
        metadata. Large inputs are written in chunks, each acknowledged by itself; where one id occurs twice, the later
        document stays.

        Raises:
            InvalidDocumentError: one is no document; `where` says which. Earlier chunks stay.
            ReadOnlyError: the collection is open for reading.
            StorageFullError: the disk is full; earlier chunks stay.
        """
        return self._writing().add(self._keyed(documents))

    def put(self, documents: Sequence[DocumentLike]) -> list[Status]:
        """Insert or replace documents in one transaction; returns what became of each, as if added one by one.

        Durable and visible when it returns; meant for moderate numbers, which it holds in memory and encodes together.

        Raises:
            InvalidDocumentError, ReadOnlyError, StorageFullError: as for `add`; nothing of this call is stored then.
        """
        return self._writing().put(list(self._keyed(documents)))

    def encode_ahead(self, document: Document) -> Iterator[None]:
        """Do what a long document asks for in steps, each a short transaction; `put` it then.

        For writers that others wait for: they can write between the steps. Readers see nothing of it.

        Raises:
            ReadOnlyError, StorageFullError: as for `add`.
        """
        (document,) = self._keyed([document])
        return self._writing().encode_ahead(document)

    def check(self, documents: Sequence[Document]) -> None:
        """Refuse documents that name no tenant where the collection has tenants (InvalidDocumentError); else none.

        Other engines may refuse some (`engines.protocol`).
        """
        for _ in self._keyed(documents):
            pass

    def delete(self, ids: Sequence[str]) -> list[str]:
        """Delete documents; returns the ids that were there. Durable and visible when it returns."""
        if self.manifest.tenant_field is not None:
            raise tenant_required(self.manifest.tenant_field)
        return self._writing().delete(ids_of(ids))

    def ingest(
        self,
        corpus: Corpus,
        *,
        source: str,
        on_bad_row: Callable[[BadRow], None] | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> IngestReport:
        """Add a whole corpus as one ingest job: all of it becomes visible at the end, and an interrupted job can go on.

        See `collection.write.ingest.ingest`.
        """
        from lexhound.retrieval.collection.write.ingest import ingest

        return ingest(self._writing(), corpus, source=source, on_bad_row=on_bad_row, progress=progress)

    def discard_unfinished(self) -> int:
        """Drop what an unfinished ingest job holds; returns how many documents that was."""
        from lexhound.retrieval.collection.write.ingest_jobs import discard_job

        return discard_job(self._writing())

    def compact(self, progress: OnStep | None = None) -> CompactReport:
        """Merge all segments into one without deleted rows and refresh the lexical statistics.

        `progress` is told of the stages (`core.progress`); what it raises leaves the collection as it was.
        """
        from lexhound.retrieval.collection.write.compaction import compact

        return compact(self._writing(), progress)

    def maintain(self, documents: int | None = None) -> bool:
        """Turn waiting documents into a segment if there are so many, and merge small segments that have piled up.

        Meant to be called now and then by whoever keeps a collection open for writing; writes in other threads go on
        while segments are merged. Returns whether there was anything to do.
        """
        from lexhound.retrieval.collection.write.compaction import maintain
        from lexhound.retrieval.collection.write.writer import FIRST_SEGMENT

        return maintain(self._writing(), FIRST_SEGMENT if documents is None else documents)

    def _writing(self) -> Writer:
        if self._writer is None:
            raise ReadOnlyError(
                "the collection is open for reading", where=str(self.path), hint="open it with writable=True"
            )
        return self._writer

    # Settings of hybrid searches

    def fit_static_queries(self, documents: int | None = None, progress: OnStep | None = None) -> StaticQueryFacts:
        """Make a table of tokens from the documents' vectors and keep it: searches need no dense model from then on.

        Collections that are open already go on with the model; see docs/hybrid.md for what a table costs.

        Args:
            documents: how many it is fitted to, at most; `static_query_fitting.DOCUMENTS` unless given.
            progress: told of the stages (`core.progress`).

        Raises:
            QueryError: the collection has no dense vectors, or too few documents. EncoderError: the model's tokenizer
            cannot be read, or its vectors are not of unit length. ReadOnlyError: it was opened for reading.
        """
        from .static_query_fitting import fit_and_keep

        self._writing()
        fields = self.sparse_field, self._encoders.require_dense("distil")
        table = fit_and_keep(self.path, self.snapshot(hold=True), fields, documents, progress)
        self._encoders.reopen_static_queries()
        return table.facts

    def drop_static_queries(self) -> bool:
        """Remove the table of dense queries: searches take the model again. Returns whether there was one."""
        self._writing()
        self._encoders.static_queries = None
        return drop_table(self.path)

    def keep_fusion(self, fusion: Fusion | None) -> None:
        """Make a fusion the collection's own, for all later hybrid searches that name none; None for the usual one.

        Raises:
            QueryError: the collection has no dense vectors. ReadOnlyError: it was opened for reading.
        """
        self._encoders.require_dense("fuse")
        with self._writing().transaction() as connection:
            write_fusion(connection, fusion)

    def keep_synonyms(self, rules: Iterable[str]) -> None:
        """Make rules of synonyms the collection's own, in the place of those that it had; none for no synonyms.

        Args:
            rules: such as `car, automobile` (each stands for the other) and `tv => television` (one way).

        Raises:
            QueryError: one is no rule, or the collection's encoder is learned.
            ReadOnlyError: it was opened for reading.
        """
        from .synonyms.rules import rules_for, write_rules

        with self._writing().transaction() as connection:
            write_rules(connection, rules_for(rules, lexical=self.sparse_field.frequencies))

    def keep_reranker(self, rerank: Rerank | None) -> None:
        """Make a reranking the collection's own, for all later searches that name none; None for none.

        Raises:
            EncoderError, MissingExtraError: the model cannot be loaded. ReadOnlyError: it was opened for reading.
            QueryError: it is late interaction, and the collection keeps no vectors of tokens.
        """
        from .reranking.stored import write_rerank

        if rerank is not None and rerank.is_late:
            self._encoders.require_late()
        elif rerank is not None:
            # Named by its path, so that it is found wherever searches are asked for.
            rerank = replace(rerank, model=open_cross_encoder(rerank.model).name)
        with self._writing().transaction() as connection:
            write_rerank(connection, rerank)

    def keep_note(self, name: str, text: str | None) -> None:
        """Keep a text with the collection under a name, for a program of your own; None drops it (`note` reads it).

        Raises:
            QueryError: it is longer than 1 MiB, or its name is none. ReadOnlyError: it was opened for reading.
        """
        with self._writing().transaction() as connection:
            write_note(connection, name, text)
