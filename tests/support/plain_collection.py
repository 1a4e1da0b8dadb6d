"""A collection's slow twin: a dict of documents, searched by brute force with plain BM25."""

from __future__ import annotations

import math
from collections import Counter

from lexhound.encoders.bm25.encoder import LexicalEncoder
from lexhound.encoders.bm25.settings import LexicalSettings
from lexhound.encoders.bm25.vocabulary import MemoryVocabulary
from lexhound.retrieval import Document


class PlainCollection:
    """Documents by id in order of insertion; a replaced document moves to the end."""

    def __init__(self, settings: LexicalSettings | None = None) -> None:
        self.documents: dict[str, Document] = {}
        self.settings = settings or LexicalSettings()
        self._encoder = LexicalEncoder(self.settings, MemoryVocabulary())

    def add(self, document: Document) -> None:
        known = self.documents.get(document.id)
        if known == document:
            return
        self.documents.pop(document.id, None)
        self.documents[document.id] = document

    def delete(self, identifier: str) -> None:
        self.documents.pop(identifier, None)

    def average_length(self) -> float:
        lengths = [sum(self._counts(document.encoded_text).values()) for document in self.documents.values()]
        return sum(lengths) / len(lengths) if sum(lengths) else 1.0

    def _counts(self, text: str) -> Counter[int]:
        row = self._encoder.count_documents([text])
        return Counter(dict(zip(row.indices.tolist(), (int(value) for value in row.data), strict=True)))

    def search(self, query: str, k: int, average_length: float, *, steps: int = 255) -> list[tuple[str, float]]:
        """(id, score), best first; document weights are rounded to `steps` steps as the index does."""
        n = len(self.documents)
        counts = {identifier: self._counts(d.encoded_text) for identifier, d in self.documents.items()}
        wanted = self._counts(query)
        k1, b = self.settings.k1, self.settings.b
        idf = {}
        for term in wanted:
            df = sum(term in own for own in counts.values())
            idf[term] = math.log(1 + (n - df + 0.5) / (df + 0.5)) if df else 0.0
        ranked = []
        for position, (identifier, own) in enumerate(counts.items()):
            norm = k1 * (1 - b + b * sum(own.values()) / average_length)
            matched = [term for term in wanted if term in own]
            score = sum(
                wanted[term] * idf[term] * max(1, round(steps * own[term] / (own[term] + norm))) / steps
                for term in matched
            )
            if matched:
                ranked.append((-score, position, identifier))
        ranked.sort()
        return [(identifier, -score) for score, _, identifier in ranked[:k]]


def same_ranking(found: list[tuple[str, float]], expected: list[tuple[str, float]], tolerance: float = 2e-5) -> bool:
    """Equal scores place by place, and equal ids except where scores are too close to tell apart."""
    if len(found) != len(expected):
        return False
    for (identifier, score), (_, wanted) in zip(found, expected, strict=True):
        if not math.isclose(score, wanted, rel_tol=tolerance):
            return False
        near = {other for other, value in expected if math.isclose(value, score, rel_tol=tolerance)}
        last = math.isclose(wanted, expected[-1][1], rel_tol=tolerance)  # the cut may fall between near ties
        if identifier not in near and not last:
            return False
    return True
