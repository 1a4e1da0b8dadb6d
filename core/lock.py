"""Locks: one process writes to a collection at a time, any number read; one makes or replaces what is at a path."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from lexhound.core.atomic_files import make_directories, neighbour
from lexhound.core.disk_errors import FULL, full, storage_errors
from lexhound.core.errors import CollectionGoneError, CollectionLockedError, ReadOnlyError

LOCK = "write.lock"
CLAIM = "lock"


# `holder_of` has the lock for some microseconds, in which a writer may come.
_ATTEMPTS = 5
_PAUSE_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that writes: its id, since when (seconds since 1970), and the address where it takes writes over
    REST, if it is a service.
    """

    pid: int
    since: float
    address: str | None = None

    @property
    def clock(self) -> str:
        """Since when, as a person reads it."""
        return datetime.fromtimestamp(self.since, UTC).isoformat(" ", "seconds").removesuffix("+00:00") + " UTC"


class _Here:
    """What this process says of itself in the locks that it takes."""

    address: str | None = None


def take_writes_at(address: str | None) -> None:
    """Say in locks that are taken from now on where this process takes writes over REST."""
    _Here.address = address


def holder_of(directory: Path) -> Holder | None:
    """Return the process that has a collection open for writing now; None where none has, or that cannot be told."""
    try:
        descriptor = os.open(directory / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _holder(descriptor)
    finally:
        os.close(descriptor)
    return None


def _holder(descriptor: int) -> Holder | None:
    pid, _, address = os.pread(descriptor, 1024, 0).decode("utf-8", "replace").strip().partition("\n")
    return Holder(int(pid), os.fstat(descriptor).st_mtime, address or None) if pid.isdecimal() else None


class _Lock:
    """A locked file that is open; closing it gives the lock back, and so does the end of the process."""

    _path: Path
    _descriptor: int

    def _say_who(self) -> None:
        """Write who has the lock into the file."""
        with suppress(OSError):  # only a message says it: a full disk is told by what needs the room
            os.ftruncate(self._descriptor, 0)
            address = "" if _Here.address is None else f"{_Here.address}\n"
            os.pwrite(self._descriptor, f"{os.getpid()}\n{address}".encode(), 0)

    def release(self) -> None:
        """Give the lock back; calling it twice is harmless."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class WriterLock(_Lock):
    """The right to write to a collection: an advisory lock on its `write.lock`."""

    def __init__(self, directory: Path) -> None:
        """Take the lock at once or fail.

        Raises:
            CollectionLockedError: another process holds it.
            ReadOnlyError: the directory cannot be written. StorageFullError: the disk is full.
        """
        path = self._path = directory.absolute() / LOCK
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            if error.errno in FULL:
                raise full(path) from error
            raise ReadOnlyError(
                f"the collection cannot be written to ({error.strerror})",
                where=str(directory),
                hint="check the permissions of the collection's directory",
            ) from error
        if not self._taken():
            holder = _holder(self._descriptor)
            self.release()
            if holder is not None and holder.address is not None:
                raise CollectionLockedError(
                    f"the service at {holder.address} writes to this collection{_named(holder)}",
                    where=str(directory),
                    hint=f"send the write to it (POST {holder.address}/v1/collections/NAME/documents, or"
                    " /documents/delete), or stop it; readers are not affected",
                )
            raise CollectionLockedError(
                f"another process is writing to this collection{_named(holder)}",
                where=str(directory),
                hint="wait until it has finished, or stop it; readers are not affected",
            )
        self._say_who()

    def _taken(self) -> bool:
        for attempt in range(_ATTEMPTS):
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if attempt + 1 < _ATTEMPTS:
                    time.sleep(_PAUSE_SECONDS)
            else:
                return True
        return False

    def check(self) -> None:
        """Make sure that the file at the path is the one that is locked: another one, another process could lock.

        Raises:
            CollectionGoneError: it is not.
        """
        if not _is_at(self._path, self._descriptor):
            raise CollectionGoneError(
                f"the collection, or its {LOCK}, was removed or replaced while it was open for writing",
                where=str(self._path.parent),
                hint="open it again",
            )


class Claim(_Lock):
    """The right to make or to replace what is at a path: an advisory lock on a file beside it, for as long as it takes.

    Attributes:
        target: the path, links resolved.
    """

    def __init__(self, directory: Path) -> None:
        """Take the claim at once or fail; directories above that are missing are made.

        Raises:
            CollectionLockedError: another run has it; says which and since when.
            ReadOnlyError, StorageFullError: the directory above cannot be written.
        """
        self.target = directory.resolve()
        self._path = neighbour(directory, CLAIM)
        with storage_errors(self._path.parent):
            make_directories(self._path.parent)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            while not self._taken(directory):
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._say_who()

    def _taken(self, directory: Path) -> bool:
        """Lock the file; false where the run that had it has just removed it."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = None
            for _ in range(50):  # it says who it is just after it has locked the file
                if holder := _holder(self._descriptor):
                    break
                time.sleep(0.002)
            os.close(self._descriptor)
            raise CollectionLockedError(
                f"another run is building here{_named(holder)}",
                where=str(directory),
                hint="wait until it has finished, or stop it",
            ) from None
        if _is_at(self._path, self._descriptor):
            return True
        os.close(self._descriptor)
        return False

    def release(self) -> None:
        """Give the claim back; calling it twice is harmless."""
        if self._descriptor >= 0:
            self._path.unlink(missing_ok=True)  # while it is locked: who waits for it looks whether it is still there
        super().release()


def _named(holder: Holder | None) -> str:
    return "" if holder is None else f" (pid {holder.pid}, since {holder.clock})"


def _is_at(path: Path, descriptor: int) -> bool:
    """Return whether the file that is open is the one at the path."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False
