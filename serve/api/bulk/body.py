"""Documents out of a body that comes in pieces: NDJSON, or a JSON array of any length.

Neither is ever held as a whole: what is kept is the document that is being read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import orjson

from lexhound.core.strict_json import json_fault, parse_json
from lexhound.retrieval.corpus.rows import FieldNames, document_from_row
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.errors import InvalidDocumentError
from lexhound.serve.api.http.exceptions import RequestError

# Rows are read as `lexhound add` reads them.
_NAMES = FieldNames()
_BLANK = b" \t\r\n"
# What matters to where an element of an array ends.
_OUTSIDE = re.compile(rb'["\[\]{},]')
_IN_STRING = re.compile(rb'["\\]')
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
        elif line := bytes(self._rest).strip(_BLANK):
            yield line
        self._rest.clear()
        self._skipping = False


class Elements:
    """The elements of one JSON array. Finds where they end; whether each is JSON is found when it is parsed."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = bytearray()  # the open element
        self._searched = 0  # how much of it has been looked at
        self._inside = False  # a string
        self._depth = 0
        self._skipping = False
        self._count = 0
        self._ended = False
        self._expected = False  # whether a comma has announced an element

    def feed(self, piece: bytes) -> Iterator[bytes | None]:
        """Yield the elements that end in this piece.

        Raises:
            RequestError: the body is no array; the elements before that have been given.
        """
        self._rest += piece
        while match := (_IN_STRING if self._inside else _OUTSIDE).search(self._rest, self._searched):
            token = match.group()
            if token == b"\\":
                if match.end() == len(self._rest):  # what it escapes has not come yet
                    self._searched = match.start()
                    break
                self._searched = match.end() + 1
                continue
            self._searched = match.end()
            if token == b'"':
                if self._depth == 0:
                    raise self._no_array()
                self._inside = not self._inside
            else:
                yield from self._bracket(token, match.start())
        else:
            self._searched = len(self._rest)
        if self._depth == 0:
            self._outside(self._rest)
        if len(self._rest) > self._limit:
            self._skipping = True
            self._cut()

    def _bracket(self, token: bytes, start: int) -> Iterator[bytes | None]:
        if self._depth == 0:
            self._outside(self._rest[:start])
            if token != b"[" or self._ended:
                raise self._no_array()
            self._depth = 1
            self._cut()
        elif token in b"[{":
            self._depth += 1
        elif token in b"]}":
            self._depth -= 1
            if self._depth == 0:
                if token != b"]":
                    raise self._no_array()
                self._ended = True
                yield from self._element(start)
        elif self._depth == 1:
            yield from self._element(start)

    def _element(self, end: int) -> Iterator[bytes | None]:
        element = bytes(self._rest[:end]).strip(_BLANK)
        skipped, expected = self._skipping or len(element) > self._limit, self._expected
        self._skipping, self._expected = False, not self._ended
        self._cut()
        if skipped or element:
            self._count += 1
            yield None if skipped else element
        elif expected or not self._ended:
            raise RequestError(
                f"the array has a comma with no document beside it, after document {self._count}",
                where=f"body[{self._count}]",
                hint="the documents before that are stored",
            )

    def _cut(self) -> None:
        del self._rest[: self._searched]
        self._searched = 0

    def _outside(self, text: bytes | bytearray) -> None:
        if text.strip(_BLANK):
            raise self._no_array()

    def _no_array(self) -> RequestError:
        return RequestError(
            "the body is not one JSON array",
            where="body",
            hint=f"send [{{...}}, {{...}}], or a document a line as application/x-ndjson; {_HINT}"
            + (f"; the first {self._count:,} documents are stored" if self._count else ""),
            code="not_json",
        )

    def end(self) -> Iterator[bytes | None]:
        """Do nothing: an array says itself where it ends.

        Raises:
            RequestError: it has not.
        """
        if not self._ended:
            if not self._depth:
                raise self._no_array()
            raise RequestError(
                f"the array breaks off after document {self._count}",
                where="body",
                hint="the documents before that are stored",
                code="not_json",
            )
        yield from ()


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
