"""The table of token vectors: what late interaction reads of a row of the index (`lexhound.encoders.late`).

Of collections that are made with them. They are payload, not an index: a search reads those of the rows that it
reranks, by number, and never all. So they stand in the database beside texts, come and go in the same transactions, and
no merge of segments copies them.

`vectors` is a blob, little-endian: u32 CRC-32 of what follows and of `seq`; u32 number of vectors n; float32 scale of
each; then int8 values, n times the width.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.late.vectors import TokenVectors
from lexhound.retrieval.errors import CorruptCollectionError

from .schema import DATABASE
from .sql import select_in

TABLE = "token_vectors"
CREATE = "CREATE TABLE token_vectors(seq INTEGER PRIMARY KEY, vectors BLOB NOT NULL);"

_HEADER_BYTES = 8


def has_token_vectors(connection: sqlite3.Connection) -> bool:
    """Return whether a collection has the table."""
    row = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (TABLE,)).fetchone()
    return row is not None


def write_token_vectors(
    connection: sqlite3.Connection, internal_ids: NDArray[np.int64], texts: Sequence[TokenVectors]
) -> None:
    """Store the vectors of rows (inside a transaction)."""
    connection.executemany(
        "INSERT INTO token_vectors(seq, vectors) VALUES (?, ?)",
        ((seq, _packed(seq, text)) for seq, text in zip(internal_ids.tolist(), texts, strict=True)),
    )


def read_token_vectors(connection: sqlite3.Connection, rows: Sequence[int]) -> dict[int, TokenVectors]:
    """Return the vectors of those rows that have a place in the table, by number.

    Raises:
        CorruptCollectionError: they are not what was written.
    """
    query = "SELECT seq, vectors FROM token_vectors WHERE seq IN (?)"
    return {seq: _unpacked(seq, blob) for seq, blob in select_in(connection, query, list(rows))}


def forget_token_vectors(connection: sqlite3.Connection, rows: Sequence[int]) -> None:
    """Remove what the table holds of some rows (inside a transaction)."""
    if rows and has_token_vectors(connection):
        connection.executemany("DELETE FROM token_vectors WHERE seq = ?", ((row,) for row in rows))


def damaged_token_vectors(connection: sqlite3.Connection) -> Iterator[CorruptCollectionError]:
    """Read all of the table; yield what is wrong with which row."""
    if has_token_vectors(connection):
        for seq, blob in connection.execute("SELECT seq, vectors FROM token_vectors"):
            try:
                _unpacked(seq, blob)
            except CorruptCollectionError as error:
                yield error


def rows_with_token_vectors(connection: sqlite3.Connection) -> NDArray[np.int64]:
    """Return the numbers of all rows in the table, int64, ascending."""
    cursor = connection.execute("SELECT seq FROM token_vectors ORDER BY seq")
    return np.fromiter((seq for (seq,) in cursor), np.int64)


def size_of_token_vectors(connection: sqlite3.Connection) -> int:
    """Return the bytes of all rows of the table."""
    return int(connection.execute("SELECT total(length(vectors)) FROM token_vectors").fetchone()[0])


def _packed(seq: int, text: TokenVectors) -> bytes:
    count = len(text.scales).to_bytes(4, "little")
    body = count + text.scales.astype("<f4").tobytes() + text.values.tobytes()
    return _checksum(seq, body).to_bytes(4, "little") + body


def _unpacked(seq: int, blob: object) -> TokenVectors:
    stored = blob if isinstance(blob, bytes) and len(blob) >= _HEADER_BYTES else b""
    if stored and int.from_bytes(stored[:4], "little") == _checksum(seq, stored[4:]):
        count = int.from_bytes(stored[4:_HEADER_BYTES], "little")
        scales = np.frombuffer(stored, "<f4", count, _HEADER_BYTES)
        values = np.frombuffer(stored, np.int8, offset=_HEADER_BYTES + 4 * count)
        return TokenVectors(values.reshape(count, -1) if count else values.reshape(0, 0), scales)
    raise CorruptCollectionError(
        f"the token vectors of row {seq} are damaged",
        where=f"{DATABASE}, table {TABLE}",
        hint="put the document in again, delete it, or restore the collection from a backup",
    )


def _checksum(seq: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(f"{seq}:".encode()))
