"""Encoded documents of a dense model as bytes: the form in which a batch waits in the database for its segment.

Layout, little-endian: magic `LHD1`, u32 rows, u32 width, u32 CRC of all that follows; then internal ids i64[rows],
vectors f32[rows, width].
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexhound.retrieval.errors import CorruptCollectionError

_HEADER = struct.Struct("<4sIII")
_MAGIC = b"LHD1"


@dataclass(frozen=True, slots=True, eq=False)
class DenseBatch:
    """Document vectors with their row numbers: internal ids int64[n], ascending; vectors float32[n, width]."""

    internal_ids: NDArray[np.int64]
    vectors: NDArray[np.float32]


def pack_dense(internal_ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> bytes:
    """Pack vectors, a row a document."""
    body = np.ascontiguousarray(internal_ids, "<i8").tobytes() + np.ascontiguousarray(vectors, "<f4").tobytes()
    return _HEADER.pack(_MAGIC, len(internal_ids), vectors.shape[1], zlib.crc32(body)) + body


def unpack_dense(blob: bytes | None, width: int) -> DenseBatch:
    """Read what `pack_dense` wrote.

    Raises:
        CorruptCollectionError: the bytes are missing, of another width, or no longer what `pack_dense` wrote.
    """
    try:
        if blob is None:
            raise ValueError("they are missing")
        magic, n_rows, stored_width, checksum = _HEADER.unpack_from(blob)
        if magic != _MAGIC or zlib.crc32(memoryview(blob)[_HEADER.size :]) != checksum:
            raise ValueError("checksum mismatch")
        if stored_width != width:
            raise ValueError(f"they are {stored_width} wide and not {width}")
        if len(blob) != _HEADER.size + n_rows * (8 + 4 * width):
            raise ValueError(f"{len(blob)} bytes for {n_rows} rows")
        internal_ids = np.frombuffer(blob, "<i8", n_rows, _HEADER.size)
        vectors = np.frombuffer(blob, "<f4", n_rows * width, _HEADER.size + 8 * n_rows)
    except (struct.error, TypeError, ValueError) as error:
        raise CorruptCollectionError(
            f"dense vectors of a batch in the collection's database are damaged ({error})",
            where="documents.sqlite, table batches",
            hint="run `lexhound verify`, restore from a backup or index the corpus again",
        ) from error
    return DenseBatch(internal_ids, vectors.reshape(n_rows, width))


def concatenate_dense(batches: list[DenseBatch]) -> DenseBatch:
    """Return one batch of the rows of several, ordered by internal id."""
    if len(batches) == 1:
        return batches[0]
    ordered = sorted(batches, key=lambda batch: int(batch.internal_ids[0]) if len(batch.internal_ids) else 0)
    return DenseBatch(
        np.concatenate([batch.internal_ids for batch in ordered]), np.concatenate([batch.vectors for batch in ordered])
    )
