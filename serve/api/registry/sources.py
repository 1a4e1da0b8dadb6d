"""Where the collections that are served come from: a folder of directories, or an address in another engine."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lexhound.core.errors import CollectionGoneError
from lexhound.retrieval.aliases import resolve_alias
from lexhound.retrieval.collection.collection import Collection
from lexhound.retrieval.collection.recovery import recover
from lexhound.retrieval.collection.store.schema import log_bytes
from lexhound.retrieval.engines.address import LUCENE, MILVUS_LITE, Address, read_address
from lexhound.retrieval.engines.opening import create_collection, open_collection
from lexhound.retrieval.errors import EngineError, NotACollectionError, UnsupportedError
from lexhound.serve.api.http.exceptions import ConflictError
from lexhound.serve.engines import milvus_settings
from lexhound.serve.errors import UsageError

from .aliases import ServedAliases
from .names import SUFFIX, DataFolder, name_of

if TYPE_CHECKING:
    from lexhound.encoders.sparse.settings import LearnedSettings
    from lexhound.retrieval.collection.settings import CollectionSettings
    from lexhound.retrieval.collection.verification import Problem
    from lexhound.retrieval.engines.protocol import Backend
    from lexhound.serve.api.http.metrics import Metrics
    from lexhound.serve.settings import Settings

_log = logging.getLogger("lexhound.serve")

ENGINE_SECONDS = 5.0
"""How often another engine is asked whether it is there and what others have written, and no more often than this."""


class Follower(Protocol):
    """A follower of what others do to an open collection. Its methods may take long."""

    trouble: EngineError | None
    """Why the collection's engine could not be asked the last time."""
    damaged: bool
    """Whether searches are refused, because they could be wrong by damage that is known."""

    def catch_up(self, *, announced: bool) -> bool:
        """Bring the reader up to date where it is behind; false where the collection is gone or another one.

        With `told`, another process has said that there is something to see.
        """

    def refresh(self) -> None:
        """Make what this process wrote searchable."""

    def sizes(self) -> tuple[int, int, int | None] | None:
        """Return documents, segments and bytes of SQLite's log (None in another engine); None where they cannot be
        told.
        """


@dataclass(frozen=True, slots=True)
class Opened:
    """An open collection: what reads it, what opens it for writing, and what keeps it up to date."""

    reader: Backend
    writer: Callable[[], Backend]
    follower: Follower


class Source(Protocol):
    """Where collections are found by name."""

    single: bool
    """Whether there is one collection, whose name is given."""
    remote: bool
    """Whether opening may fail now and succeed later, without anything on this machine having changed."""
    aliases: ServedAliases
    """The second names of its collections."""

    def names(self) -> list[str]:
        """Return the names of all collections, in ascending order."""

    def open(self, name: str, learned: LearnedSettings | None) -> Opened | None:
        """Open a collection; None where there is none of this name."""

    def create(self, name: str, settings: CollectionSettings) -> None:
        """Make an empty collection. Raises ConflictError where that cannot be."""


def open_source(settings: Settings, metrics: Metrics) -> Source:
    """Return the source that the settings name; see `check_source` for what can be wrong with it."""
    if isinstance(settings.data, Path):
        return DirectorySource(settings.data, metrics)
    return EngineSource(read_address(settings.data), metrics)


def check_source(settings: Settings) -> None:
    """Refuse at the start what can never be served.

    Raises:
        UsageError: there is no such folder, two directories of it have one name, or the processes of the service cannot
            share what is there.
        UnknownAddressError: an address names no engine. MissingEngineError: what talks to the engine is not installed.
    """
    if isinstance(settings.data, Path):
        recover(settings.data)
        # A collection that has gone, or a typing mistake, must not become an empty service.
        if not settings.data.is_dir():
            if resolve_alias(settings.data) != settings.data:
                raise UsageError(
                    f"{settings.data} is an alias, which the service could not follow",
                    hint=f"serve its folder: lexhound serve {settings.data.parent}",
                )
            raise UsageError(
                f"there is no folder {settings.data}",
                hint="name a collection or a folder of collections; an empty folder is made with mkdir",
            )
        name = DataFolder(settings.data).twice()
        if name is not None:
            raise UsageError(
                f"{settings.data} holds two collections named {name}: the directories {name} and {name}{SUFFIX}",
                hint="rename one of them",
            )
        return
    address = read_address(settings.data)
    milvus_settings()
    if address.engine == LUCENE:
        from lexhound.retrieval.engines.lucene.java import find_java

        if address.path is not None and not address.path.is_dir():
            raise UsageError(
                f"there is no folder {address.path}",
                hint=f"make the collection first: lexhound index CORPUS --into {address}",
            )
        find_java()
        return
    if address.engine == MILVUS_LITE and settings.workers > 1:
        raise UsageError(
            "one process at a time can use a file of milvus-lite", hint="leave --workers out, or serve a Milvus server"
        )
    from lexhound.retrieval.engines.milvus.client import require_packages

    require_packages(lite=address.engine == MILVUS_LITE)


class DirectorySource:
    """Our own collections: all of a folder, or a single one."""

    remote = False

    def __init__(self, path: Path, metrics: Metrics) -> None:
        self.folder = DataFolder(path)
        self.single = self.folder.single
        self.aliases = ServedAliases(None if self.single else path)
        self._metrics = metrics

    def names(self) -> list[str]:
        """Return the names of all collections, in ascending order."""
        return self.folder.names()

    def open(self, name: str, learned: LearnedSettings | None) -> Opened | None:
        """Open a collection; None where there is none of this name."""
        path = self.folder.find(name)
        if path is None:
            return None
        reader = Collection.open(path, learned=learned)
        try:
            reader.warm()
            reader.check_in_background()
        except BaseException:
            reader.close()
            raise
        return Opened(
            reader,
            lambda: Collection.open(path, writable=True, like=reader),
            _DirectoryFollower(path, reader, self._metrics),
        )

    def create(self, name: str, settings: CollectionSettings) -> None:
        """Make an empty collection."""
        if self.folder.find(name) is not None:
            raise ConflictError(f"there is a collection {name!r} already", where="body.name", code="exists")
        Collection.create(self.folder.new_directory(name), settings).close()


class EngineSource:
    """One collection in another engine. It may not be there yet, and its engine may not answer."""

    single = True
    remote = True
    aliases = ServedAliases(None)

    def __init__(self, address: Address, metrics: Metrics) -> None:
        self.address = address
        self._milvus = milvus_settings()
        self._metrics = metrics
        text = address.name or (address.path or Path()).name.removesuffix(".lucene")
        self.name = name_of(Path(text))

    def names(self) -> list[str]:
        """Return the one name."""
        return [self.name]

    def open(self, name: str, learned: LearnedSettings | None) -> Opened | None:
        """Connect, and open the collection."""
        if name != self.name:
            return None
        # One object reads and writes: what it writes it has counted, and a model is loaded once.
        collection = open_collection(self.address, writable=True, milvus=self._milvus, learned=learned)
        try:
            collection.warm()
        except BaseException:
            collection.close()
            raise
        return Opened(collection, lambda: collection, _EngineFollower(collection, self._metrics))

    def create(self, name: str, settings: CollectionSettings) -> None:
        """Make the collection that the address names."""
        if name != self.name:
            raise ConflictError(
                f"the service serves the collection {self.name!r} of another engine, and no other",
                where="body.name",
                hint=f"name it {self.name!r}",
                code="single_collection",
            )
        if self.address.engine == LUCENE:
            raise UnsupportedError(
                "a Lucene index is built at once, of a whole corpus, and not filled over REST",
                hint="make it on the command line: lexhound index CORPUS --into lucene:PATH",
            )
        create_collection(self.address, settings, milvus=self._milvus).close()


class _DirectoryFollower:
    """A follower of commits, by a number in the database, and of directories that go or are replaced."""

    trouble: EngineError | None = None
    damaged = False

    def __init__(self, path: Path, reader: Collection, metrics: Metrics) -> None:
        self._path = path
        self._reader = reader
        self._metrics = metrics
        self._reported: set[Problem] = set()

    def catch_up(self, *, announced: bool) -> bool:
        """See `Follower`; what others say is not needed."""
        try:
            self._reader.check_place()
            self._look_for_damage()
            if not self._reader.is_current():
                self.refresh()
        except CollectionGoneError:
            return False
        return True

    def _look_for_damage(self) -> None:
        """Log what is newly known to be damaged, files that have been cut short since the last time included."""
        self.damaged = not self._reader.health().ready
        for problem in self._reader.damage:
            if problem not in self._reported:
                self._reported.add(problem)
                _log.error("collection %s is damaged: %s: %s", self._path.name, problem.where, problem.message)

    def refresh(self) -> None:
        """Move on to the newest committed state."""
        _refresh(self._reader, self._metrics)

    def sizes(self) -> tuple[int, int, int | None] | None:
        """Return documents and parts of the snapshot that searches see, and the length of the log now."""
        snapshot = self._reader.snapshot()
        return snapshot.n_documents, len(snapshot.segments), log_bytes(self._path)


class _EngineFollower:
    """A follower that asks the engine now and then. What is written there is found once the engine shows it."""

    damaged = False

    def __init__(self, collection: Backend, metrics: Metrics) -> None:
        self.trouble: EngineError | None = None
        self._collection = collection
        self._metrics = metrics
        self._next = time.monotonic() + ENGINE_SECONDS

    def catch_up(self, *, announced: bool) -> bool:
        """See `Follower`.

        Raises:
            EngineError: the engine did not do what it was asked.
        """
        if not announced and time.monotonic() < self._next:
            return True
        try:
            _refresh(self._collection, self._metrics)
            self.trouble = None
        except NotACollectionError:
            return False
        except EngineError as error:
            self.trouble = error
            raise
        finally:
            self._next = time.monotonic() + ENGINE_SECONDS
        return True

    def refresh(self) -> None:
        """Do nothing: what this process wrote through the reader, the reader knows."""

    def sizes(self) -> tuple[int, int, int | None] | None:
        """Return documents; engines tell of no segments."""
        with suppress(EngineError):
            return self._collection.statistics().n_documents, 0, None
        return None


def _refresh(reader: Backend, metrics: Metrics) -> None:
    started = time.perf_counter()
    if reader.refresh():
        metrics.refresh_seconds.observe(time.perf_counter() - started)
