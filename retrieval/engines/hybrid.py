"""Hybrid searches in another engine, by the rule of our own (`retrieval.fusion`).

The best candidates of each field are searched, each field is asked for its scores of the candidates that only the other
found, and our fusion makes one score of two. Engines have fusions of their own, but those rank each field's list by
itself: a document that one list just misses gets nothing from that field, so the ranking depends on where lists end.
They are another rule, and so are not used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lexhound.index.inverted.quantization import Query
from lexhound.retrieval.collection.query.fusion import FieldScores, FieldShares, best, fuse
from lexhound.retrieval.collection.query.hybrid import shares_at
from lexhound.retrieval.collection.request import Fusion
from lexhound.retrieval.collection.result import Share
from lexhound.retrieval.errors import UnsupportedError
from lexhound.retrieval.filters import Expression

from .engine import Engine, Ranked
from .grouping import FieldSearch
from .ranking import dense_search, rank, sparse_search


@dataclass(frozen=True, slots=True, eq=False)
class HybridRanking:
    """The candidates of a query in order of insertion, with fused scores, and what becomes of them."""

    pool: Ranked
    fields: list[FieldScores]
    shares: list[FieldShares]

    def cut(self, k: int, *, explain: bool) -> tuple[Ranked, list[tuple[Share, ...]] | None]:
        """Return the best `k`, best first, and where asked for what each field gave to each."""
        chosen = best(self.pool.scores, k)
        shares = [shares_at(self.fields, self.shares, row) for row in chosen.tolist()] if explain else None
        return self.pool.at(chosen), shares


def rank_hybrid(
    engine: Engine,
    query: Query,
    vector: NDArray[np.float32],
    fusion: Fusion,
    where: Expression | None,
    *,
    group: bool = True,
) -> HybridRanking:
    """Return the candidates of a query with their fused scores; with `group` False rows, not documents.

    Raises:
        UnsupportedError: the fusion's method is `fixed` without `sparse_high`, or it asks for more candidates than the
            engine's searches reach.
    """
    _refuse(engine, fusion)
    searches = (
        (sparse_search(engine, [query], where), len(query) > 0),
        (dense_search(engine, vector[None], where), vector.any()),
    )
    found = [rank(field, [0] if asks else [], 1, fusion.depth, group=group)[0] for field, asks in searches]
    both = Ranked.joined(found)
    keys, first = np.unique(_keys(both, group=group), return_index=True)
    pool = both.at(first)  # of a document in both, the row of the sparse field
    fields = []
    for (field, asks), ranked, (name, high) in zip(searches, found, (("sparse", 0.0), ("dense", 1.0)), strict=True):
        scores, known = np.zeros(len(keys), np.float64), np.zeros(len(keys), np.bool_)
        at = np.searchsorted(keys, _keys(ranked, group=group))
        scores[at], known[at] = ranked.scores, True
        missing = np.flatnonzero(~known)
        if len(missing) and asks:
            more = _scored(field, pool.at(missing), group=group)
            at = np.searchsorted(keys, _keys(more, group=group))
            scores[at], known[at] = more.scores, True
            if name == "sparse":  # its best row of a document stands for it
                places = np.arange(len(keys))
                places[at] = len(keys) + np.arange(len(more))
                pool = Ranked.joined([pool, more]).at(places)
        fields.append(FieldScores(name, scores, known, high))
    scores, shares = fuse(fusion, fields)
    return HybridRanking(replace(pool, scores=scores), fields, shares)


def _refuse(engine: Engine, fusion: Fusion) -> None:
    if fusion.method == "fixed" and fusion.sparse_high is None:
        raise UnsupportedError(
            "fusion `fixed` without sparse_high rests on the largest weight that a document may have, which is fixed in"
            " Lexhound's own index only",
            where=engine.address,
            hint="give sparse_high, or use another method",
        )
    if fusion.depth > engine.max_hits:
        raise UnsupportedError(
            f"the engine's searches end at hit {engine.max_hits:,}, and the fusion's depth is {fusion.depth:,}",
            where=engine.address,
            hint="lower the depth",
        )


def _keys(ranked: Ranked, *, group: bool) -> NDArray[np.int64]:
    """Return what tells candidates apart: their documents, or themselves."""
    return ranked.documents if group else ranked.internal_ids


def _scored(field: FieldSearch, ranked: Ranked, *, group: bool) -> Ranked:
    """Return what a field says of candidates that it did not find among its best."""
    return field.documents_scored(0, ranked) if group else field.rows_scored(0, ranked.internal_ids.tolist())
