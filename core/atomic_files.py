"""Files and directories that take their names whole: written aside, synced, renamed, and the name synced too.

A directory takes another's place by an exchange of the two names, which Linux and macOS do at once on most file
systems: whoever looks finds the old or the new one. Elsewhere it takes two renames, and a crash between them leaves the
old one under its name aside, from where `recovery` brings it back.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

REPLACED = "replaced"
_CANNOT_EXCHANGE = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV, errno.EPERM}
_TAKEN = {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EISDIR}
_AT_FDCWD = -100
_EXCHANGE = 2  # RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the path into an OSError that does not say which file it is about (a full disk does not)."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        code = error.errno or errno.EIO
        raise OSError(code, error.strerror or os.strerror(code), str(path)) from error


def sync_directory(path: Path) -> None:
    """Make the names in a directory survive a power cut."""
    with naming(path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def neighbour(directory: Path, suffix: str) -> Path:
    """Return a hidden path on the same file system; `directory` may be `.`, end with `..` or be a link."""
    path = directory.resolve()
    return path.parent / f".{path.name}.{suffix}"


def make_directories(path: Path) -> None:
    """Make a directory and those above it that are missing; their names survive a power cut."""
    if path.is_dir():
        return
    make_directories(path.parent)
    path.mkdir(exist_ok=True)
    sync_directory(path.parent)


def sync_tree(directory: Path) -> None:
    """Make all files below a directory, and their names, survive a power cut; links are passed over."""
    for folder, _, names in os.walk(directory):
        for name in names:
            path = Path(folder, name)
            if not path.is_symlink():
                _sync_file(path)
        sync_directory(Path(folder))


def _sync_file(path: Path) -> None:
    with naming(path), path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def replace_file(path: Path, mode: int | None = None) -> Iterator[IO[bytes]]:
    """Yield a binary file that takes its name, and the place of what has it, when the block ends; not where it fails.

    `mode` are its permissions; by default those that any new file has.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".aside", dir=path.parent)
    aside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file, naming(path):
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.chmod(0o666 & ~_umask() if mode is None else mode)
        aside.replace(path)
        sync_directory(path.parent)
    except BaseException:
        with suppress(OSError):
            aside.unlink()
        raise


def write_file(path: Path, content: bytes, mode: int | None = None) -> None:
    """Write a whole file in the place of what has its name; see `replace_file`."""
    with replace_file(path, mode) as file:
        file.write(content)


def move_file(path: Path, destination: Path) -> None:
    """Give a file its name, in the place of what has it, when all of it is on the disk."""
    _sync_file(path)
    path.replace(destination)
    sync_directory(destination.parent)


def move_directory(directory: Path, destination: Path) -> None:
    """Rename a directory in the same folder, for good."""
    directory.rename(destination)
    sync_directory(destination.parent)


def publish_directory(aside: Path, destination: Path) -> None:
    """Give a directory, whose files are on the disk, its name for good.

    Raises:
        FileExistsError: something is there.
    """
    sync_directory(aside)
    try:
        if os.path.lexists(destination):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(destination))
        aside.rename(destination)
    except OSError as error:
        if error.errno in _TAKEN:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(destination)) from error
        raise
    sync_directory(destination.parent)


@contextmanager
def replace_directory(destination: Path, aside: Path | None = None) -> Iterator[Path]:
    """Yield a new directory that takes its name when the block ends; where the block fails, nothing is left of it.

    It is made at `aside`, beside `destination` by default. See `put_directory`.
    """
    aside = neighbour(destination, "aside") if aside is None else aside
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        yield aside
        put_directory(aside, destination)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def put_directory(aside: Path, destination: Path) -> None:
    """Let a directory take the place of the one at `destination`, if any, when all of it is on the disk.

    The old one is removed. The caller keeps others from doing the same (`lock.Claim`).
    `destination` may be a link to a directory.
    """
    target = destination.resolve()
    sync_tree(aside)
    if not target.exists():
        publish_directory(aside, target)
        return
    old = neighbour(target, REPLACED)
    _remove(old)
    if exchange(aside, target):
        sync_directory(target.parent)
        aside.rename(old)
    else:
        target.rename(old)
        aside.rename(target)
        sync_directory(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def exchange(one: Path, other: Path) -> bool:
    """Let two paths change their names at once; false where the system or the file system cannot do that."""
    rename = _exchanging()
    if rename is None or rename(os.fsencode(one), os.fsencode(other)) != 0:
        code = errno.ENOSYS if rename is None else ctypes.get_errno()
        if code in _CANNOT_EXCHANGE:
            return False
        raise OSError(code, os.strerror(code), str(other))
    return True


@cache
def _exchanging() -> Any:
    """Return the system's call that exchanges two names, None where there is none."""
    library = ctypes.CDLL(None, use_errno=True)
    try:
        if sys.platform == "darwin":
            swap = library.renamex_np
            swap.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint]
            return lambda one, other: swap(one, other, _EXCHANGE)
        call = library.renameat2
        call.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    except AttributeError:
        return None
    return lambda one, other: call(_AT_FDCWD, one, _AT_FDCWD, other, _EXCHANGE)


def _remove(directory: Path) -> None:
    if directory.exists():
        shutil.rmtree(directory)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
