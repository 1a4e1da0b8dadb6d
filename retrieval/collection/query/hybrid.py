"""Dense and hybrid searches over a snapshot.

A hybrid search takes the best candidates of the inverted index and those of the dense vectors, lets each field score
the candidates that only the other one found, and fuses (`fusion`). Scores are exact on both fields, so a document's
fused score is the same on every page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexhound.index.dense.flat import VectorIndex
from lexhound.index.inverted.quantization import Query
from lexhound.index.topk import SearchStats, TopK
from lexhound.retrieval.collection.fields.absent_vectors import has_vector, search_many_present, search_present
from lexhound.retrieval.collection.request import Fusion
from lexhound.retrieval.collection.result import Share
from lexhound.retrieval.errors import CorruptCollectionError

from .fusion import FieldScores, FieldShares, best, fuse
from .ranking import RankedRows, merge_ranked, named, rank, rank_rows
from .snapshot import SegmentView, Snapshot

Masks = Sequence[NDArray[np.bool_] | None]


def rank_hybrid(
    snapshot: Snapshot,
    query: Query,
    vector: NDArray[np.float32],
    fusion: Fusion,
    allowed: Masks,
    recall: float | None = None,
) -> tuple[FusedRows, SearchStats]:
    """Return the candidates of a query with their fused scores."""
    lexical, read = rank(snapshot, query, fusion.depth, allowed, recall)
    near, scored = rank_dense(snapshot, vector, fusion.depth, allowed, recall)
    stats = SearchStats(read.postings_read, read.rows_scored + scored.rows_scored)
    return _fused(snapshot, query, vector, lexical, near, fusion), stats


def rank_hybrid_many(
    snapshot: Snapshot,
    queries: Sequence[Query],
    vectors: NDArray[np.float32],
    fusion: Fusion,
    allowed: Masks,
    threads: int | None,
    recall: float | None = None,
) -> Iterator[FusedRows]:
    """Yield the same of many queries, in their order."""
    lexical = rank_rows(snapshot, queries, fusion.depth, allowed, threads, recall)
    near = rank_dense_many(snapshot, vectors, fusion.depth, allowed, threads, recall)
    for query, vector, mine, other in zip(queries, vectors, lexical, near, strict=True):
        yield _fused(snapshot, query, vector, mine, other, fusion)


def rank_dense(
    snapshot: Snapshot, vector: NDArray[np.float32], depth: int, allowed: Masks, recall: float | None = None
) -> tuple[RankedRows, SearchStats]:
    """Return the best `depth` rows by inner product, over all parts; nearly so where one is clustered and `recall` not
    1.

    Rows without a vector are not found, and nothing for a query without one: zeros.
    """
    ranked = [
        search_present(vectors_of(view), vector, depth, mask, recall)
        for view, mask in zip(snapshot.segments, allowed, strict=True)
    ]
    scored = sum(stats.rows_scored for _, stats in ranked)
    return merge_ranked(snapshot, [top for top, _ in ranked], depth), SearchStats(0, scored)


def rank_dense_many(
    snapshot: Snapshot,
    vectors: NDArray[np.float32],
    depth: int,
    allowed: Masks,
    threads: int | None = None,
    recall: float | None = None,
) -> list[RankedRows]:
    """Return the same of many queries, float32[m, width]."""
    ranked = [
        search_many_present(vectors_of(view), vectors, depth, mask, recall, threads)
        for view, mask in zip(snapshot.segments, allowed, strict=True)
    ]
    return [merge_ranked(snapshot, [tops[i] for tops in ranked], depth) for i in range(len(vectors))]


def candidate_scores(
    snapshot: Snapshot, query: Query, vector: NDArray[np.float32], depth: int, allowed: Masks
) -> tuple[list[str], list[FieldScores]]:
    """Return ids and both fields' scores of a query's candidates, for learning how to fuse them."""
    lexical, _ = rank(snapshot, query, depth, allowed)
    near, _ = rank_dense(snapshot, vector, depth, allowed)
    pool = _pooled(lexical, near)
    fields = _scored(snapshot, query, vector, pool, lexical, near)
    return [identifier for identifier, _ in named(snapshot, pool)], fields


def vectors_of(view: SegmentView) -> VectorIndex:
    """Return the dense vectors of a part of a collection that has them."""
    if view.segment.dense is None:
        raise CorruptCollectionError(
            f"segment {view.segment.name} has no dense vectors, and its collection should have them",
            hint="restore it from a backup or index the corpus again",
        )
    return view.segment.dense


def shares_at(fields: Sequence[FieldScores], field_shares: Sequence[FieldShares], position: int) -> tuple[Share, ...]:
    """Return what each field says of one candidate and gives to its fused score."""
    return tuple(
        Share(
            "dense" if field.name == "dense" else "sparse",
            float(field.scores[position]),
            int(shares.ranks[position]) or None,
            float(shares.values[position]),
            shares.weight,
            float(shares.shares[position]),
        )
        for field, shares in zip(fields, field_shares, strict=True)
    )


@dataclass(frozen=True, slots=True, eq=False)
class FusedRows:
    """The candidates of a query, by seq, with the scores of both fields and the fused ones.

    Attributes:
        complete: whether they are all that either field finds, none of which was cut off.
    """

    pool: RankedRows
    scores: NDArray[np.float64]
    fields: list[FieldScores]
    shares: list[FieldShares]
    complete: bool

    def cut(self, k: int) -> RankedRows:
        """Return the best `k`, best first."""
        chosen = best(self.scores, k)
        ranked = self.pool.at(chosen)
        return RankedRows(ranked.parts, ranked.rows, ranked.internal_ids, self.scores[chosen])

    def shares_of(self, position: int) -> tuple[Share, ...]:
        """Return what each field gave to one candidate."""
        return shares_at(self.fields, self.shares, position)


def _fused(
    snapshot: Snapshot,
    query: Query,
    vector: NDArray[np.float32],
    lexical: RankedRows,
    near: RankedRows,
    fusion: Fusion,
) -> FusedRows:
    pool = _pooled(lexical, near)
    fields = _scored(snapshot, query, vector, pool, lexical, near)
    scores, shares = fuse(fusion, fields)
    complete = len(lexical.rows) < fusion.depth and len(near.rows) < fusion.depth
    return FusedRows(pool, scores, fields, shares, complete)


def _pooled(lexical: RankedRows, near: RankedRows) -> RankedRows:
    """Return the union of two rankings, by seq; without scores."""
    internal_ids, first = np.unique(np.concatenate([lexical.internal_ids, near.internal_ids]), return_index=True)
    parts = np.concatenate([lexical.parts, near.parts])[first]
    rows = np.concatenate([lexical.rows, near.rows])[first]
    return RankedRows(parts, rows, internal_ids, np.zeros(len(internal_ids), np.float64))


def _scored(
    snapshot: Snapshot,
    query: Query,
    vector: NDArray[np.float32],
    pool: RankedRows,
    lexical: RankedRows,
    near: RankedRows,
) -> list[FieldScores]:
    """Return what each field says of every candidate, whichever field found it."""
    sparse_scores, known = _known(pool, lexical)
    matched = known.copy()
    others, near_known = _known(pool, near)
    close = near_known.copy()
    ceiling = float(query.weights.sum()) * query.scale * snapshot.greatest_weight
    for number, view in enumerate(snapshot.segments):
        in_part = pool.parts == number
        missing = np.flatnonzero(in_part & ~known)
        if len(missing) and len(query):
            top = _score_rows(view, query, pool.rows[missing])
            at = missing[np.searchsorted(pool.rows[missing], top.rows)]
            sparse_scores[at], matched[at] = top.scores, True
        missing = np.flatnonzero(in_part & ~near_known)
        if len(missing) and vector.any():
            vectors, rows = vectors_of(view), pool.rows[missing]
            others[missing] = vectors.scores_of(rows, vector)
            close[missing] = has_vector(vectors, rows, others[missing])
    return [FieldScores("sparse", sparse_scores, matched, ceiling), FieldScores("dense", others, close, 1.0)]


def _known(pool: RankedRows, ranked: RankedRows) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return a ranking's scores at the places of the pool, and where it has any."""
    scores = np.zeros(len(pool.internal_ids), np.float64)
    known = np.zeros(len(pool.internal_ids), np.bool_)
    positions = np.searchsorted(pool.internal_ids, ranked.internal_ids)
    scores[positions], known[positions] = ranked.scores, True
    return scores, known


def _score_rows(view: SegmentView, query: Query, rows: NDArray[np.int64]) -> TopK:
    """Return those of some rows (ascending, as internal ids in a segment are) that match, with their scores."""
    mask = np.zeros(view.segment.n_rows, np.bool_)
    mask[rows] = True
    return view.segment.index.search(query, len(rows), allowed=mask)
