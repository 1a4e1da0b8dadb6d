"""Slow results kept on disk: what a teacher says of texts is computed once, and a run that was killed goes on.

Rows are kept in shards of so many texts. A shard's file is named by a hash of its texts and of everything else that its
rows depend on, so a file is either right or not asked for: changing some texts computes their shards again and leaves
the others, and nothing needs to be thrown away by hand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lexhound.core.atomic_files import make_directories, replace_file
from lexhound.encoders.errors import EncoderError

SHARD = 2048
"""Texts a shard: a minute or so of a small model on two cores, which is what a killed run loses at most."""

Progress = Callable[[int, int], None]
"""Called with how many items are done, and how many there are."""

Item = TypeVar("Item", str, tuple[str, str])


def in_shards(
    items: Sequence[Item],
    compute: Callable[[Sequence[Item]], NDArray[np.float32]],
    *,
    depends_on: str,
    cache: Path | None,
    shard: int = SHARD,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Return `compute(items)`, computed shard by shard, or read where `cache` has the shard already.

    Args:
        items: texts, or pairs of texts.
        compute: items -> float32[len(items), ...]; a row must depend on nothing but its item. Asked for no items, it
            returns an array without rows.
        depends_on: a text that says what else the rows depend on: the model, its settings.
        cache: the folder of the shards, made if need be; None keeps nothing.
        shard: items a file.
        progress: told after every shard.

    Raises:
        EncoderError: the folder cannot be written to.
    """
    parts = []
    for start in range(0, len(items), shard):
        shard_items = items[start : start + shard]
        path = None if cache is None else cache / f"{_name(shard_items, depends_on)}.npy"
        rows = None if path is None else _read(path, len(shard_items))
        if rows is None:
            rows = compute(shard_items)
            if path is not None:
                _write(path, rows)
        parts.append(rows)
        if progress is not None:
            progress(start + len(shard_items), len(items))
    return np.concatenate(parts) if parts else compute(items)


def _name(items: Sequence[Item], depends_on: str) -> str:
    total = hashlib.sha256()
    parts = [depends_on]
    for item in items:
        parts += [item] if isinstance(item, str) else item
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        total.update(len(encoded).to_bytes(8, "little"))
        total.update(encoded)
    return total.hexdigest()[:40]


def _read(path: Path, rows: int) -> NDArray[np.float32] | None:
    """Return a shard, or None where there is none that is whole."""
    try:
        rows_read = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return rows_read if rows_read.dtype == np.float32 and rows_read.ndim and len(rows_read) == rows else None


def _write(path: Path, rows: NDArray[np.float32]) -> None:
    """Write aside and rename, so that a crash leaves a whole shard or none."""
    try:
        make_directories(path.parent)
        with replace_file(path) as file:
            np.save(file, rows, allow_pickle=False)
    except OSError as error:
        raise EncoderError(
            f"teacher results cannot be kept in {path.parent}: {error.strerror or error}",
            "Free some space, or give another folder",
        ) from error
