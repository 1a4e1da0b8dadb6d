"""Hybrid searches in another engine, by the rule of our own (`retrieval.fusion`).

The best candidates of each field are searched, each field is asked for its scores of the candidates that only the other
found, and our fusion makes one score of two. Engines have fusions of their own, but those rank each field's list by
itself: a document that one list just misses gets nothing from that field, so the ranking depends on where lists end.
They are another rule, and so are not used.
"""

from __future__ import annotations

from dataclasses import dataclass

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
from .ranking import as_vector, rank_dense, rank_sparse


@dataclass(frozen=True, slots=True, eq=False)
class HybridRanking:
    """The candidates of a query, by seq, and what becomes of them."""

    ids: list[str]
    internal_ids: NDArray[np.int64]
    scores: NDArray[np.float64]
    fields: list[FieldScores]
    shares: list[FieldShares]

    def cut(self, k: int, *, explain: bool) -> tuple[Ranked, list[tuple[Share, ...]] | None]:
        """Return the best `k`, best first, and where asked for what each field gave to each."""
        chosen = best(self.scores, k)
        ranked = Ranked([self.ids[row] for row in chosen.tolist()], self.internal_ids[chosen], self.scores[chosen])
        return ranked, [shares_at(self.fields, self.shares, row) for row in chosen.tolist()] if explain else None


def rank_hybrid(
    engine: Engine, query: Query, vector: NDArray[np.float32], fusion: Fusion, where: Expression | None
) -> HybridRanking:
    """Return the candidates of a query with their fused scores.

    Raises:
        UnsupportedError: the fusion's method is `fixed` without `sparse_high`, or it asks for more candidates than the
            engine's searches reach.
    """
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
    sparse = as_vector(query)
    lexical = rank_sparse(engine, [query], fusion.depth, where)[0]
    near = rank_dense(engine, vector[None], fusion.depth, where)[0]
    names = dict(
        zip([*lexical.internal_ids.tolist(), *near.internal_ids.tolist()], [*lexical.ids, *near.ids], strict=True)
    )
    internal_ids = np.array(sorted(names), np.int64)
    sparse_scores, matched = _at(internal_ids, lexical)
    others, known = _at(internal_ids, near)
    missing = internal_ids[~matched].tolist()
    if missing and len(query):
        more, known_now = _at(internal_ids, engine.search_sparse([sparse], len(missing), None, among=missing)[0])
        sparse_scores, matched = sparse_scores + more, matched | known_now
    missing = internal_ids[~known].tolist()
    if missing and vector.any():
        more, known_now = _at(internal_ids, engine.search_dense(vector[None], len(missing), None, among=missing)[0])
        others, known = others + more, known | known_now
    fields = [FieldScores("sparse", sparse_scores, matched, 0.0), FieldScores("dense", others, known, 1.0)]
    scores, shares = fuse(fusion, fields)
    return HybridRanking([names[seq] for seq in internal_ids.tolist()], internal_ids, scores, fields, shares)


def _at(internal_ids: NDArray[np.int64], ranked: Ranked) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return a ranking's scores at the places of `internal_ids`, ascending, and where it has any."""
    scores = np.zeros(len(internal_ids), np.float64)
    known = np.zeros(len(internal_ids), np.bool_)
    positions = np.searchsorted(internal_ids, ranked.internal_ids)
    scores[positions], known[positions] = ranked.scores, True
    return scores, known
