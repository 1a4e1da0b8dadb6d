"""How a model reads a text: its tokens, and how many of them it takes in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .subwords import Subwords


@dataclass(frozen=True, slots=True, eq=False)
class TokenReader:
    """A model's way of reading documents.

    Attributes:
        subwords: its tokens.
        room: how many tokens of a text the model reads; None where it reads all, however long.
        around: how many tokens are read beside them: special ones and those of a prompt.
    """

    subwords: Subwords
    room: int | None
    around: int

    @property
    def limit(self) -> int | None:
        """The longest input in tokens, those around a text included; None where there is no limit."""
        return None if self.room is None else self.room + self.around

    @property
    def vocabulary(self) -> str:
        """A digest of its tokens: readers of the same ones count alike."""
        return self.subwords.vocabulary_hash

    def starts(self, text: str) -> NDArray[np.int64]:
        """Return where each token of a text begins, in characters: int64[tokens], ascending."""
        return self.subwords.starts(text)

    def reads_all(self, text: str) -> bool:
        """Return whether a text is surely read as a whole; quick, and true for short texts alone."""
        return self.room is None or 4 * len(text) <= self.room or len(text.encode("utf-8", "replace")) <= self.room

    def cuts(self, text: str) -> bool:
        """Return whether a part of a text is not read."""
        return self.room is not None and not self.reads_all(text) and len(self.starts(text)) > self.room
