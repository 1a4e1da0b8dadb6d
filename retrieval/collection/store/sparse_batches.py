"""Encoded documents as bytes: the form in which a batch waits in the database for its segment.

Layout, little-endian: magic `LHB1`, u8 value type, 3 zero bytes, u32 rows, u64 entries, u32 CRC of all that follows;
then internal ids i64[rows], row ends u32[rows + 1], term ids u32[entries], values u8 or f32[entries].
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexhound.retrieval.errors import CorruptCollectionError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_HEADER = struct.Struct("<4sB3xIQI")
_MAGIC = b"LHB1"
_VALUE_TYPES: tuple[np.dtype[Any], ...] = (np.dtype("u1"), np.dtype("<f4"))


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Document vectors with their row numbers.

    Attributes:
        internal_ids: int64[n], ascending.
        indptr: uint32[n + 1].
        terms: uint32[entries], ascending within a row.
        values: uint8[entries] (term frequencies) or float32[entries] (weights).
    """

    internal_ids: NDArray[np.int64]
    indptr: NDArray[np.uint32]
    terms: NDArray[np.uint32]
    values: NDArray[np.uint8] | NDArray[np.float32]


def pack(internal_ids: NDArray[np.int64], vectors: csr_array, *, frequencies: bool) -> bytes:
    """Pack vectors (rows x vocabulary); `frequencies` says that the values are counts up to 255."""
    values = np.minimum(vectors.data, 255) if frequencies else vectors.data
    body = b"".join(
        (
            np.ascontiguousarray(internal_ids, "<i8").tobytes(),
            np.ascontiguousarray(vectors.indptr, "<u4").tobytes(),
            np.ascontiguousarray(vectors.indices, "<u4").tobytes(),
            np.ascontiguousarray(values, _VALUE_TYPES[0 if frequencies else 1]).tobytes(),
        )
    )
    header = _HEADER.pack(_MAGIC, 0 if frequencies else 1, len(internal_ids), len(values), zlib.crc32(body))
    return header + body


def unpack(blob: bytes) -> Batch:
    """Read what `pack` wrote.

    Raises:
        CorruptCollectionError: the bytes are not, or no longer, what `pack` wrote.
    """
    try:
        magic, value_type, n_rows, entries, checksum = _HEADER.unpack_from(blob)
        if magic != _MAGIC or zlib.crc32(memoryview(blob)[_HEADER.size :]) != checksum:
            raise ValueError("checksum mismatch")
        types = (np.dtype("<i8"), np.dtype("<u4"), np.dtype("<u4"), _VALUE_TYPES[value_type])
        counts = (n_rows, n_rows + 1, entries, entries)
        if len(blob) != _HEADER.size + sum(d.itemsize * n for d, n in zip(types, counts, strict=True)):
            raise ValueError(f"{len(blob)} bytes for {n_rows} rows and {entries} entries")
        arrays: list[NDArray[Any]] = []
        offset = _HEADER.size
        for dtype, count in zip(types, counts, strict=True):
            arrays.append(np.frombuffer(blob, dtype, count, offset))
            offset += dtype.itemsize * count
    except (struct.error, TypeError, ValueError, IndexError) as error:
        raise CorruptCollectionError(
            f"a batch of encoded documents in the collection's database is damaged ({error})",
            where="documents.sqlite, table batches",
            hint="run `lexhound verify`, restore from a backup or index the corpus again",
        ) from error
    return Batch(*arrays)


def concatenate(batches: list[Batch]) -> Batch:
    """Return one batch of the rows of several, ordered by internal id."""
    if len(batches) == 1:
        return batches[0]
    batches = sorted(batches, key=lambda batch: int(batch.internal_ids[0]) if len(batch.internal_ids) else 0)
    ends = np.cumsum([0] + [len(batch.terms) for batch in batches])
    indptr = np.concatenate(
        [np.zeros(1, np.uint32)]
        + [batch.indptr[1:] + np.uint32(base) for batch, base in zip(batches, ends[:-1], strict=True)]
    )
    return Batch(
        np.concatenate([batch.internal_ids for batch in batches]),
        indptr,
        np.concatenate([batch.terms for batch in batches]),
        np.concatenate([batch.values for batch in batches]),
    )


def take_rows(batch: Batch, order: NDArray[np.int64]) -> Batch:
    """Return the rows of a batch in another order: int64[rows], the number of each."""
    ends = batch.indptr.astype(np.int64)
    starts, lengths = ends[:-1][order], (ends[1:] - ends[:-1])[order]
    indptr = np.zeros(len(order) + 1, np.int64)
    np.cumsum(lengths, out=indptr[1:])
    entries = np.repeat(starts - indptr[:-1], lengths) + np.arange(indptr[-1])
    return Batch(batch.internal_ids[order], indptr.astype(np.uint32), batch.terms[entries], batch.values[entries])


def keep_rows(batch: Batch, keep: NDArray[np.bool_]) -> Batch:
    """Return the rows of a batch where `keep` (bool, one a row) is true."""
    if keep.all():
        return batch
    ends = batch.indptr.astype(np.int64)
    lengths = ends[1:] - ends[:-1]
    entries = np.repeat(keep, lengths)
    indptr = np.zeros(int(keep.sum()) + 1, np.uint32)
    np.cumsum(lengths[keep], out=indptr[1:])
    return Batch(batch.internal_ids[keep], indptr, batch.terms[entries], batch.values[entries])
