"""Building a collection from a corpus: a new one, one whose building was interrupted, or one that replaces another.

A replacement is built beside the collection that it replaces, which answers queries until the new one is complete.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from lexhound.core.atomic_files import neighbour, put_directory
from lexhound.core.disk_errors import storage_errors
from lexhound.core.errors import CollectionLockedError, StorageError
from lexhound.core.lock import Claim, WriterLock
from lexhound.retrieval.collection.fields.dense_field import DenseField
from lexhound.retrieval.collection.store.manifest import MANIFEST, read_manifest
from lexhound.retrieval.collection.store.schema import connect
from lexhound.retrieval.collection.write.ingest import IngestReport
from lexhound.retrieval.collection.write.ingest_jobs import describe_source, held_documents, same_corpus, unfinished_job
from lexhound.retrieval.collection.write.progress import Progress
from lexhound.retrieval.corpus import BadRow, Corpus
from lexhound.retrieval.errors import (
    CollectionExistsError,
    NewerFormatError,
    NotACollectionError,
    RetrievalError,
    UnfinishedRunError,
)

from .collection import Collection
from .encoders import open_chosen
from .recovery import recover_claimed
from .settings import CollectionSettings, SettingsKeywords

# What is built to replace a collection; an ingest job that is cut short goes on in it.
BUILDING = "building"


@dataclass(frozen=True, slots=True)
class _Ingest:
    """The ingest job that fills a collection; the arguments of `Collection.ingest`."""

    corpus: Corpus
    source: str
    on_bad_row: Callable[[BadRow], None] | None
    progress: Callable[[Progress], None] | None

    @property
    def encodes(self) -> bool:
        """Whether documents have to be encoded, so that the collection's models are needed."""
        return not self.corpus.brings_vectors

    def run(self, collection: Collection) -> IngestReport:
        """Fill a collection."""
        return collection.ingest(self.corpus, source=self.source, on_bad_row=self.on_bad_row, progress=self.progress)


def build_collection(
    path: str | Path,
    corpus: Corpus,
    settings: CollectionSettings | None = None,
    *,
    source: str,
    overwrite: bool = False,
    on_bad_row: Callable[[BadRow], None] | None = None,
    progress: Callable[[Progress], None] | None = None,
    **keywords: Unpack[SettingsKeywords],
) -> IngestReport:
    """Make a collection of a corpus, or finish making it where an earlier attempt with the same arguments stopped.

    Where nothing of the corpus could be stored, no collection is left behind that was not there before.

    Args:
        source: what identifies the corpus when the job is started again, as for `Collection.ingest`.
        settings, keywords: as for `Collection.create`.
        overwrite: replace a collection that is at `path`. The old one stays as it is until the new one is complete.
        on_bad_row, progress: as for `Collection.ingest`.

    Raises:
        CollectionExistsError: something is at `path` already, and `overwrite` is not set.
        NotACollectionError: with `overwrite`, what is at `path` is no collection (and is left alone).
        UnfinishedRunError: an unfinished collection of another corpus is at `path`.
        CollectionLockedError: another run is building at `path`, or with `overwrite` another process writes to it.
        BadRowError, CorpusError, EncoderError, StorageFullError, ReadOnlyError: as for `Collection.ingest`.
    """
    directory = Path(path)
    settings = CollectionSettings.of(settings, keywords)
    ingest = _Ingest(corpus, source, on_bad_row, progress)
    if directory.exists() and not directory.is_dir():
        require_collection(directory)
    with Claim(directory) as claim:
        recover_claimed(claim)
        if not (overwrite and directory.exists()):
            return _build(directory, settings, ingest, start_over=False)
        require_collection(directory)
        with WriterLock(directory) as lock:  # what others write now would be lost with the old collection
            aside = neighbour(directory, BUILDING)
            report = _build(aside, settings, ingest, start_over=True)
            lock.check()
            with storage_errors(directory):
                put_directory(aside, directory)
        return report


def kept_documents(path: str | Path, *, overwrite: bool = False) -> int:
    """Return how many documents an unfinished build at `path`, or of its replacement, holds for the next attempt."""
    directory = Path(path)
    unfinished = neighbour(directory, BUILDING) if overwrite and directory.exists() else directory
    try:
        connection = connect(unfinished, writable=False)
    except (RetrievalError, StorageError):
        return 0
    try:
        job = unfinished_job(connection)
        return 0 if job is None else held_documents(connection, job)
    finally:
        connection.close()


def _build(directory: Path, settings: CollectionSettings, ingest: _Ingest, *, start_over: bool) -> IngestReport:
    unfinished = None
    if directory.exists():
        unfinished = _unfinished(directory, settings, ingest, start_over=start_over)
    collection = unfinished or Collection.create(directory, settings, load_model=ingest.encodes, claimed=True)
    try:
        with collection:
            return ingest.run(collection)
    except BaseException:
        if unfinished is None and not _holds_anything(directory):
            shutil.rmtree(directory, ignore_errors=True)
        raise


def _unfinished(
    directory: Path, settings: CollectionSettings, ingest: _Ingest, *, start_over: bool
) -> Collection | None:
    """Open the collection at a path, if this very build can go on in it.

    With `start_over`, anything else there is removed and None returned; without it, anything else is an error.
    """
    try:
        collection = Collection.open(directory, writable=True)
    except CollectionLockedError:
        raise
    except (RetrievalError, StorageError) as error:
        if start_over:  # nothing that could be gone on with
            shutil.rmtree(directory)
            return None
        if not isinstance(error, NotACollectionError):
            raise
        raise CollectionExistsError(
            "something that is not a collection is here already", where=str(directory), hint="give another path"
        ) from error
    try:
        _check_unfinished(collection, settings, ingest)
    except (CollectionExistsError, UnfinishedRunError):
        trace = _is_trace(collection)
        collection.close()
        if not start_over and not trace:
            raise
        shutil.rmtree(directory)
        return None
    except BaseException:
        collection.close()
        raise
    return collection


def _is_trace(collection: Collection) -> bool:
    """Return whether a collection is what a process that was killed left of a job that had kept nothing."""
    with collection.snapshot().reading() as connection:
        job = unfinished_job(connection)
        return job is not None and not collection.snapshot().n_documents and not held_documents(connection, job)


def _check_unfinished(collection: Collection, settings: CollectionSettings, ingest: _Ingest) -> None:
    where = str(collection.path)
    if collection.snapshot().n_documents:
        raise CollectionExistsError(
            "a collection is here already",
            where=where,
            hint="put more documents into it with `add`, replace it with overwrite=True, or give another path",
            cli_hint="put more into it with `lexhound add`, replace it with --overwrite, or give another path",
        )
    identity, sparse_field, dense_field = open_chosen(settings, load_model=ingest.encodes)
    passages = settings.passage_settings(lexical=sparse_field is None)
    same = collection.manifest.passages == passages and collection.manifest.encoder.same_vectors(identity)
    same = same and collection.manifest.tenant_field == settings.tenant_field
    same = same and collection.manifest.late == settings.late
    if not same or not _same_dense(collection, dense_field, settings):
        raise CollectionExistsError(
            "an unfinished collection with another encoder or other settings is here already",
            where=where,
            hint="finish it with the settings it was begun with, or start over with overwrite=True",
            cli_hint="finish it with the settings it was begun with, or start over with --overwrite",
        )
    with collection.snapshot().reading() as connection:
        job = unfinished_job(connection)
        held = 0 if job is None else held_documents(connection, job)
    if job is not None and not same_corpus(job.source, ingest.source) and held:
        raise UnfinishedRunError(
            f"an unfinished collection of {describe_source(job.source)} is here already",
            where=where,
            hint="finish it with the corpus it was begun with, or start over with overwrite=True",
            cli_hint="finish it with the command it was begun with, or start over with --overwrite",
        )
    collection.adopt(sparse_field, dense_field)


def _same_dense(collection: Collection, dense_field: DenseField | None, settings: CollectionSettings) -> bool:
    stored, index = collection.manifest.dense, settings.dense_index
    if stored is None or dense_field is None:
        return stored is None and dense_field is None
    return stored.index == index and stored.encoder.same_vectors(dense_field.identity)


def require_collection(directory: Path) -> None:
    """Raise NotACollectionError unless a collection is there, be it damaged or of a later format."""
    try:
        read_manifest(directory)
    except NotACollectionError as error:
        raise NotACollectionError(
            f"not a collection (it has no {MANIFEST}), so it is not overwritten",
            where=str(directory),
            hint="give another path, or remove what is there yourself",
        ) from error
    except NewerFormatError:
        pass  # a collection all the same
    except (RetrievalError, StorageError):
        pass  # damaged, which is a reason to replace it


def _holds_anything(directory: Path) -> bool:
    """Return whether an unfinished build has documents; true where that cannot be told."""
    try:
        return kept_documents(directory) > 0
    except (RetrievalError, StorageError, sqlite3.Error, OSError):
        return True
