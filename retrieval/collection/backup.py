"""Copies of collections: `backup` while others read and write, `restore` from what it made.

A backup is a collection like any other: it can be searched, verified, and copied elsewhere. The database is copied by
SQLite, as of one moment; segments never change, so their files are copied, or linked where both are on one file system.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

from lexhound.core.atomic_files import neighbour, replace_directory
from lexhound.core.disk_errors import storage_errors
from lexhound.core.lock import Claim, WriterLock
from lexhound.core.progress import BYTES, OnStep, Pace, Stage
from lexhound.retrieval.aliases import resolve_alias
from lexhound.retrieval.collection.fields.static_queries import FOLDER as TABLE
from lexhound.retrieval.collection.fields.static_queries import has_table
from lexhound.retrieval.collection.store.connections import Connections
from lexhound.retrieval.collection.store.manifest import MANIFEST, read_manifest
from lexhound.retrieval.collection.store.schema import DATABASE, keep_log, translate
from lexhound.retrieval.collection.store.segment import SEGMENTS
from lexhound.retrieval.errors import CollectionExistsError, CorruptCollectionError, QueryError

from .building import require_collection
from .collection import Collection
from .recovery import recover, recover_claimed

# How often the copy is begun anew where segments were merged away while they were copied.
_TRIES = 20
# Pages of the database copied between two looks at whether to stop.
_PAGES = 4096
_CANNOT_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What was copied, and where to: documents, segments, bytes of all files; `linked` of those bytes are shared."""

    path: str
    documents: int
    segments: int
    bytes: int
    linked: int


def backup_collection(
    source: str | Path,
    target: str | Path,
    *,
    overwrite: bool = False,
    link: bool = False,
    progress: OnStep | None = None,
) -> BackupReport:
    """Copy a collection as it is at this moment, whoever reads or writes it meanwhile.

    The copy appears at `target` when it is whole, on the disk and verified; until then nothing is there, or what was
    there before.

    Args:
        overwrite: replace a collection that is at `target`.
        link: share segments' files with the source where both are on one file system. Such a copy takes hardly any
            room, and a damaged disk block damages both.
        progress: told of the stages (`core.progress`): `copying`, in bytes, then those of `Collection.verify`.

    Raises:
        NotACollectionError, NewerFormatError: `source` is none that can be copied.
        CorruptCollectionError: the copy is damaged, as the source is; nothing is kept of it.
        CollectionExistsError: something is at `target`, and `overwrite` is not set.
        CollectionLockedError: another run is building at `target`, or a process writes to it.
        QueryError: one of the two paths leads into the other.
        StorageFullError, ReadOnlyError: the copy cannot be written.
    """
    source, target = resolve_alias(Path(source)), Path(target)
    recover(source)
    read_manifest(source)
    _check_apart(source, target)
    with Claim(target) as claim:
        recover_claimed(claim)
        if os.path.lexists(target):
            if not overwrite:
                raise CollectionExistsError(
                    "something is here already",
                    where=str(target),
                    hint="give another path, or replace a collection with overwrite=True",
                    cli_hint="give another path, or replace a collection with --overwrite",
                )
            require_collection(target)
        with (
            WriterLock(target) if target.exists() else nullcontext(),
            storage_errors(target),
            replace_directory(target, neighbour(target, "restoring")) as aside,
        ):
            size = _bytes(source)
            stage = Stage(progress, "copying", size, BYTES)
            linked = _copy(source, aside, stage.add, link=link)
            stage.reach(size)  # about: what is written meanwhile is copied, too
            documents, segments = _verified(aside, source, progress)
            size = _bytes(aside)
    return BackupReport(str(target), documents, segments, size, linked)


def restore_collection(
    backup: str | Path, target: str | Path, *, overwrite: bool = False, progress: OnStep | None = None
) -> BackupReport:
    """Copy a backup to where it is to be used; `backup_collection` the other way round, and nothing is shared.

    Raises:
        As `backup_collection`.
    """
    return backup_collection(backup, target, overwrite=overwrite, progress=progress)


def _check_apart(source: Path, target: Path) -> None:
    one, other = source.resolve(), target.resolve()
    if one == other or one in other.parents or other in one.parents:
        raise QueryError(
            "a collection and its backup cannot lie in one another", where=str(target), hint="give another directory"
        )


def _copy(source: Path, target: Path, pace: Pace, *, link: bool) -> int:
    """Copy the files of a collection, consistent with each other; returns the bytes that are shared."""
    segments = target / SEGMENTS
    segments.mkdir()
    linked: dict[str, int] = {}
    connections = Connections(source)
    with closing(connections):
        for _ in range(_TRIES):
            # Those that are there now, so that few are left to copy when the database has been; they never change.
            with connections.reading() as connection:
                names = _names(connection)
            _copy_segments(source, target, names, linked, pace, link=link)
            _copy_database(connections, target, pace)
            with closing(sqlite3.connect(target / DATABASE)) as copied:
                names = _names(copied)
            lost = _copy_segments(source, target, names, linked, pace, link=link)
            if not lost:
                break
        else:
            raise CorruptCollectionError(
                f"segment {lost[0]} is missing",
                where=str(source / SEGMENTS),
                hint="see `lexhound verify`; restore it from an older backup or index the corpus again",
            )
    for name in linked.keys() - set(names):
        shutil.rmtree(segments / name)
    if has_table(source):
        _copy_tree(source / TABLE, target / TABLE, pace, link=False)
    shutil.copyfile(source / MANIFEST, target / MANIFEST)
    keep_log(target)
    return sum(linked[name] for name in names)


def _names(connection: sqlite3.Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM segments ORDER BY first_seq")]


def _copy_database(connections: Connections, target: Path, pace: Pace) -> None:
    """Copy the database as it is in one transaction; writers go on meanwhile."""
    (target / DATABASE).unlink(missing_ok=True)
    with connections.reading() as connection:
        connection.execute("SELECT count(*) FROM properties").fetchone()  # begins the transaction
        try:
            with closing(sqlite3.connect(target / DATABASE, isolation_level=None)) as copied:
                copied.execute("PRAGMA synchronous = FULL")
                (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
                left = None

                def copying(status: int, remaining: int, total: int) -> None:
                    nonlocal left
                    pace(((total if left is None else left) - remaining) * page_bytes)
                    left = remaining

                connection.backup(copied, pages=_PAGES, progress=copying, sleep=0)
        except sqlite3.Error as error:
            raise translate(error, target / DATABASE) from error


def _copy_segments(
    source: Path, target: Path, names: list[str], linked: dict[str, int], pace: Pace, *, link: bool
) -> list[str]:
    """Copy those that `linked` does not know yet; returns those that were merged away meanwhile."""
    lost = []
    for name in names:
        if name in linked:
            continue
        try:
            linked[name] = _copy_tree(source / SEGMENTS / name, target / SEGMENTS / name, pace, link=link)
        except FileNotFoundError:
            shutil.rmtree(target / SEGMENTS / name, ignore_errors=True)
            lost.append(name)
    return lost


def _copy_tree(source: Path, target: Path, pace: Pace, *, link: bool) -> int:
    target.mkdir()
    linked = 0
    for path in sorted(source.iterdir()):
        if path.is_dir():
            linked += _copy_tree(path, target / path.name, pace, link=link)
        elif link and _link(path, target / path.name):
            linked += path.stat().st_size
        else:
            shutil.copyfile(path, target / path.name)
        if path.is_file():
            pace(path.stat().st_size)
    return linked


def _bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _link(path: Path, target: Path) -> bool:
    try:
        target.hardlink_to(path)
    except OSError as error:
        if error.errno in _CANNOT_LINK:
            return False
        raise
    return True


def _verified(copy: Path, source: Path, progress: OnStep | None) -> tuple[int, int]:
    """Return documents and segments of a copy, read to the last byte."""
    with Collection.open(copy) as collection:
        problems = collection.verify(progress)
        if problems:
            more = f", and {len(problems) - 1:,} more problems" if len(problems) > 1 else ""
            raise CorruptCollectionError(
                f"the collection is damaged, so it is not copied: {problems[0].message}{more}",
                where=problems[0].where.replace(str(copy.absolute()), str(source)).replace(str(copy), str(source)),
                hint="see `lexhound verify`; restore it from an older backup or index the corpus again",
            )
        return collection.snapshot().n_documents, len(collection.info().segments)
