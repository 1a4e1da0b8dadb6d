"""A document: what is put into a collection and what comes back from a search."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, Union

from lexhound.retrieval.errors import InvalidDocumentError

JSON: TypeAlias = Union[str, int, float, bool, "list[JSON]", "tuple[JSON, ...]", "dict[str, JSON]", None]

MAX_ID_BYTES = 512
MAX_TEXT_BYTES = 64 * 2**20  # each of title and text
MAX_METADATA_BYTES = 2**20  # of field names and values, as UTF-8
MAX_METADATA_DEPTH = 32
MAX_METADATA_VALUES = 10_000

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_SHOWN_CHARACTERS = 40
_KINDS = {
    int: "an integer",
    float: "a floating-point number",
    str: "a string",
    list: "a list",
    dict: "an object",
}


# A letter or a digit of any script.
_WORD_CHARACTER = re.compile(r"[^\W_]")


@dataclass(frozen=True, slots=True)
class Document:
    """One document. A `Document` that exists is valid: every rule below is checked when it is made.

    - `id`: a non-empty string of at most 512 UTF-8 bytes, without control characters (NUL, line breaks, ...).
      Every other character is allowed, blanks and slashes included; ids are compared byte for byte, never
      normalised.
    - `text`, `title`: strings that UTF-8 can encode (no lone surrogates), at most 64 MiB each. Both may be
      empty. NUL and other control characters are allowed: JSON, SQLite and the tokenisers hold them, and a
      stray one in the middle of a text is no reason to lose the document.
    - `metadata`: what JSON can hold, with string keys: strings, finite floats, integers of 64 bits, booleans,
      null, lists and nested objects; at most 1 MiB of names and values, 10,000 values, 32 levels. Do not
      change the mapping once the document is made: it is neither copied nor checked again.

    Raises `InvalidDocumentError`, which names the rule.
    """

    id: str
    text: str
    title: str = ""
    metadata: Mapping[str, JSON] = field(default_factory=dict)

    def __post_init__(self) -> None:
        validate_id(self.id)
        _validate_text("text", self.text)
        _validate_text("title", self.title)
        if not isinstance(self.metadata, Mapping):
            raise InvalidDocumentError(f"metadata must be an object, not {_kind(self.metadata)}")
        if self.metadata:
            validate_metadata(self.metadata)

    @property
    def encoded_text(self) -> str:
        """What encoders see: the title, a blank, and the text (the convention of BEIR), or the text alone."""
        return f"{self.title} {self.text}" if self.title else self.text


def has_words(document: Document) -> bool:
    """Return whether title or text have a letter or a digit; without any, no query of words finds a document."""
    return any(_WORD_CHARACTER.search(text) is not None for text in (document.title, document.text))


def validate_id(value: object) -> str:
    """Return the id itself, if it is one; otherwise `InvalidDocumentError` says which rule it breaks."""
    if not isinstance(value, str):
        raise InvalidDocumentError(
            f"the id must be a string, not {_kind(value)} ({_shown(value)})",
            hint="Write the id as text.",
        )
    if not value:
        raise InvalidDocumentError("the id is empty", hint="Give every document an id.")
    if value.isascii() and value.isprintable() and len(value) <= MAX_ID_BYTES:
        return value
    if any(unicodedata.category(character) == "Cc" for character in value):
        character = next(c for c in value if unicodedata.category(c) == "Cc")
        name = "a NUL byte" if character == "\0" else f"the control character U+{ord(character):04X}"
        raise InvalidDocumentError(
            f"the id {_shown(value)} contains {name}",
            hint="Ids may hold any character but control characters (NUL, tabs, line breaks).",
        )
    size = _utf8_bytes(value)
    if size is None:
        raise InvalidDocumentError(
            f"the id {_shown(value)} contains half of a surrogate pair, which UTF-8 cannot encode",
            hint="Check how the id was decoded.",
        )
    if size > MAX_ID_BYTES:
        raise InvalidDocumentError(
            f"the id {_shown(value)} has {size:,} bytes; at most {MAX_ID_BYTES} are allowed",
            hint="Use a shorter id and keep the long one in the metadata.",
        )
    return value


def validate_metadata(metadata: Mapping[str, JSON]) -> None:
    """Raise `InvalidDocumentError`, naming the field, unless `metadata` keeps the rules of `Document`."""
    # A stack rather than recursion: a structure nested beyond all limits, or in itself, must not crash us.
    pending: list[tuple[str, object, int]] = [("", metadata, 0)]
    size = values = 0
    while pending:
        name, value, depth = pending.pop()
        if isinstance(value, str):
            length = _utf8_bytes(value)
            if length is None:
                raise InvalidDocumentError(
                    f"the metadata field {_shown(name)} contains half of a surrogate pair, which UTF-8 cannot encode",
                    hint="Check how the value was decoded.",
                )
            size += length
        elif value is None or isinstance(value, bool):
            size += 1
        elif isinstance(value, int):
            size += 8
            if not _INT64_MIN <= value <= _INT64_MAX:
                raise InvalidDocumentError(
                    f"the metadata field {_shown(name)} holds an integer of more than 64 bits",
                    hint="Write it as text.",
                )
        elif type(value) is float:  # NumPy's are kinds of it, and nothing writes them as JSON
            size += 8
            if not math.isfinite(value):
                raise InvalidDocumentError(
                    f"the metadata field {_shown(name)} holds {value}, which JSON has no number for",
                    hint="Leave the field out, or write null.",
                )
        elif isinstance(value, (list, tuple)):
            pending.extend((name, item, depth + 1) for item in value)
        elif isinstance(value, Mapping):
            for key, item in value.items():
                length = _utf8_bytes(key) if isinstance(key, str) else None
                if length is None:
                    raise InvalidDocumentError(
                        f"a metadata field is named {_shown(key)}, which is not a string that UTF-8 can encode",
                        hint="Check how the name was decoded.",
                    )
                size += length
                pending.append((f"{name}.{key}" if name else key, item, depth + 1))
        else:
            raise InvalidDocumentError(
                f"the metadata field {_shown(name)} holds {_kind(value)}, which JSON has no form for",
                hint="Use strings, numbers, booleans, null, lists and objects; write dates as 2026-01-31.",
            )
        values += 1
        if depth > MAX_METADATA_DEPTH:
            raise InvalidDocumentError(f"the metadata is nested more than {MAX_METADATA_DEPTH} levels deep")
        # The first value counted is the mapping itself; what is pending counts before it is looked at.
        if values - 1 + len(pending) > MAX_METADATA_VALUES:
            raise InvalidDocumentError(f"the metadata holds more than {MAX_METADATA_VALUES:,} values")
        if size > MAX_METADATA_BYTES:
            raise InvalidDocumentError(
                f"the metadata takes more than {MAX_METADATA_BYTES:,} bytes",
                hint="Metadata is for filtering; what should be found belongs in the text.",
            )


def _validate_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise InvalidDocumentError(f"the {name} must be a string, not {_kind(value)}")
    size = _utf8_bytes(value)
    if size is None:
        raise InvalidDocumentError(
            f"the {name} contains half of a surrogate pair, which UTF-8 cannot encode",
            hint="Check how it was decoded.",
        )
    if size > MAX_TEXT_BYTES:
        raise InvalidDocumentError(
            f"the {name} has {size:,} bytes; at most {MAX_TEXT_BYTES:,} are allowed",
            hint="Split the document into passages.",
        )


def is_encodable(text: str) -> bool:
    """Return whether UTF-8 can encode a text; without that, no document can hold it."""
    return _utf8_bytes(text) is not None


def _utf8_bytes(text: str) -> int | None:
    """Return the length in UTF-8, or None for a string that UTF-8 cannot encode."""
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return None


def _shown(value: object) -> str:
    """Return a short, printable form of what was given."""
    if isinstance(value, str) and len(value) > _SHOWN_CHARACTERS:
        return f"{value[:_SHOWN_CHARACTERS]!a}…"
    text = ascii(value) if isinstance(value, str) else repr(value)
    return text if len(text) <= 2 * _SHOWN_CHARACTERS else f"{text[: 2 * _SHOWN_CHARACTERS]}…"


def _kind(value: object) -> str:
    """Return what JSON calls a value of this type, or what Python calls it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    return _KINDS.get(type(value), f"a value of type {type(value).__name__}")
