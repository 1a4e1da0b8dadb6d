"""Bringing back a collection that a crash left between two renames, for everything that opens or makes collections."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from pathlib import Path

from lexhound.core.atomic_files import REPLACED, move_directory, neighbour
from lexhound.core.disk_errors import storage_errors
from lexhound.core.errors import CollectionLockedError, StorageError
from lexhound.core.lock import Claim
from lexhound.retrieval.errors import RetrievalError

# What runs that were cut short leave beside a collection and nobody goes on with.
_LEFT = (REPLACED, "creating", "importing", "moving", "restoring", "exporting")
# Another process that is between two renames is through with them long before.
_WAIT_SECONDS = 5.0


def recover(directory: Path) -> None:
    """Bring back what a crash has left aside, where nothing is at its place. Costs a look at the file system.

    Raises:
        ReadOnlyError: it cannot be renamed.
    """
    if directory.exists():
        return
    deadline = time.monotonic() + _WAIT_SECONDS
    while neighbour(directory, REPLACED).exists() and not directory.exists():
        try:
            with Claim(directory) as claim:
                recover_claimed(claim)
        except CollectionLockedError:  # by who is about to put the new one there
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def recover_claimed(claim: Claim) -> None:
    """Recover for who has the claim, and remove what was left beside, but not an index that can be gone on with."""
    directory, old = claim.target, neighbour(claim.target, REPLACED)
    with storage_errors(directory):
        if not directory.exists() and old.exists():
            move_directory(old, directory)
    for suffix in _LEFT:
        shutil.rmtree(neighbour(directory, suffix), ignore_errors=True)


def recover_all(folder: Path) -> None:
    """Recover every collection of a folder; what cannot be recovered is left to whoever opens it."""
    for path in folder.glob(f".*.{REPLACED}"):
        with suppress(RetrievalError, StorageError, OSError):
            recover(folder / path.name[1 : -len(f".{REPLACED}")])
