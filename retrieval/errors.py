"""What can go wrong with documents, corpora, filters, queries and collections.

    RetrievalError
    ├── InvalidDocumentError      a document breaks one of the rules for ids, texts or metadata
    ├── CorpusError               a corpus as a whole cannot be read: missing, unknown format, damaged, empty
    │   └── BadRowError           one row cannot become a document, and the run stops at bad rows
    ├── QueryError                a search request is wrong in itself (negative k, over-long query)
    │   └── FilterSyntaxError     a filter expression does not follow the filter grammar
    ├── DeadlineError             the work was given up: its time is over, or nobody waits for it any more
    ├── EngineError               another search engine, behind an address, did not do what was asked
    │   ├── UnknownAddressError   an address names no engine that Lexhound knows
    │   ├── UnsupportedError      the engine cannot do this at all, and nothing else is done in its place
    │   ├── MissingEngineError    the package that talks to the engine is not installed
    │   └── EngineUnreachableError the engine does not answer
    ├── ClusterError              a Ray cluster does not answer, or does not do what it was given
    ├── ExportError               a collection cannot be written for another engine, or an export not be read
    └── CollectionError           a collection on disk cannot be used as asked
        ├── NotACollectionError   the path holds no collection
        ├── CollectionExistsError the path already holds something, where a new collection was to be made
        ├── NewerFormatError      a later version of Lexhound wrote the collection
        ├── CollectionLockedError another process is writing to the collection
        ├── CorruptCollectionError a file of the collection is damaged or missing
        ├── DenseIndexError       its dense vectors cannot be indexed in the way that was asked for
        ├── ReadOnlyError         a write was asked of a collection that cannot be written to
        ├── CollectionGoneError   it was removed or replaced under an open object: nothing more is written to it
        ├── StaleSnapshotError    what a snapshot saw is no longer kept: move on to the newest state
        ├── UnfinishedRunError    an indexing run was cut short and has to be resumed or dropped first
        └── StorageFullError      the disk is full; what was acknowledged before is intact

Every error says what is wrong (`message`), where (`where`: a file and line, a path) and what to do about it
(`hint`).
"""

from __future__ import annotations

import unicodedata

_EXCERPT_CHARACTERS = 72


class RetrievalError(Exception):
    """Base of every error that this room raises on purpose.

    `message` is a sentence without its full stop, `where` names the place, `hint` is one or more sentences on
    what to do. `str(error)` puts the three together.
    """

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        placed = f"{self.where}: {self.message}" if self.where else self.message
        return f"{placed}. {_sentence(self.hint)}" if self.hint else placed


class InvalidDocumentError(RetrievalError):
    """Raised where a document is made from an id, text, title or metadata that Lexhound does not accept."""


class CorpusError(RetrievalError):
    """Raised when a corpus is missing, unreadable, damaged, empty or of no known format."""


class BadRowError(CorpusError):
    """Raised when a row of a corpus cannot become a document and the run is to stop at the first such row."""


class QueryError(RetrievalError):
    """Raised when a search request is wrong in itself: a negative k, an over-long query."""


class FilterSyntaxError(QueryError):
    """Raised when a filter expression cannot be parsed; shows it with a caret under the character.

    `text` is the expression, `position` the 0-based character at which it stops making sense (`len(text)` for
    an expression that ends too early), `reason` the message without the picture.
    """

    def __init__(self, reason: str, text: str, position: int, *, hint: str | None = None) -> None:
        picture = _point_at(text, position)
        super().__init__(f"filter, character {position + 1}: {reason}\n{picture}", hint=hint)
        self.args = (reason, text, position)  # what `pickle` and `copy` call the class with
        self.reason = reason
        self.text = text
        self.position = position

    def __str__(self) -> str:
        return f"{self.message}\n{_sentence(self.hint)}" if self.hint else self.message


class DeadlineError(RetrievalError):
    """Raised when work is given up because its time is over, or because nobody waits for it any more."""


class EngineError(RetrievalError):
    """Raised when another search engine refuses a request that it should have understood."""


class UnknownAddressError(EngineError):
    """Raised when an address names no engine that Lexhound knows, or is not written as that engine's are."""


class UnsupportedError(EngineError):
    """Raised when an engine cannot do what is asked; nothing that is only like it is done instead."""


class MissingEngineError(EngineError):
    """Raised when the package that talks to an engine is not installed, or not in a version that works."""


class EngineUnreachableError(EngineError):
    """Raised when an engine does not answer, or does not let us in."""


class ClusterError(RetrievalError):
    """Raised when a Ray cluster cannot be reached, or its workers do not finish what they were given."""


class ExportError(RetrievalError):
    """Raised when a collection cannot be written in another engine's form, or such files cannot be read back."""


class CollectionError(RetrievalError):
    """Raised when a collection on disk cannot be used as asked."""


class NotACollectionError(CollectionError):
    """Raised when the path to open holds no collection."""


class CollectionExistsError(CollectionError):
    """Raised when a collection is to be created where something already is."""


class NewerFormatError(CollectionError):
    """Raised when a collection was written by a later version of Lexhound than this one can read."""


class CollectionLockedError(CollectionError):
    """Raised when another process holds the collection for writing."""


class CorruptCollectionError(CollectionError):
    """Raised when a file of a collection is damaged, cut short or missing.

    `document` is the id of the one document that is damaged, where it is one.
    """

    document: str | None = None


class CollectionGoneError(CollectionError):
    """Raised when the directory of an open collection was removed, or another one has taken its place."""


class StaleSnapshotError(CollectionError):
    """Raised when a document is read that was deleted or replaced after the state that is searched."""


class DenseIndexError(CollectionError):
    """Raised when dense vectors are to be indexed in a way that is unknown, or that needs what is not installed."""


class ReadOnlyError(CollectionError):
    """Raised when a write meets a collection opened for reading, or a directory that cannot be written to."""


class UnfinishedRunError(CollectionError):
    """Raised when an indexing run was cut short and must be resumed or dropped before other writes."""


class StorageFullError(CollectionError):
    """Raised when the disk is full; everything acknowledged before is intact."""


def _sentence(hint: str) -> str:
    return f"{hint[0].upper()}{hint[1:]}" if hint.endswith((".", "?")) else f"{hint[0].upper()}{hint[1:]}."


def _point_at(text: str, position: int) -> str:
    """Two lines: the part of `text` around `position`, and a caret under that character."""
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
    """Terminal columns that `text` takes: combining marks take none, East Asian wide characters two."""
    columns = 0
    for character in text:
        if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
            continue
        columns += 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1
    return columns
