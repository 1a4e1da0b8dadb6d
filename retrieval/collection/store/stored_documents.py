"""The hash of a stored document, and reading one back: its true words, or an error that names it.

`rows.hash` holds 16 bytes: a hash of title, text, metadata and, where the document brought one, its vector, by which a
document that is put in again is known as unchanged; and a checksum of that hash, title, text, metadata and id, which
can be made anew from what is stored. Rows of earlier versions hold the first of the two as an integer: it serves as a
checksum, too, where no document brings a vector.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.documents.encoded_document import EncodedDocument
from lexhound.retrieval.errors import CorruptCollectionError, InvalidDocumentError

from .schema import DATABASE

StoredRow: TypeAlias = tuple[int, str, str, str, str | None, bytes | int]
"""seq, id, title, text, metadata and hash, as the columns hold them."""

COLUMNS = "seq, id, title, text, metadata, hash"
"""Of `StoredRow`, to be selected from `STORED`."""
STORED = "rows LEFT JOIN contents USING (seq)"

ROWS_AT_ONCE = 512
"""Rows read together."""

_HASH_BYTES = 8
_MODE = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS


def content_hash(document: Document) -> int:
    """Return a signed 64-bit hash of everything a document holds but its id, a vector included; equal contents, equal
    hash.
    """
    return _number(_hash(document, _content(document)))


def stored_hash(document: Document) -> bytes:
    """Return what `rows.hash` holds of a document: `content_hash` and the checksum."""
    content = _content(document)
    first = _hash(document, content)
    return first + _checksum(content, first, document.id)


def hash_of(stored: bytes | int) -> int:
    """Return the `content_hash` in a `rows.hash`, of this or an earlier version."""
    return _number(stored[:_HASH_BYTES]) if isinstance(stored, bytes) else stored


def document_of(row: StoredRow, *, exact: bool) -> Document:
    """Return the document of a row, compared with its hash.

    `exact`: a hash of earlier versions is of contents alone, as no document of the collection brings a vector.

    Raises:
        CorruptCollectionError: it is not what was written; names the document.
    """
    seq, identifier, title, text, metadata, stored = row
    try:
        document = Document(identifier, text, title, _values(metadata))
        if is_whole(document, stored, exact=exact):
            return document
        reason = "it does not match its checksum"
    except (orjson.JSONDecodeError, InvalidDocumentError) as error:
        reason = str(getattr(error, "message", error))
    raise damaged_document(seq, identifier, "its contents are missing" if text is None else reason)


def digested_document(
    columns: tuple[str, str, str, str | None], digest: int, vector: tuple[NDArray[np.int32], NDArray[np.float32]]
) -> Document:
    """Return a document of id, title, text and metadata as another store keeps them, with its `content_hash` and its
    vector.

    Raises:
        CorruptCollectionError: it is not what was written, with that vector or without; names the document.
    """
    identifier, title, text, metadata = columns
    reason = "it does not match its checksum"
    try:
        document = Document(identifier, text, title, _values(metadata))
        if digest in (content_hash(document), content_hash(EncodedDocument(document, vector))):
            return document
    except (orjson.JSONDecodeError, InvalidDocumentError) as error:
        reason = str(getattr(error, "message", error))
    raise _damaged_document(identifier, reason, None)


def is_whole(document: Document, stored: object, *, exact: bool) -> bool:
    """Return whether a document that was read is the one that a `rows.hash` was made of."""
    content = _content(document)
    if isinstance(stored, bytes):
        first = stored[:_HASH_BYTES]
        return stored[_HASH_BYTES:] == _checksum(content, first, document.id)
    if not isinstance(stored, int):
        return False
    return not exact or stored == _number(_digest(content).digest())


def read_rows(connection: sqlite3.Connection, internal_ids: Sequence[int]) -> list[StoredRow]:
    """Return the rows of some numbers, at most some hundred, in no order; contents that are missing are None.

    Raises:
        CorruptCollectionError: one cannot be read; names it.
    """
    marks = ",".join("?" * len(internal_ids))
    try:
        return connection.execute(f"SELECT {COLUMNS} FROM {STORED} WHERE seq IN ({marks})", internal_ids).fetchall()
    except CorruptCollectionError:
        if len(internal_ids) == 1:
            raise damaged_document(internal_ids[0], _id_of(connection, internal_ids[0]), "it cannot be read") from None
        for seq in internal_ids:  # one of them raises, and is named
            read_rows(connection, [seq])
        raise


def damaged_rows(
    connection: sqlite3.Connection, internal_ids: Sequence[int], *, exact: bool
) -> dict[int, CorruptCollectionError]:
    """Return those rows of some numbers whose documents are not what was written, and what is wrong; see
    `document_of`.
    """
    damaged: dict[int, CorruptCollectionError] = {}
    for start in range(0, len(internal_ids), ROWS_AT_ONCE):
        chunk = list(internal_ids[start : start + ROWS_AT_ONCE])
        try:
            for row in read_rows(connection, chunk):
                try:
                    document_of(row, exact=exact)
                except CorruptCollectionError as error:
                    damaged[row[0]] = error
        except CorruptCollectionError as error:
            if len(chunk) == 1:
                damaged[chunk[0]] = error
            else:
                for seq in chunk:
                    damaged |= damaged_rows(connection, [seq], exact=exact)
    return damaged


def damaged_document(seq: int, identifier: object, reason: str) -> CorruptCollectionError:
    """Return what is raised for a document that is not what was written; `identifier` may be damaged, too."""
    return _damaged_document(identifier, reason, f"{DATABASE}, row {seq}")


def _damaged_document(identifier: object, reason: str, where: str | None) -> CorruptCollectionError:
    name = f"document {identifier!a}" if isinstance(identifier, str) else "a document"
    error = CorruptCollectionError(
        f"{name} is damaged: {reason}",
        where=where,
        hint="put the document in again, delete it, or restore the collection from a backup",
    )
    error.document = identifier if isinstance(identifier, str) else None
    return error


def _id_of(connection: sqlite3.Connection, seq: int) -> object:
    try:
        row = connection.execute("SELECT id FROM rows WHERE seq = ?", (seq,)).fetchone()
    except CorruptCollectionError:
        return None
    return None if row is None else row[0]


def _values(metadata: object) -> dict[str, Any]:
    if metadata is None:
        return {}
    if not isinstance(metadata, str):
        raise InvalidDocumentError("its metadata is not text")
    values: dict[str, Any] = orjson.loads(metadata)
    return values


def _content(document: Document) -> bytes:
    return orjson.dumps([document.title, document.text, document.metadata], option=_MODE)


def _digest(content: bytes) -> hashlib.blake2b:
    return hashlib.blake2b(content, digest_size=_HASH_BYTES)


def _hash(document: Document, content: bytes) -> bytes:
    digest = _digest(content)
    if isinstance(document, EncodedDocument):
        digest.update(document.terms.tobytes() + document.weights.tobytes())
    return digest.digest()


def _checksum(content: bytes, first: bytes, identifier: str) -> bytes:
    digest = _digest(content)
    digest.update(first + identifier.encode())
    return digest.digest()


def _number(digest: bytes) -> int:
    return int.from_bytes(digest, "little", signed=True)
