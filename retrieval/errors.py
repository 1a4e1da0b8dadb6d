"""What can go wrong with documents, corpora, filters, queries and collections.

    RetrievalError
    ├── InvalidDocumentError      a document breaks one of the rules for ids, texts or metadata
    ├── CorpusError               a corpus as a whole cannot be read: missing, unknown format, damaged, empty
    │   ├── OfficeError           a PDF or Word file cannot be read
    │   └── BadRowError           one row cannot become a document, and the ingest job stops at bad rows
    ├── QueryError                a search request is wrong in itself (negative k, over-long query)
    │   ├── FilterSyntaxError     a filter expression does not follow the filter grammar
    │   ├── UnknownFieldError     a filter or facet names a field, or a kind of value of it, that no document has
    │   └── TenantError           a tenant is no name of one, or one is given where there are none
    │       ├── TenantRequiredError a request names no tenant, and the collection answers nothing without
    │       └── UnknownTenantError no document of the collection is of the tenant
    ├── DeadlineError             the work was given up: its time is over, or nobody waits for it any more
    ├── EngineError               another search engine, behind an address, did not do what was asked
    │   ├── UnknownAddressError   an address names no engine that Lexhound knows
    │   ├── UnsupportedError      the engine cannot do this at all, and nothing else is done in its place
    │   ├── MissingEngineError    the package that talks to the engine is not installed
    │   └── EngineUnreachableError the engine does not answer
    ├── ClusterError              a Ray cluster does not answer, or does not do what it was given
    ├── ExportError               a collection cannot be written for another engine, or an export not be read
    ├── AliasError                an alias cannot be what it is to be: no name, a collection's name
    │   └── UnknownAliasError     an alias, or the collection that it is to lead to, is not there
    └── CollectionError           a collection on disk cannot be used as asked
        ├── NotACollectionError   the path holds no collection
        ├── CollectionExistsError the path already holds something, where a new collection was to be made
        ├── NewerFormatError      a later version of Lexhound wrote the collection
        ├── CorruptCollectionError a file of the collection is damaged or missing
        ├── DenseIndexError       its dense vectors cannot be indexed in the way that was asked for
        ├── StaleSnapshotError    what a snapshot saw is no longer kept: move on to the newest state
        └── UnfinishedRunError    an ingest job was interrupted and has to be resumed or dropped first

A disk that is full or read-only, and a collection that another process holds, are told by the errors of `core.errors`.
"""

from __future__ import annotations

import unicodedata
from typing import ClassVar

from lexhound.core.errors import FAILED, USAGE, LexhoundError, PublicText, as_sentence

_EXCERPT_CHARACTERS = 72


class RetrievalError(LexhoundError):
    """Root of the errors of documents, corpora, queries, engines and collections."""


class InvalidDocumentError(RetrievalError):
    """Raised where a document is made from an id, text, title or metadata that Lexhound does not accept."""

    http_status = 400


class CorpusError(RetrievalError):
    """Raised when a corpus is missing, unreadable, damaged, empty or of no known format."""

    http_status = 400


class OfficeError(CorpusError):
    """Raised where a PDF or Word file cannot be read."""


class BadRowError(CorpusError):
    """Raised when a row of a corpus cannot become a document and the ingest job is to stop at the first such row."""


class QueryError(RetrievalError):
    """Raised when a search request is wrong in itself: a negative k, an over-long query."""

    exit_code = USAGE
    http_status = 400


class FilterSyntaxError(QueryError):
    """Raised when a filter expression cannot be parsed; shows it with a caret under the character.

    `text` is the expression, `position` the 0-based character at which it stops making sense (`len(text)` for
    an expression that ends too early), `reason` the message without the picture.
    """

    def __init__(self, reason: str, text: str, position: int, *, hint: str | None = None) -> None:
        picture = _point_at(text, position)
        super().__init__(f"filter, character {position + 1}: {reason}\n{picture}", hint=hint)
        self.reason = reason
        self.text = text
        self.position = position

    def __str__(self) -> str:
        return f"{self.message}\n{as_sentence(self.hint)}" if self.hint else self.message


class UnknownFieldError(QueryError):
    """Raised when a filter or facet names a field that no document has, or a filter a kind of value it never has."""


class TenantError(QueryError):
    """Raised when a tenant is no name of one, or when one is given to a collection that has no tenants."""


class TenantRequiredError(TenantError):
    """Raised when a request names no tenant, and the collection answers nothing without one."""


class UnknownTenantError(TenantError):
    """Raised when no document of the collection is of the tenant that is named."""

    exit_code = FAILED
    http_status = 404


class DeadlineError(RetrievalError):
    """Raised when work is given up because its time is over, or because nobody waits for it any more."""

    http_status = 504
    public = PublicText(
        "the request took longer than the service lets it",
        "ask for less at a time: fewer hits, a shorter filter, fewer queries",
    )


class EngineError(RetrievalError):
    """Raised when another search engine refuses a request that it should have understood."""

    http_status = 503
    public: ClassVar[PublicText | None] = PublicText(
        "the search engine behind the collection failed", "try again; its log has the reason"
    )


class UnknownAddressError(EngineError):
    """Raised when an address names no engine that Lexhound knows, or is not written as that engine's are."""

    exit_code = USAGE
    http_status = 500
    public = None


class UnsupportedError(EngineError):
    """Raised when an engine cannot do what is asked; nothing that is only like it is done instead."""

    exit_code = USAGE
    http_status = 400
    public = None


class MissingEngineError(EngineError):
    """Raised when the package that talks to an engine is not installed, or not in a version that works."""

    http_status = 500
    public = None


class EngineUnreachableError(EngineError):
    """Raised when an engine does not answer, or does not let us in."""

    public = PublicText("the search engine behind the collection does not answer", "try again later")


class ClusterError(RetrievalError):
    """Raised when a Ray cluster cannot be reached, or its workers do not finish what they were given."""


class ExportError(RetrievalError):
    """Raised when a collection cannot be written in another engine's form, or such files cannot be read back."""


class AliasError(RetrievalError):
    """Raised when an alias cannot be what it is to be, or the file of aliases cannot be read."""

    http_status = 409

    def public_text(self) -> PublicText:
        """Return the message without the hint, which may name what a caller's key does not open."""
        return PublicText(self.message, "GET /v1/collections lists collections, GET /v1/aliases aliases")


class UnknownAliasError(AliasError):
    """Raised when an alias, or the collection that it is to lead to, is not there."""

    http_status = 404


class CollectionError(RetrievalError):
    """Raised when a collection on disk cannot be used as asked."""


class NotACollectionError(CollectionError):
    """Raised when the path to open holds no collection."""

    http_status = 404
    public = PublicText("there is no such collection", "GET /v1/collections lists those that are there")


class CollectionExistsError(CollectionError):
    """Raised when a collection is to be created where something already is."""

    http_status = 409
    public = PublicText("a collection of this name is there already", "choose another name")


class NewerFormatError(CollectionError):
    """Raised when a collection was written by a later version of Lexhound than this one can read."""

    http_status = 503
    public = PublicText("the collection was written by a later version of Lexhound", "the service has to be upgraded")


class CorruptCollectionError(CollectionError):
    """Raised when a file of a collection is damaged, cut short or missing.

    `document` is the id of the one document that is damaged, where it is one.
    """

    http_status = 503
    public = PublicText(
        "the collection is damaged", "whoever runs the service finds the reason in its log and with `lexhound verify`"
    )
    document: str | None = None

    def public_text(self) -> PublicText | None:
        """Return the text for the whole collection, or for the one document."""
        if self.document is None:
            return self.public
        return PublicText(f"the document {self.document!a} is damaged", "put it in again, or delete it")


class StaleSnapshotError(CollectionError):
    """Raised when a document is read that was deleted or replaced after the state that is searched."""

    http_status = 503
    public = PublicText("the collection changed while it was read", "try again")


class DenseIndexError(CollectionError):
    """Raised when dense vectors are to be indexed in a way that is unknown, or that needs what is not installed."""


class UnfinishedRunError(CollectionError):
    """Raised when an ingest job was interrupted and must be resumed or dropped before other writes."""

    http_status = 409
    public = PublicText(
        "an ingest job over the collection was interrupted",
        "finish it with the command that began it, or drop it: POST /v1/collections/NAME/discard-unfinished",
    )


def _point_at(text: str, position: int) -> str:
    """Return two lines: the part of `text` around `position`, and a caret under that character."""
    start = max(0, position - _EXCERPT_CHARACTERS // 2)
    end = min(len(text), start + _EXCERPT_CHARACTERS)
    head = "…" if start else ""
    tail = "…" if end < len(text) else ""
    shown = "".join(_printable(character) for character in text[start:end])
    before = head + "".join(_printable(character) for character in text[start:position])
    return f"  {head}{shown}{tail}\n  {' ' * _columns(before)}^"


def _printable(character: str) -> str:
    """Line breaks, tabs and other control characters (lone surrogates too) would break the picture."""
    return " " if unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} else character


def _columns(text: str) -> int:
    """Return the terminal columns that `text` takes: combining marks take none, East Asian wide characters two."""
    columns = 0
    for character in text:
        if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
            continue
        columns += 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1
    return columns
