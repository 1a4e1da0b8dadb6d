"""Terms and their ids: the protocol that the lexical encoder reads and grows, and one kept in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

UNKNOWN = -1
"""The id that `lookup` returns for a term the vocabulary does not hold."""


@runtime_checkable
class Vocabulary(Protocol):
    """Numbers terms 0, 1, 2, ... in the order they are first grown; an id never changes or is given again."""

    def lookup(self, terms: Sequence[str]) -> NDArray[np.int32]:
        """Return each term's id, or -1 where it is unknown."""
        ...

    def grow(self, terms: Sequence[str]) -> NDArray[np.int32]:
        """Return each term's id, numbering those that are new in the order given (duplicates allowed)."""
        ...

    def text(self, term_id: int) -> str:
        """Return the term of an id; raises IndexError for an id that was never given."""
        ...

    def __len__(self) -> int:
        """Return the number of terms."""
        ...


class MemoryVocabulary:
    """A vocabulary held in a dict and a list: for tests, scripts and collections that fit in memory."""

    def __init__(self, terms: Iterable[str] = ()) -> None:
        self._ids: dict[str, int] = {}
        self._texts: list[str] = []
        self.grow(list(terms))

    def lookup(self, terms: Sequence[str]) -> NDArray[np.int32]:
        """Return each term's id, or -1 where it is unknown."""
        ids = self._ids
        return np.fromiter((ids.get(term, UNKNOWN) for term in terms), dtype=np.int32, count=len(terms))

    def grow(self, terms: Sequence[str]) -> NDArray[np.int32]:
        """Return each term's id, numbering those that are new in the order given."""
        result = np.empty(len(terms), dtype=np.int32)
        for position, term in enumerate(terms):
            term_id = self._ids.get(term)
            if term_id is None:
                term_id = len(self._texts)
                self._ids[term] = term_id
                self._texts.append(term)
            result[position] = term_id
        return result

    def text(self, term_id: int) -> str:
        """Return the term of an id; raises IndexError for an id that was never given."""
        if term_id < 0:  # a list would count from its end
            raise IndexError(f"no term has the id {term_id}")
        return self._texts[term_id]

    def __len__(self) -> int:
        return len(self._texts)
