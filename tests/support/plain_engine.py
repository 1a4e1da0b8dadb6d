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
from lexhound.retrieval.engines.engine import Ability, EngineRow, Ranked, Size, SparseVector
from lexhound.retrieval.filters import And, Comparison, Exists, Expression, Membership, Not, Or


class PlainEngine:
    """Returns equal scores in the reverse of insertion order, as engines may."""

    abilities = frozenset(Ability) - {Ability.LEXICAL}
    refused = ("the encoder bm25",)

    def __init__(self, address: str, manifest: Manifest, max_hits: int = 10_000) -> None:
        self.address = address
        self.manifest = manifest
        self.max_hits = max_hits
        self.kept: dict[str, EngineRow] = {}
        self.finished = 0
        self.encoded = 0

    def check(self, documents: Sequence[Document]) -> None:
        pass

    def upsert(self, rows: Sequence[EngineRow]) -> None:
        assert len({row.document.id for row in rows}) == len(rows)
        self.encoded += len(rows)
        self.kept.update((row.document.id, row) for row in rows)

    def delete(self, ids: Sequence[str]) -> None:
        for identifier in ids:
            del self.kept[identifier]

    def finish(self) -> None:
        self.finished += 1

    def maintain(self) -> bool:
        return False

    def digests(self, ids: Sequence[str]) -> dict[str, int]:
        return {each: self.kept[each].digest for each in ids if each in self.kept}

    def documents(self, ids: Sequence[str]) -> dict[str, Document]:
        return {each: self.kept[each].document for each in ids if each in self.kept}

    def vectors(self, ids: Sequence[str]) -> dict[str, SparseVector]:
        return {each: self.kept[each].sparse for each in ids if each in self.kept}

    def search_sparse(
        self, queries: Sequence[SparseVector], limit: int, where: Expression | None, among: Sequence[int] | None = None
    ) -> list[Ranked]:
        found = []
        for terms, weights in queries:
            asked = dict(zip(terms.tolist(), weights.tolist(), strict=True))
            scored = []
            for row in self._rows(where, among):
                held = dict(zip(row.sparse[0].tolist(), row.sparse[1].tolist(), strict=True))
                common = asked.keys() & held.keys()
                if common:
                    scored.append(
                        (row.document.id, row.internal_id, sum(asked[term] * held[term] for term in sorted(common)))
                    )
            found.append(_best(scored, limit))
        return found

    def search_dense(
        self, queries: NDArray[np.float32], limit: int, where: Expression | None, among: Sequence[int] | None = None
    ) -> list[Ranked]:
        rows = [row for row in self._rows(where, among) if row.dense.any()]
        return [
            _best([(row.document.id, row.internal_id, float(row.dense.astype(float) @ query)) for row in rows], limit)
            for query in queries.astype(float)
        ]

    def count(self, where: Expression | None = None) -> int:
        return sum(1 for _ in self._rows(where, None))

    def ids(self, where: Expression) -> list[str]:
        return [row.document.id for row in self._rows(where, None)]

    def document_frequencies(self, terms: NDArray[np.int32]) -> NDArray[np.int64]:
        return np.array([sum(term in row.sparse[0] for row in self.kept.values()) for term in terms], np.int64)

    def rows(self, batch: int) -> Iterator[list[EngineRow]]:
        kept = iter(self.kept.values())
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

    def _rows(self, where: Expression | None, among: Sequence[int] | None) -> Iterator[EngineRow]:
        for row in self.kept.values():
            if (among is None or row.internal_id in set(among)) and (
                where is None or holds(where, flatten(row.document.metadata))
            ):
                yield row


def _best(scored: list[tuple[str, int, float]], limit: int) -> Ranked:
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
