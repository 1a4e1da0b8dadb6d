"""The table of passages: which stretches of a document its rows are of, and whether encoders left out a part of it.

A document that is split has a row of the index for each of its passages. Their numbers follow each other: the first is
the document's own `seq`, and no other document has the next ones. The table has a row for each document that is split
or cut; the others are whole. Collections of formats before 5 have no such table, and no such documents.

`spans` is a blob, little-endian: u32 CRC-32 of what follows and of `seq` and `cut`; then u32 begin and u32 end of each
passage, in characters of the text.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from lexhound.retrieval.documents.splitting import Span
from lexhound.retrieval.errors import CorruptCollectionError

from .schema import DATABASE
from .sql import select_in

TABLE = "passages"
CREATE = "CREATE TABLE passages(seq INTEGER PRIMARY KEY, spans BLOB NOT NULL, cut INTEGER NOT NULL);"

_CHECKSUM_BYTES = 4
_SPAN_BYTES = 8
_COUNT = f"(length(spans) - {_CHECKSUM_BYTES}) / {_SPAN_BYTES}"
# Rows of an index hold it as uint32.
MOST_PASSAGES = 2**32 - 1


def has_passages(connection: sqlite3.Connection) -> bool:
    """Return whether a collection has the table."""
    row = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (TABLE,)).fetchone()
    return row is not None


def write_spans(connection: sqlite3.Connection, rows: Iterable[tuple[int, Sequence[Span], bool]]) -> None:
    """Store the passages of documents (inside a transaction): (seq, spans, cut) of each that is split or cut."""
    connection.executemany(
        "INSERT INTO passages(seq, spans, cut) VALUES (?, ?, ?)",
        ((seq, _packed(seq, spans, cut), int(cut)) for seq, spans, cut in rows),
    )


def read_spans(connection: sqlite3.Connection, documents: Sequence[int]) -> dict[int, NDArray[np.uint32]]:
    """Return the spans, uint32[passages, 2], of those of some documents that are split, by their `seq`.

    Raises:
        CorruptCollectionError: they are not what was written.
    """
    if not has_passages(connection):
        return {}
    found = {}
    for seq, blob, cut in select_in(
        connection, "SELECT seq, spans, cut FROM passages WHERE seq IN (?)", list(documents)
    ):
        spans = _unpacked(seq, blob, cut)
        if len(spans):
            found[seq] = spans
    return found


def read_cut(connection: sqlite3.Connection, documents: Sequence[int]) -> set[int]:
    """Return those of some documents, by their `seq`, of which encoders left out a part."""
    if not has_passages(connection):
        return set()
    query = "SELECT seq FROM passages WHERE cut AND seq IN (?)"
    return {seq for (seq,) in select_in(connection, query, list(documents))}


def damaged_spans(connection: sqlite3.Connection) -> Iterator[CorruptCollectionError]:
    """Yield what is wrong with which row of the table."""
    if has_passages(connection):
        for seq, blob, cut in connection.execute("SELECT seq, spans, cut FROM passages"):
            try:
                _unpacked(seq, blob, cut)
            except CorruptCollectionError as error:
                yield error


def rows_of(connection: sqlite3.Connection, documents: Sequence[int]) -> list[int]:
    """Return the numbers of all rows that an index has of some documents: themselves, and their further passages."""
    if not documents or not has_passages(connection):
        return list(documents)
    query = f"SELECT seq, {_COUNT} FROM passages WHERE seq IN (?)"
    counts = dict(select_in(connection, query, list(documents)))
    return [row for seq in documents for row in range(seq, seq + max(1, counts.get(seq, 1)))]


def forget_spans(connection: sqlite3.Connection, documents: Sequence[int]) -> None:
    """Remove what the table holds of some documents (inside a transaction)."""
    if documents and has_passages(connection):
        connection.executemany("DELETE FROM passages WHERE seq = ?", ((seq,) for seq in documents))


def numbers_of(connection: sqlite3.Connection, internal_ids: NDArray[np.int64]) -> NDArray[np.uint32] | None:
    """Return the number of each row among the passages of its document, from 0; None where all documents are whole.

    `internal_ids` are ascending and of documents that are there, from the first of their passages on.
    """
    if not len(internal_ids) or not has_passages(connection):
        return None
    found = connection.execute(
        f"SELECT seq, {_COUNT} AS passages FROM passages WHERE seq BETWEEN ? AND ? AND passages > 1 ORDER BY seq",
        (int(internal_ids[0]), int(internal_ids[-1])),
    ).fetchall()
    if not found:
        return None
    heads, counts = np.array(found, np.int64).T
    at = np.searchsorted(heads, internal_ids, side="right") - 1
    offsets = internal_ids - heads[np.maximum(at, 0)]
    inside = (at >= 0) & (offsets < counts[np.maximum(at, 0)])
    return np.where(inside, offsets, 0).astype(np.uint32)


def count_split(
    connection: sqlite3.Connection, where: str = "run NOT IN (SELECT run FROM runs)"
) -> tuple[int, int, int]:
    """Return how many visible documents are split, into how many passages, and how many are cut; `where` chooses others
    by columns of `rows`.
    """
    if not has_passages(connection):
        return 0, 0, 0
    split, passages, cut = connection.execute(
        f"SELECT total({_COUNT} > 1), total(iif({_COUNT} > 1, {_COUNT}, 0)), total(cut)"
        f" FROM passages JOIN rows USING (seq) WHERE {where}"
    ).fetchone()
    return int(split), int(passages), int(cut)


def _packed(seq: int, spans: Sequence[Span], cut: bool) -> bytes:
    body = np.array(spans, "<u4").tobytes()
    return _checksum(seq, body, int(cut)).to_bytes(_CHECKSUM_BYTES, "little") + body


def _unpacked(seq: int, blob: object, cut: object) -> NDArray[np.uint32]:
    if isinstance(blob, bytes) and len(blob) % _SPAN_BYTES == _CHECKSUM_BYTES and cut in (0, 1):
        body = blob[_CHECKSUM_BYTES:]
        if int.from_bytes(blob[:_CHECKSUM_BYTES], "little") == _checksum(seq, body, int(cut)):
            return np.frombuffer(body, "<u4").reshape(-1, 2)
    raise CorruptCollectionError(
        f"the passages of row {seq} are damaged",
        where=f"{DATABASE}, table passages",
        hint="put the document in again, delete it, or restore the collection from a backup",
    )


def _checksum(seq: int, body: bytes, cut: int) -> int:
    return zlib.crc32(body, zlib.crc32(f"{seq}:{cut}:".encode()))
