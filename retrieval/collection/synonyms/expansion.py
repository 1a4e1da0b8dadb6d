"""Queries with the synonyms of their words.

A synonym brings its terms with weights of their own, but with no more than the words of the query that it stands for
(as if they were one word, of which the more frequent form says how telling it is), divided by the number of its terms.
What the query says itself keeps its weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .rules import Rule

if TYPE_CHECKING:
    from lexhound.encoders.base import LiveStatistics
    from lexhound.retrieval.collection.fields.sparse_field import LexicalField, SparseField

Analysed = tuple[str, ...]  # the terms of a word or of several, in order
Vector = tuple[NDArray[np.int32], NDArray[np.float32]]


class Synonyms:
    """The rules of a collection, ready for its queries.

    Attributes:
        rules: as they are kept.
    """

    def __init__(self, rules: tuple[Rule, ...], field: LexicalField) -> None:
        self.rules = rules
        self._field = field
        self._others: dict[Analysed, dict[str, int]] = {}  # how many terms each has that a word brings
        for rule in rules:
            others = {word: _terms(field, word) for word in rule.others}
            for terms in filter(None, (_terms(field, word) for word in rule.words)):
                mine = self._others.setdefault(terms, {})
                mine |= {word: len(analysed) for word, analysed in others.items() if analysed not in ((), terms)}
        self._longest = max(map(len, self._others), default=0)

    def query(self, text: str, statistics: LiveStatistics) -> tuple[Vector, dict[int, str]]:
        """Return a query's vector with synonyms, and the words of the query that each term they brought stands for."""
        field = self._field
        terms, weights = field.query(text, statistics)
        own = dict(zip(terms.tolist(), weights.tolist(), strict=True))
        brought: dict[int, float] = {}
        stands_for: dict[int, str] = {}
        for words, others in self._found(text):
            _, of_words = field.query(words, statistics)
            most = float(of_words.sum()) if len(of_words) else float("inf")
            for other, length in others.items():
                for term, weight in zip(*(each.tolist() for each in field.query(other, statistics)), strict=True):
                    weight = min(weight, most) / length
                    if term not in own and weight > brought.get(term, 0.0):
                        brought[term], stands_for[term] = weight, words
        if not brought:
            return (terms, weights), {}
        ids, values = zip(*sorted((own | brought).items()), strict=True)
        return (np.array(ids, np.int32), np.array(values, np.float32)), stands_for

    def _found(self, text: str) -> Iterator[tuple[str, dict[str, int]]]:
        """Yield the words of a query that a rule has, and what they bring: the longest that begin at a place."""
        analysed = self._field.analyse(text)
        terms = tuple(term for _, term in analysed)
        place = 0
        while place < len(terms):
            for end in range(min(place + self._longest, len(terms)), place, -1):
                others = self._others.get(terms[place:end])
                if others is not None:
                    yield " ".join(word for word, _ in analysed[place:end]), others
                    place = end - 1
                    break
            place += 1


def _terms(field: LexicalField, text: str) -> Analysed:
    return tuple(term for _, term in field.analyse(text))


def query_vectors(
    field: SparseField, texts: Sequence[str], statistics: LiveStatistics, synonyms: Synonyms | None
) -> list[Vector]:
    """Return the vectors of many queries, with synonyms if there are any."""
    if synonyms is None:
        return field.queries(texts, statistics)
    return [synonyms.query(text, statistics)[0] for text in texts]
