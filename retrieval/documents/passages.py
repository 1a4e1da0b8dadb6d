"""Passages: stretches of a long text, each with vectors of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lexhound.encoders.errors import SettingsError

from .document import Document
from .splitting import Span

NONE = "none"
"""In the place of sizes: texts are not split."""

LEAST_TOKENS = 16
"""A passage may not be made smaller than this: it would be a part of a sentence."""

DEFAULT = "256/32"
"""Of learned encoders, for texts that are longer than the model reads; docs/decisions tells why."""

_SIZES = re.compile(r"([0-9]{1,9})(?:/([0-9]{1,9}))?")


@dataclass(frozen=True, slots=True)
class PassageSettings:
    """How long texts are split.

    Attributes:
        tokens: how many a passage has at most, of the model that reads it, title and special tokens included; of
            bm25, words.
        overlap: how many of them the next passage may repeat, in whole sentences; at most half of `tokens`.
        whole: texts of so many tokens stay whole, and those of a passage's size; never more than the model reads.

    Raises SettingsError, which names the attribute.
    """

    tokens: int
    overlap: int = 0
    whole: int = 0

    def __post_init__(self) -> None:
        if self.tokens < LEAST_TOKENS:
            raise SettingsError(
                f"passages of {self.tokens:,} tokens are too small", f"They must have at least {LEAST_TOKENS}"
            )
        if not 0 <= self.overlap <= self.tokens // 2:
            raise SettingsError(
                f"passages of {self.tokens:,} tokens cannot overlap by {self.overlap:,}",
                "The overlap must be at most half of a passage",
            )

    def __str__(self) -> str:
        return f"{self.tokens}/{self.overlap}"


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage of a document's text: its number, from 0, where it begins and ends in the text, in characters, and what
    it says.
    """

    number: int
    start: int
    end: int
    text: str


def parse_passages(text: str) -> PassageSettings | None:
    """Return the sizes that `256/32` (tokens, overlap), `256` or `none` mean; None for texts that are not split.

    Raises:
        SettingsError: the text means nothing, or the sizes do not go together.
    """
    if text == NONE:
        return None
    match = _SIZES.fullmatch(text)
    if match is None:
        raise SettingsError(f"passages are {text[:40]!r}", "Give tokens and overlap, such as 256/32, or none")
    return PassageSettings(int(match[1]), int(match[2] or 0))


def encoded_text(document: Document, passage: Passage | None) -> str:
    """Return what encoders see of a passage, or of a document that is whole."""
    if passage is None:
        return document.encoded_text
    return f"{document.title} {passage.text}" if document.title else passage.text


def passage_of(text: str, number: int, span: Span) -> Passage:
    """Return a passage of a text."""
    return Passage(number, *span, text[span[0] : span[1]])
