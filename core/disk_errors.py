"""Errors of a failing disk, as a user reads them."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lexhound.core.errors import ReadOnlyError, StorageFullError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the system says where there is no room for what is written."""
_REFUSED = {errno.EROFS, errno.EACCES, errno.EPERM}


def full(where: object) -> StorageFullError:
    """Return the error of a disk that is full."""
    return StorageFullError(
        "the disk is full",
        where=str(where),
        hint="free some space and run the same command again; nothing that was acknowledged is lost",
    )


@contextmanager
def storage_errors(directory: Path) -> Iterator[None]:
    """Turn a full or read-only disk into one clear error; other system errors pass through.

    Raises:
        StorageFullError, ReadOnlyError
    """
    try:
        yield
    except OSError as error:
        where = str(error.filename or directory)
        if error.errno in FULL:
            raise full(where) from error
        if error.errno in _REFUSED:
            raise ReadOnlyError(
                f"cannot be written ({error.strerror})",
                where=where,
                hint="check the permissions of the directory",
            ) from error
        raise
