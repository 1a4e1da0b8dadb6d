"""Options of BM25 and of its text analysis."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from lexhound.encoders.errors import SettingsError
from lexhound.encoders.settings import require_flag, require_number
from lexhound.encoders.text.analyzer import resolve_language


@dataclass(frozen=True, slots=True)
class LexicalSettings:
    """Options of BM25 and of its text analysis.

    Attributes:
        k1: how slowly repeated words stop counting, >= 0. Zero counts presence only. 0.9 suits passages and
            abstracts (the value of BEIR's published baselines); 1.2 to 2 suits long documents.
        b: how much longer documents are marked down, 0 (not at all) to 1 (in proportion).
        language: name or ISO code of the stemmer and stop words, or "none"; stored as the full name.
        stemming: count inflections of a word together.
        stop_words: leave the language's stop words out of queries where they are frequent in the collection;
            see `lexhound.encoders.bm25.encoder.LexicalEncoder.query_weights`.
    """

    k1: float = 0.9
    b: float = 0.4
    language: str = "english"
    stemming: bool = True
    stop_words: bool = True

    def __post_init__(self) -> None:
        k1 = require_number(
            "k1", self.k1, 0, sys.float_info.max, "It must be a number of at least 0; 0.9 is the default"
        )
        b = require_number("b", self.b, 0, 1, "It must be a number from 0 to 1; 0.4 is the default")
        if not isinstance(self.language, str):
            raise SettingsError(f"language is {self.language!r}", 'It must be a name such as "english"')
        for name in ("stemming", "stop_words"):
            require_flag(name, getattr(self, name))
        for name, value in (("k1", k1), ("b", b), ("language", resolve_language(self.language))):
            object.__setattr__(self, name, value)
