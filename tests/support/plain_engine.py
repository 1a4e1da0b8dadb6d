"""An engine that keeps rows in a dict and compares a query with all of them: the slow twin of other engines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from lexhound.retrieval.collection.health import Health
from lexhound.retrieval.collection.store.manifest import Manifest
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.documents.metadata import Value, flatten
from lexhound.retrieval.engines.engine import (
    EVERYTHING,
    Ability,
    EngineDocument,
    Head,
    Ranked,
    RankedRow,
    Scope,
    Size,
    SparseVector,
    SplitsText,
    StoredDocument,
)
from lexhound.retrieval.filters import And, Comparison, Exists, Expression, Membership, Not, Or


class PlainEngine:
    """Returns equal scores in the reverse of insertion order, as engines may."""

    abilities = frozenset(Ability) - {Ability.LEXICAL}
    refused = ("the encoder bm25",)

    def __init__(self, address: str, manifest: Manifest, max_hits: int = 10_000) -> None:
        self.address = address
        self.manifest = manifest
        self.max_hits = self.max_rows = max_hits
        self.kept: dict[str, EngineDocument] = {}
        self.left: list[EngineDocument] = []
        """Documents that hold no longer, of whose rows a crash has left some."""
        self.asked: list[tuple[int, Scope]] = []
        self.finished = 0
        self.encoded = 0

    def check(self, documents: Sequence[Document], split: SplitsText) -> None:
        pass

    def upsert(self, documents: Sequence[EngineDocument]) -> None:
        assert len({each.document.id for each in documents}) == len(documents)
        assert all(len(each.sparse) == max(1, len(each.spans)) for each in documents)
        self.encoded += len(documents)
        self.kept.update((each.document.id, each) for each in documents)

    def delete(self, ids: Sequence[str]) -> None:
        for identifier in ids:
            del self.kept[identifier]

    def finish(self) -> None:
        self.finished += 1

    def maintain(self) -> bool:
        return False

    def heads(self, ids: Sequence[str]) -> dict[str, Head]:
        found = {each: self.kept[each] for each in ids if each in self.kept}
        return {name: Head(own.digest, own.internal_id, len(own.sparse)) for name, own in found.items()}

    def documents(self, ids: Sequence[str]) -> dict[str, StoredDocument]:
        found = {each: self.kept[each] for each in ids if each in self.kept}
        return {name: StoredDocument(own.document, own.internal_id, own.spans) for name, own in found.items()}

    def vectors(self, ids: Sequence[str]) -> dict[str, list[SparseVector]]:
        return {each: list(self.kept[each].sparse) for each in ids if each in self.kept}

    def search_sparse(self, queries: Sequence[SparseVector], limit: int, scope: Scope = EVERYTHING) -> list[Ranked]:
        assert limit <= self.max_rows
        self.asked.append((limit, scope))
        found = []
        for terms, weights in queries:
            asked = dict(zip(terms.tolist(), weights.tolist(), strict=True))
            scored = []
            for own, number in self._rows(scope):
                held = dict(zip(*(each.tolist() for each in own.sparse[number]), strict=True))
                common = asked.keys() & held.keys()
                if common:
                    scored.append(_row(own, number, sum(asked[term] * held[term] for term in sorted(common))))
            found.append(_best(scored, limit))
        return found

    def search_dense(self, queries: NDArray[np.float32], limit: int, scope: Scope = EVERYTHING) -> list[Ranked]:
        assert limit <= self.max_rows
        rows = [(own, number) for own, number in self._rows(scope) if own.dense[number].any()]
        return [
            _best([_row(own, number, float(own.dense[number].astype(float) @ query)) for own, number in rows], limit)
            for query in queries.astype(float)
        ]

    def count(self, where: Expression | None = None) -> int:
        return sum(1 for _ in self._passing(where))

    def count_rows(self, where: Expression | None = None) -> int:
        return sum(len(own.sparse) for own in self._passing(where))

    def count_split(self, where: Expression | None = None) -> tuple[int, int]:
        passing = list(self._passing(where))
        return sum(len(own.sparse) > 1 for own in passing), sum(own.cut for own in passing)

    def ids(self, where: Expression) -> list[str]:
        return [own.document.id for own in self._passing(where)]

    def document_frequencies(self, terms: NDArray[np.int32]) -> NDArray[np.int64]:
        vectors = [vector for own in self.kept.values() for vector, _ in own.sparse]
        return np.array([sum(term in vector for vector in vectors) for term in terms], np.int64)

    def stored(self, batch: int) -> Iterator[list[EngineDocument]]:
        kept = iter(sorted(self.kept.values(), key=lambda own: own.internal_id))
        while chunk := list(islice(kept, batch)):
            yield chunk

    def refresh(self) -> bool:
        return False

    def size(self) -> Size:
        return Size()

    def health(self) -> Health:
        return Health(True, "plain")

    def close(self) -> None:
        pass

    def _passing(self, where: Expression | None) -> Iterator[EngineDocument]:
        for own in self.kept.values():
            if where is None or holds(where, flatten(own.document.metadata)):
                yield own

    def _rows(self, scope: Scope) -> Iterator[tuple[EngineDocument, int]]:
        without = set(scope.without)
        for own in [*self._passing(scope.where), *self.left]:
            if own.internal_id in without or (scope.documents is not None and own.internal_id not in scope.documents):
                continue
            for number in range(1 if own in self.left else 0, len(own.sparse)):
                if scope.rows is None or own.internal_id + number in scope.rows:
                    yield own, number


def _row(own: EngineDocument, number: int, score: float) -> RankedRow:
    return own.document.id, own.internal_id + number, score, own.internal_id, len(own.sparse)


def _best(scored: list[RankedRow], limit: int) -> Ranked:
    return Ranked.of(sorted(scored, key=lambda each: (-each[2], -each[1]))[:limit])


def holds(expression: Expression, pairs: list[tuple[str, Value]]) -> bool:
    """Whether a filter holds of flat metadata, word for word as `filters.expression` defines it."""
    match expression:
        case And(operands):
            return all(holds(operand, pairs) for operand in operands)
        case Or(operands):
            return any(holds(operand, pairs) for operand in operands)
        case Not(operand):
            return not holds(operand, pairs)
        case Exists(field):
            return any(name == field or name.startswith(f"{field}.") for name, _ in pairs)
        case Membership(field, values, negated):
            own = [value for name, value in pairs if name == field]
            return bool(own) and not any(v in values for v in own) if negated else any(v in values for v in own)
        case Comparison(field, operator, value):
            own = [held for name, held in pairs if name == field]
            if operator == "!=":
                return bool(own) and value not in own
            return any(_compares(held, operator, value) for held in own)


def _compares(held: Value, operator: str, value: Value) -> bool:
    if isinstance(held, str) != isinstance(value, str):
        return False
    match operator:
        case "=":
            return held == value
        case "<":
            return held < value
        case "<=":
            return held <= value
        case ">":
            return held > value
        case _:
            return held >= value
