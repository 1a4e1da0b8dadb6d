"""What reads of an open collection see: its newest snapshot, and what is known to be damaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import RLock
from typing import TypeVar

import numpy as np

from lexhound.core.errors import ReadOnlyError
from lexhound.retrieval.collection.query.confined import ConfinedSnapshots
from lexhound.retrieval.collection.query.documents import read_ids, read_latest
from lexhound.retrieval.collection.query.facets import count_facets, find_facets
from lexhound.retrieval.collection.query.pending import StoredForm
from lexhound.retrieval.collection.query.row_filter import (
    Masks,
    count_passing,
    internal_ids_passing,
    is_known,
    rows_passing,
)
from lexhound.retrieval.collection.query.search import best_rows, matching_rows
from lexhound.retrieval.collection.query.snapshot import SegmentCache, Snapshot, generation_of, take_snapshot
from lexhound.retrieval.collection.request import SearchRequest
from lexhound.retrieval.collection.result import Facet, Suggestions
from lexhound.retrieval.collection.store.connections import Connections
from lexhound.retrieval.collection.store.schema import DATABASE
from lexhound.retrieval.collection.store.segment import damage_errors
from lexhound.retrieval.collection.words.suggestions import suggest
from lexhound.retrieval.collection.words.word_table import WordTables
from lexhound.retrieval.deadline import interrupting
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.errors import CorruptCollectionError, StaleSnapshotError
from lexhound.retrieval.filters.column import OWN_FIELDS
from lexhound.retrieval.tenants.keys import end_of, plain, prefix_of

from .background_check import Checker, Damage
from .encoders import CollectionEncoders
from .verification import Problem

T = TypeVar("T")


class CollectionReader:
    """The reading side of an open collection. Safe to call from several threads.

    Attributes:
        follows_writes: whether every read sees the newest committed state, as a writer's own reads do.
        latest: the snapshot that reads saw last, None before the first.
    """

    def __init__(
        self,
        directory: Path,
        connections: Connections,
        encoders: CollectionEncoders,
        *,
        follows_writes: bool,
        tenants: bool = False,
    ) -> None:
        """Open it; `tenants`: whether segments are sorted by tenant."""
        self._tenants = tenants
        self._directory = directory
        self._connections = connections
        self._encoders = encoders
        self.follows_writes = follows_writes
        # Refreshing may index what is new, so it has a lock of its own: searches keep the old snapshot meanwhile.
        # Where both are held, `_refreshing` was taken first.
        self._refreshing = RLock()
        self._lock = RLock()
        self._segments = SegmentCache()
        self.latest: Snapshot | None = None
        self._watch = connections.take()  # tells under `_refreshing` whether anything has changed
        self._words = WordTables()
        self._damage = Damage()
        self._ids_checked = False
        self._checker: Checker | None = None
        self._confined = ConfinedSnapshots()

    def confined(self, tenant: str) -> ConfinedReader:
        """Return what reads nothing but the documents of one tenant."""
        return ConfinedReader(self, tenant)

    def confined_snapshot(self, whole: Snapshot, prefix: str) -> Snapshot:
        """Return what a snapshot has of one tenant."""
        return self._confined.of(whole, prefix)

    def close(self) -> None:
        """Give back the snapshot and its segments."""
        if self._checker is not None:
            self._checker.close()
            self._checker = None
        with self._refreshing, self._lock:
            self.latest = None
            self._segments = SegmentCache()
            self._confined = ConfinedSnapshots()
            self._watch.close()

    # States

    def refresh(self) -> bool:
        """Move on to the newest committed state; see `Collection.refresh`."""
        with self._refreshing:
            before = self.latest
            if before is not None and before.generation == generation_of(self._watch):
                return False
            newest = self._take(hold=False)
            with self._lock:
                self.latest = newest
            if self._checker is not None:
                self._checker.look()
            return True

    def _take(self, *, hold: bool) -> Snapshot:
        stored = StoredForm(self._encoders.width, self._tenants)
        return take_snapshot(self._connections, self._encoders.sparse, self._segments, stored, hold=hold)

    def is_current(self) -> bool:
        """Return whether reads see the newest committed state."""
        with self._refreshing:
            return self.latest is not None and self.latest.generation == generation_of(self._watch)

    def snapshot(self, *, hold: bool = False) -> Snapshot:
        """Return the state that reads see, or with `hold` the newest one; see `Collection.snapshot`."""
        if hold:
            with self._refreshing:
                return self._take(hold=True)
        if self.latest is None or self.follows_writes:
            self.refresh()
        with self._lock:
            if self.latest is None:
                raise ReadOnlyError("the collection is closed", where=str(self._directory), hint="open it again")
            snapshot = self.latest
        for view in snapshot.segments:
            view.segment.check_sizes()
        return snapshot

    def searchable(self, *, hold: bool = False) -> Snapshot:
        """Return the same, for a search.

        Raises:
            CorruptCollectionError: the search could be wrong by damage that is known.
        """
        snapshot = self.snapshot(hold=hold)
        for view in snapshot.segments:
            view.segment.check_condition()
        for problem in self._damage.searches:
            raise CorruptCollectionError(
                f"damaged: {problem.message}",
                where=problem.where,
                hint="run `lexhound verify`; restore the collection from a backup or index the corpus again",
            )
        return snapshot

    def read(self, function: Callable[[Snapshot], T]) -> T:
        """Return what `function` makes of the state that reads see; of the newest one where documents of it are gone.

        Raises:
            CorruptCollectionError: as for `searchable`.
        """
        with damage_errors(self._directory):
            for _ in range(2):
                try:
                    return function(self.searchable())
                except StaleSnapshotError:
                    self.refresh()
            return function(self.searchable(hold=True))

    # Documents

    def get(self, identifier: str, *, latest: bool, prefix: str = "") -> Document | None:
        """Return a document by its id; see `Collection.get`. `prefix` is that of the tenant whose it is."""
        key = prefix + identifier
        exact = self._encoders.sparse.frequencies
        if latest:
            with self._connections.reading() as connection:
                document, seen = read_latest(connection, key, exact=exact), True
        else:
            snapshot = self.snapshot()
            with snapshot.reading() as connection:
                document = read_latest(connection, key, exact=exact)
                seen = generation_of(connection) == snapshot.generation
            if not seen and prefix:
                snapshot = self.confined_snapshot(snapshot, prefix)
            seen = seen or snapshot.holds(identifier)
        if document is None:
            self._check_ids()
        return plain(document, prefix) if seen and document is not None else None

    def _check_ids(self) -> None:
        """Check, before the first document is said not to be there, that the index of ids leads to every row."""
        if self._ids_checked or self.checked:
            return
        with self._connections.reading() as connection:  # it takes about a second for a million rows
            problems = [answer for (answer,) in connection.execute("PRAGMA integrity_check(rows)") if answer != "ok"]
        if problems:
            raise CorruptCollectionError(
                f"the index of ids is damaged: {problems[0]}",
                where=str(self._directory / DATABASE),
                hint="restore the file from a backup or index the corpus again",
            )
        self._ids_checked = True

    def count(self, filter: str | None, *, allow_unknown_fields: bool) -> int:
        """Return how many documents there are, or pass a filter expression."""
        if filter is None:
            return self.snapshot().n_documents
        return count_passing(self.searchable(), filter, allow_unknown_fields=allow_unknown_fields)

    def ids(self, filter: str, *, allow_unknown_fields: bool) -> list[str]:
        """Return the ids of the documents that pass a filter expression, in order of insertion."""

        def find(snapshot: Snapshot) -> list[str]:
            found = internal_ids_passing(snapshot, filter, allow_unknown_fields=allow_unknown_fields)
            return read_ids(snapshot, found.tolist())

        return self.read(find)

    def facets(
        self,
        fields: Sequence[str] | None,
        limit: int,
        request: SearchRequest | None,
        *,
        filter: str | None,
        matching: bool,
        allow_unknown_fields: bool,
    ) -> list[Facet]:
        """Return the values of metadata fields; see `Collection.facets`."""
        if request is not None or filter is not None or set(fields or ()) & set(OWN_FIELDS):
            return self.read(
                lambda snapshot: count_facets(
                    snapshot,
                    self._faceted(snapshot, request, filter, matching, allow_unknown_fields),
                    fields,
                    limit,
                    allow_unknown_fields=allow_unknown_fields,
                )
            )
        prefix = self.searchable().prefix
        with self._connections.reading() as connection, interrupting(connection):
            return find_facets(connection, fields, limit, allow_unknown_fields=allow_unknown_fields, prefix=prefix)

    def _faceted(
        self,
        snapshot: Snapshot,
        request: SearchRequest | None,
        filter: str | None,
        matching: bool,
        allow_unknown_fields: bool,
    ) -> Masks:
        if request is not None:
            find = matching_rows if matching else best_rows
            return find(snapshot, self._encoders.of_queries(request), request)
        passing = rows_passing(snapshot, filter, allow_unknown_fields=allow_unknown_fields)
        return [
            view.first_passages(np.ones(view.segment.n_rows, np.bool_) if mask is None else mask)
            for view, mask in zip(snapshot.segments, passing, strict=True)
        ]

    def suggest(self, query: str, k: int, filter: str | None, *, allow_unknown_fields: bool) -> Suggestions:
        """Return what a query may become, by the words of the documents that it may find; see `Collection.suggest`."""

        def find(snapshot: Snapshot) -> Suggestions:
            def is_known(word: str) -> bool:  # BM25 knows it by its stem, and in documents beyond the sample
                terms = np.array(sorted(field.typed_terms(word)), np.int32) if field.frequencies else ()
                return len(terms) > 0 and bool((snapshot.document_frequencies(np.asarray(terms)) > 0).any())

            field = self._encoders.sparse
            tables = self._words.of(snapshot, filter, allow_unknown_fields=allow_unknown_fields)
            return suggest(query, tables, k, is_known)

        return self.read(find)

    def prepare_filter(self, filter: str) -> None:
        """Find the documents that pass a filter; whether anything has what it names is for the search to check."""
        rows_passing(self.searchable(), filter, allow_unknown_fields=True)

    def is_prepared(self, filter: str) -> bool:
        """Return whether it is known which documents pass a filter."""
        return is_known(self.snapshot(), filter)

    # Damage

    def check_in_background(self) -> None:
        """Read everything once in a thread of its own; see `Collection.check_in_background`."""
        if self._checker is None:
            self.snapshot()
            name = self._encoders.sparse.name
            self._checker = Checker(self._directory, name, self._damage, lambda: self.latest)

    @property
    def checked(self) -> bool:
        """Whether `check_in_background` has read everything that was there when it began."""
        return self._checker is not None and self._checker.done.is_set()

    @property
    def damage(self) -> tuple[Problem, ...]:
        """What is known to be damaged."""
        with self._lock:
            snapshot = self.latest
        return () if snapshot is None else self._damage.of(snapshot)


class ConfinedReader(CollectionReader):
    """The reading side of what an open collection has of one tenant; it is closed with the collection."""

    def __init__(self, whole: CollectionReader, tenant: str) -> None:
        """Use `CollectionReader.confined`."""
        self._whole = whole
        self._prefix = prefix_of(tenant)
        self._directory = whole._directory
        self._connections = whole._connections
        self._encoders = whole._encoders
        self._words = whole._words

    def snapshot(self, *, hold: bool = False) -> Snapshot:
        return self._whole.confined_snapshot(self._whole.snapshot(hold=hold), self._prefix)

    def searchable(self, *, hold: bool = False) -> Snapshot:
        return self._whole.confined_snapshot(self._whole.searchable(hold=hold), self._prefix)

    def refresh(self) -> bool:
        return self._whole.refresh()

    def get(self, identifier: str, *, latest: bool, prefix: str = "") -> Document | None:
        return self._whole.get(identifier, latest=latest, prefix=self._prefix)

    def has_documents(self) -> bool:
        """Return whether any document is of the tenant now."""
        with self._connections.reading() as connection:
            bounds = self._prefix, end_of(self._prefix)
            statement = "SELECT 1 FROM rows WHERE id >= ? AND id < ? AND run NOT IN (SELECT run FROM runs) LIMIT 1"
            return connection.execute(statement, bounds).fetchone() is not None
