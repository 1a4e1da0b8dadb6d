"""Documents out of a body that comes in pieces: NDJSON, or a JSON array of any length.

Neither is ever held as a whole: what is kept is the document that is being read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import orjson

from lexhound.core.json_arrays import BLANK, ArrayError, ArraySplitter
from lexhound.core.strict_json import json_fault, parse_json
from lexhound.retrieval.corpus.rows import FieldNames, document_from_row
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.errors import InvalidDocumentError
from lexhound.serve.api.http.exceptions import RequestError

# Rows are read as `lexhound add` reads them.
_NAMES = FieldNames()
_HINT = 'a document is an object such as {"id": "1", "text": "..."}'


@dataclass(frozen=True, slots=True)
class Rejected:
    """A document that cannot be stored: its id where it has one, and why."""

    id: str | None
    code: str
    message: str
    hint: str | None


class Splitter(Protocol):
    """A splitter of a body's pieces into the documents in them, as JSON; None for one that is too long."""

    def feed(self, piece: bytes) -> Iterator[bytes | None]:
        """Return the documents that end in this piece."""

    def end(self) -> Iterator[bytes | None]:
        """Return what was still open when the body ended."""


class Lines:
    """NDJSON: a document a line; blank lines are passed over."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._skipping = False

    def feed(self, piece: bytes) -> Iterator[bytes | None]:
        """Yield the lines that end in this piece."""
        start = 0
        while (end := piece.find(b"\n", start)) >= 0:
            self._keep(piece[start:end])
            start = end + 1
            yield from self.end()
        self._keep(piece[start:])

    def _keep(self, part: bytes) -> None:
        if not self._skipping:
            self._rest += part
            if len(self._rest) > self._limit:
                self._skipping = True
                self._rest.clear()

    def end(self) -> Iterator[bytes | None]:
        """Yield the line that is open."""
        if self._skipping:
            yield None
        elif line := bytes(self._rest).strip(BLANK):
            yield line
        self._rest.clear()
        self._skipping = False


class Elements:
    """The elements of one JSON array."""

    def __init__(self, limit: int) -> None:
        self._splitter = ArraySplitter(limit)

    def feed(self, piece: bytes) -> Iterator[bytes | None]:
        """Yield the elements that end in this piece.

        Raises:
            RequestError: the body is no array; the elements before that have been given.
        """
        try:
            for element in self._splitter.feed(piece):
                yield element.json
        except ArrayError as error:
            raise _refusal(error) from error

    def end(self) -> Iterator[bytes | None]:
        """Do nothing: an array says itself where it ends.

        Raises:
            RequestError: it has not.
        """
        try:
            self._splitter.end()
        except ArrayError as error:
            raise _refusal(error) from error
        yield from ()


def _refusal(error: ArrayError) -> RequestError:
    if error.fault == "comma":
        return RequestError(
            f"the array has a comma with no document beside it, after document {error.count}",
            where=f"body[{error.count}]",
            hint="the documents before that are stored",
        )
    if error.fault == "breaks off":
        return RequestError(
            f"the array breaks off after document {error.count}",
            where="body",
            hint="the documents before that are stored",
            code="not_json",
        )
    return RequestError(
        "the body is not one JSON array",
        where="body",
        hint=f"send [{{...}}, {{...}}], or a document a line as application/x-ndjson; {_HINT}"
        + (f"; the first {error.count:,} documents are stored" if error.count else ""),
        code="not_json",
    )


def parse_document(line: bytes | None, limit: int) -> Document | Rejected:
    """Return the document that a piece of JSON holds, or why it holds none."""
    if line is None:
        return Rejected(None, "too_large", f"the document has more than {limit:,} bytes", "split it into passages")
    try:
        values = parse_json(line)
    except orjson.JSONDecodeError as error:
        return Rejected(None, "not_json", json_fault(error), _HINT)
    if not isinstance(values, dict):
        return Rejected(None, "invalid_document", "not an object", _HINT)
    identifier = next((values[name] for name in _NAMES.id if values.get(name) is not None), None)
    shown = identifier if isinstance(identifier, str) else None
    try:
        if not isinstance(values.get("metadata", {}), dict):  # in a file it may be any field, here it has a schema
            raise InvalidDocumentError("metadata must be an object", hint=_HINT)
        return document_from_row(values, _NAMES, nameable=False)
    except InvalidDocumentError as error:
        return Rejected(shown, "invalid_document", error.message, error.hint or _HINT)
