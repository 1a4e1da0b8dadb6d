"""How latents are written: by number, and with the words that excite them most where these are known.

`latent:17`, or `latent:17 heat thermal hot`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.base import Span
from lexhound.encoders.checkpoints.files import read_json
from lexhound.encoders.errors import CheckpointError

_PREFIX = "latent:"
_FILE = "words.json"


def is_latent(term: str) -> bool:
    """Return whether a term is written as latents are."""
    return term.startswith(_PREFIX)


def read_words(folder: Path, latents: int) -> list[list[str]]:
    """Return the words of each latent that lie beside an autoencoder's weights; none where there is no such file.

    Raises:
        CheckpointError: the file is damaged, or of another number of latents.
    """
    path = folder / _FILE
    if not path.is_file():
        return [[] for _ in range(latents)]
    values = read_json(path)
    if not isinstance(values, list) or not all(
        isinstance(words, list) and all(isinstance(word, str) for word in words) for words in values
    ):
        raise CheckpointError(f"{path} is not a list of words for each latent", "Download it again")
    if len(values) != latents:
        raise CheckpointError(f"{path} is of {len(values)} latents, and there are {latents}", "Download it again")
    return values


def write_words(words: Sequence[Sequence[str]], folder: Path) -> None:
    """Write the words of each latent beside the autoencoder's weights."""
    (folder / _FILE).write_text(json.dumps(list(map(list, words)), ensure_ascii=False) + "\n", encoding="utf-8")


class LatentNames:
    """Terms as text, for explanations; the twin of what `lexhound.encoders.text.subwords.Subwords` says of tokens.

    Args:
        latents: how many there are.
        words: of each latent, those that excite it most.
    """

    special_tokens: Mapping[str, int] = MappingProxyType({})

    def __init__(self, latents: int, words: Sequence[Sequence[str]] | None = None) -> None:
        self._latents = latents
        self._words = words

    def text(self, term_id: int) -> str:
        """Return a latent's name; raises IndexError for an id that there is not."""
        if not 0 <= term_id < self._latents:
            raise IndexError(f"there is no latent {term_id}: there are {self._latents}")
        return " ".join([f"{_PREFIX}{term_id}", *(self._words[term_id] if self._words else ())])

    def lookup(self, terms: Sequence[str]) -> NDArray[np.int32]:
        """Return the ids of latents by their names, with or without words; -1 for what is none."""
        return np.array([self._id(term) for term in terms], dtype=np.int32)

    def _id(self, term: str) -> int:
        number = term.split(" ", 1)[0].removeprefix(_PREFIX)
        known = term.startswith(_PREFIX) and number.isascii() and number.isdigit() and int(number) < self._latents
        return int(number) if known and number == str(int(number)) else -1

    def spans(self, text: str) -> list[Span]:
        """Return no stretch: a latent is of a whole text, not of a part of it."""
        return []


class WordTerms(Protocol):
    """What says how the words of a vocabulary are written; `lexhound.encoders.text.subwords.Subwords`."""

    @property
    def special_tokens(self) -> Mapping[str, int]: ...

    def text(self, term_id: int) -> str: ...

    def lookup(self, terms: Sequence[str]) -> NDArray[np.int32]: ...

    def spans(self, text: str) -> list[Span]: ...


class WordsAndLatents:
    """Terms of which the first are words, and the others latents.

    Args:
        words: of a vocabulary; count: how many there are.
    """

    def __init__(self, words: WordTerms, count: int, latents: LatentNames) -> None:
        self._words = words
        self._count = count
        self._latents = latents

    @property
    def special_tokens(self) -> Mapping[str, int]:
        """Those of the words."""
        return self._words.special_tokens

    def text(self, term_id: int) -> str:
        """Return a word, or a latent's name; raises IndexError for an id that there is not."""
        return self._words.text(term_id) if term_id < self._count else self._latents.text(term_id - self._count)

    def lookup(self, terms: Sequence[str]) -> NDArray[np.int32]:
        """Return the ids of words and latents; -1 for what is neither."""
        words, latents = self._words.lookup(terms), self._latents.lookup(terms)
        return np.where(latents < 0, words, latents + self._count).astype(np.int32)

    def spans(self, text: str) -> list[Span]:
        """Return the stretches of the text that are words."""
        return self._words.spans(text)
