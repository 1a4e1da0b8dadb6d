"""How latents are written: `latent:17`, by number, as nobody has given them words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.base import Span

_PREFIX = "latent:"


class LatentNames:
    """Terms as text, for explanations; the twin of what `lexhound.encoders.text.subwords.Subwords` says of tokens.

    Args:
        latents: how many there are.
    """

    special_tokens: Mapping[str, int] = MappingProxyType({})

    def __init__(self, latents: int) -> None:
        self._latents = latents

    def text(self, term_id: int) -> str:
        """Return a latent's name; raises IndexError for an id that there is not."""
        if not 0 <= term_id < self._latents:
            raise IndexError(f"there is no latent {term_id}: there are {self._latents}")
        return f"{_PREFIX}{term_id}"

    def lookup(self, terms: Sequence[str]) -> NDArray[np.int32]:
        """Return the ids of latents by their names; -1 for what is none."""
        return np.array([self._id(term) for term in terms], dtype=np.int32)

    def _id(self, term: str) -> int:
        number = term.removeprefix(_PREFIX)
        known = term.startswith(_PREFIX) and number.isascii() and number.isdigit() and int(number) < self._latents
        return int(number) if known and number == str(int(number)) else -1

    def spans(self, text: str) -> list[Span]:
        """Return no stretch: a latent is of a whole text, not of a part of it."""
        return []
