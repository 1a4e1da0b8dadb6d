"""Documents by their passages over an engine that ranks rows: as scoring all rows and grouping them by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_engine import PlainEngine

from lexhound.encoders.base import EncoderIdentity
from lexhound.index.inverted.quantization import Query
from lexhound.retrieval import Document
from lexhound.retrieval.collection.query.grouping import DENSE, SPARSE
from lexhound.retrieval.collection.store.manifest import Manifest
from lexhound.retrieval.documents.passages import PassageSettings
from lexhound.retrieval.engines.engine import EngineDocument
from lexhound.retrieval.engines.ranking import rank_dense, rank_sparse
from lexhound.retrieval.filters import parse_filter

MANIFEST = Manifest.new("test", EncoderIdentity("splade", "made up", "0", 3), None, PassageSettings(16))

Score: TypeAlias = Callable[[EngineDocument, int], float | None]
"""The score of a row; None where it is not found."""
Rows: TypeAlias = list[tuple[dict[int, float], tuple[int, int]]]
"""Weights and dense vector of each row of a document."""

# Few values, so that there are many equal scores; rows without terms, and without a vector.
rows = st.tuples(
    st.dictionaries(st.integers(0, 2), st.sampled_from([0.5, 1.0, 2.0]), max_size=2),
    st.sampled_from([(0, 0), (1, 0), (-1, 0), (0, 1), (2, 1)]),
)
documents = st.lists(st.lists(rows, min_size=1, max_size=6), max_size=12)


def engine_of(drawn: list[Rows], most: int, left: set[int]) -> PlainEngine:
    """An engine with such documents; of those that are `left` only rows behind the head are there."""
    engine = PlainEngine("plain:", MANIFEST, max_hits=most)
    for number, own in enumerate(drawn):
        sparse = [
            (np.array(sorted(row), np.int32), np.array([row[t] for t in sorted(row)], np.float32)) for row, _ in own
        ]
        dense = np.array([vector for _, vector in own], np.float32)
        spans = [(at, at + 1) for at in range(len(own))] if len(own) > 1 else []
        text = "x" * len(own)
        made = EngineDocument(
            number * 10, 0, Document(f"d{number}", text, metadata={"n": number % 2}), sparse, dense, spans
        )
        if number in left and len(own) > 1:
            engine.left.append(made)
        else:
            engine.kept[made.document.id] = made
    return engine


def by_hand(
    engine: PlainEngine, score: object, typical: float, *, zeros: bool, odd: bool
) -> list[tuple[str, int, float]]:
    """(id, best row, score) of all documents, best first."""
    found = []
    for own in engine.kept.values():
        if odd and not own.document.metadata["n"]:
            continue
        scored = [(score(own, at), own.internal_id + at) for at in range(len(own.sparse))]
        known = sorted((-value, row) for value, row in scored if value is not None)
        if not known:
            continue
        best, second = -known[0][0], -known[1][0] if len(known) > 1 else 0.0
        several = len(known) > 1 or (zeros and len(own.sparse) > 1)
        total = (best + second) / (1 + typical) if several else best
        found.append((-total, known[0][1], own.document.id))
    return [(name, row, -total) for total, row, name in sorted(found)]


@given(documents, st.integers(1, 15), st.sampled_from([6, 9, 20, 1000]), st.sets(st.integers(0, 11)), st.booleans())
@settings(max_examples=examples(150), deadline=None)
def test_documents_are_those_of_scoring_every_row(
    drawn: list[Rows], k: int, most: int, left: set[int], odd: bool
) -> None:
    engine = engine_of(drawn, most, left)
    where = parse_filter("n = 1") if odd else None
    asked = {0: 1.0, 1: 2.0}
    query = Query.from_weights(np.array([0, 1], np.int32), np.array([1.0, 2.0], np.float32))
    vector = np.array([1.0, -1.0], np.float32)

    def sparse(own: EngineDocument, at: int) -> float | None:
        held = dict(zip(*(each.tolist() for each in own.sparse[at]), strict=True))
        common = asked.keys() & held.keys()
        return sum(asked[term] * held[term] for term in common) if common else None

    def dense(own: EngineDocument, at: int) -> float | None:
        assert own.dense is not None
        return float(own.dense[at] @ vector) if own.dense[at].any() else None

    k = min(k, most)
    for found, expected in (
        (rank_sparse(engine, [query], k, where)[0], by_hand(engine, sparse, SPARSE.typical, zeros=True, odd=odd)),
        (rank_dense(engine, vector[None], k, where)[0], by_hand(engine, dense, DENSE.typical, zeros=False, odd=odd)),
    ):
        rows = list(zip(found.ids, found.internal_ids.tolist(), found.scores.tolist(), strict=True))
        assert rows == expected[:k]
    passages = rank_sparse(engine, [query], k, where, group=False)[0]
    every = sorted(
        (-score, own.internal_id + at)
        for own in engine.kept.values()
        for at in range(len(own.sparse))
        if (score := sparse(own, at)) is not None and (not odd or own.document.metadata["n"])
    )
    if most == 1000:  # among more equals than a list holds, the engine chooses
        assert list(zip((-passages.scores).tolist(), passages.internal_ids.tolist(), strict=True)) == every[:k]
