"""The root of every exception that Lexhound raises on purpose, and those that several rooms raise.

    LexhoundError
    ├── MissingExtraError         a package that an optional extra brings is not installed
    ├── StorageError              a place on disk cannot be used as asked
    │   ├── CollectionLockedError another process writes to the collection, or builds what will be at the path
    │   ├── CollectionGoneError   what was open is removed or replaced: nothing more is written to it
    │   ├── ReadOnlyError         a write meets what is opened for reading, or a directory that refuses it
    │   └── StorageFullError      the disk is full; what was acknowledged before is intact
    └── ...                       one root a room: its module `errors`

How a failure ends a command (`exit_code`) and a request (`http_status`, `public`) are class attributes; a child has its
parent's unless it sets its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

FAILED = 1
USAGE = 2  # the request is wrong in itself, which can be seen without looking at any data


@dataclass(frozen=True, slots=True)
class PublicText:
    """The text that a caller of the service may read of a failure that is not the caller's fault; it names no path."""

    message: str
    hint: str


class LexhoundError(Exception):
    """What is wrong (`message`, without a full stop), where (a file and line, a path) and what to do (`hint`).

    `str(error)` puts the three together.

    Attributes:
        code: a stable name for programs: the class's as `not_a_collection`.
        cli_hint: the hint as the command line gives it, where that has other names for things; None where it has not.
        exit_code: of the command that it ends.
        http_status: of the request that it ends. From 500 on, nothing but `public` of it is told.
    """

    code: str = "lexhound"
    exit_code: ClassVar[int] = FAILED
    http_status: int = 500
    public: ClassVar[PublicText | None] = None

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "code" not in vars(cls) and not cls.__name__.startswith("_"):
            cls.code = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__.removesuffix("Error")).lower()

    def __init__(
        self, message: str, hint: str | None = None, *, where: str | None = None, cli_hint: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint or None
        self.cli_hint = cli_hint or None

    def __str__(self) -> str:
        placed = f"{self.where}: {self.message}" if self.where else self.message
        return f"{placed}. {as_sentence(self.hint)}" if self.hint else placed

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.args), vars(self)

    def public_text(self) -> PublicText | None:
        """Return what a caller of the service is told in place of the message; None for nothing."""
        return self.public


class MissingExtraError(LexhoundError):
    """A package that an optional extra brings is not installed; the hint names the `pip install`."""


class StorageError(LexhoundError):
    """A place on disk cannot be used as asked."""


class CollectionLockedError(StorageError):
    """Another process writes to the collection, or builds what will be at the path."""

    http_status = 503
    public = PublicText(
        "another process is writing to the collection", "try again when it has finished; searches are not affected"
    )


class CollectionGoneError(StorageError):
    """The directory of an open collection was removed, or another one has taken its place."""

    http_status = 503
    public = PublicText(
        "the collection was removed or replaced by another one meanwhile",
        "what was not acknowledged is not stored; send it again",
    )


class ReadOnlyError(StorageError):
    """A write meets a collection opened for reading, or a directory that cannot be written to."""

    http_status = 503
    public = PublicText(
        "the collection cannot be written to", "whoever runs the service has to check the permissions of its files"
    )


class StorageFullError(StorageError):
    """The disk is full; everything acknowledged before is intact."""

    http_status = 507
    public = PublicText(
        "the service's disk is full",
        "nothing that was acknowledged is lost; documents of this request may have to be sent again",
    )


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's text that is not blank, or the name of its class."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def as_sentence(hint: str) -> str:
    """Return a hint with a capital at its beginning, unless it begins with a command or a path, and a full stop."""
    first = hint.split(maxsplit=1)[0]
    capital = first not in _COMMANDS and first.strip(",:").isalpha()
    text = f"{hint[0].upper()}{hint[1:]}" if capital else hint
    return text if text.endswith((".", "?")) else f"{text}."


_COMMANDS = frozenset({"pip", "lexhound"})  # hints that begin with one of these are there to be typed


def _restored(kind: type[LexhoundError], args: tuple[Any, ...]) -> LexhoundError:
    """Return an exception as it was pickled or copied, whatever its class is made from; its attributes follow."""
    error = kind.__new__(kind)
    error.args = args
    return error
