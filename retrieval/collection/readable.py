"""The reading half of an open collection: searching, looking up, figures and condition."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from lexhound.core.errors import MissingExtraError, StorageError
from lexhound.core.progress import OnStep
from lexhound.core.version import made_by
from lexhound.encoders.errors import EncoderError
from lexhound.encoders.rerank.cross_encoder import open_cross_encoder
from lexhound.index.warming import read_ahead, warm
from lexhound.retrieval.collection.fields.dense_field import WARMING
from lexhound.retrieval.collection.query.hybrid import rank_dense
from lexhound.retrieval.collection.query.searchable import Searchable
from lexhound.retrieval.collection.query.snapshot import RowStatistics, Snapshot
from lexhound.retrieval.collection.request import (
    Fusion,
)
from lexhound.retrieval.collection.reranking.options import Rerank
from lexhound.retrieval.collection.store.connections import Connections
from lexhound.retrieval.collection.store.manifest import Manifest
from lexhound.retrieval.collection.store.notes import read_note
from lexhound.retrieval.collection.store.schema import DATABASE, Identity, check_identity
from lexhound.retrieval.collection.store.vocabulary import SqliteVocabulary
from lexhound.retrieval.errors import CollectionError, CorruptCollectionError, NotACollectionError, QueryError
from lexhound.retrieval.tenants.keys import tenant_required

from .capability import ALL_CAPABILITIES, Capability
from .encoders import CollectionEncoders, LoadedEncoders
from .health import Health
from .info import CollectionInfo, describe
from .reader import CollectionReader
from .verification import Problem, verify

if TYPE_CHECKING:
    pass


class ReadableCollection(Searchable):
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
        tenants = manifest.tenant_field is not None
        self._reader = CollectionReader(
            directory, self._connections, self._encoders, follows_writes=writable, tenants=tenants
        )

    def _close_reading(self) -> None:
        self._reader.close()
        self._vocabulary.close()
        self._connections.close()

    @property
    def _asked(self) -> CollectionReader:
        if self.manifest.tenant_field is not None:
            raise tenant_required(self.manifest.tenant_field)
        return self._reader

    @property
    def address(self) -> str:
        """Where it is, as a person writes it."""
        return str(self.path)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can do beyond what every collection can (`engines.protocol`): all of it."""
        return ALL_CAPABILITIES

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

    def note(self, name: str) -> str | None:
        """Return the text that `Collection.keep_note` has kept under a name, or None."""
        with self._connections.reading() as connection:
            return read_note(connection, name)

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

    def statistics(self) -> RowStatistics:
        """Return how many rows the index has, one a document or one a passage of it, and how many hold each term."""
        return self.snapshot().statistics

    def stored_state(self) -> dict[str, Any]:
        """Return what changes with every write, as JSON can hold it: equal states answer every search alike."""
        database = (self.path / DATABASE).stat()
        return {
            "kept_fusion": None if self.manifest.dense is None else asdict(self.fusion),
            "generation": self.snapshot().generation,
            "documents": self.snapshot().n_documents,
            "database": [database.st_size, database.st_mtime_ns],
        }

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
            with suppress(EncoderError, MissingExtraError, QueryError):
                if snapshot.rerank.is_late:
                    self._encoders.require_late().query(WARMING)
                else:
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
