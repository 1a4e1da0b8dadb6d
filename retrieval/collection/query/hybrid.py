"""Dense and hybrid searches over a snapshot.

A hybrid search takes the best candidates of the inverted index and those of the dense vectors, lets each field score
the candidates that only the other one found, and fuses (`fusion`). Scores are exact on both fields, so a document's
fused score is the same on every page.

Candidates are documents: each side brings its best, and a document's score on a side is that of its best passage there.
The row that stands for it is the best one of the sparse side, or where no passage has a term of the query the best one
of the dense side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lexhound.index.dense.flat import VectorIndex
from lexhound.index.inverted.quantization import Query
from lexhound.index.topk import SearchStats
from lexhound.retrieval.collection.fields.absent_vectors import has_vector, search_many_present, search_present
from lexhound.retrieval.collection.request import Fusion
from lexhound.retrieval.collection.result import Share
from lexhound.retrieval.errors import CorruptCollectionError

from .fusion import FieldScores, FieldShares, best, fuse
from .grouping import DENSE, SPARSE, PassageScoring, Scorer, documents_scored, group_many, group_one
from .ranked_rows import RankedRows, named, ranked_parts
from .ranking import merge_ranked, rank, rank_rows, sparse_scorer
from .snapshot import SegmentView, Snapshot

Masks = Sequence[NDArray[np.bool_] | None]

CANDIDATE_RECALL = 0.97
"""The share of the nearest rows that is enough for candidates where a search names none. Over 200,000 passages the
first ten are then those of exact candidates for 99 % of the queries."""


def rank_hybrid(
    snapshot: Snapshot,
    query: Query,
    vector: NDArray[np.float32],
    fusion: Fusion,
    allowed: Masks,
    recall: float | None = None,
    *,
    group: bool = True,
) -> tuple[FusedRows, SearchStats]:
    """Return the candidates of a query with their fused scores; with `group` False passages, not documents."""
    lexical, read = rank(snapshot, query, fusion.depth, allowed, recall, group=group)
    near, scored = rank_dense(snapshot, vector, fusion.depth, allowed, recall or CANDIDATE_RECALL, group=group)
    return _fused(snapshot, query, vector, (lexical, near), fusion, group=group), read + scored


def rank_hybrid_many(
    snapshot: Snapshot,
    queries: Sequence[Query],
    vectors: NDArray[np.float32],
    fusion: Fusion,
    allowed: Masks,
    threads: int | None,
    recall: float | None = None,
    *,
    group: bool = True,
) -> Iterator[FusedRows]:
    """Yield the same of many queries, in their order."""
    lexical = rank_rows(snapshot, queries, fusion.depth, allowed, threads, recall, group=group)
    near = rank_dense_many(snapshot, vectors, fusion.depth, allowed, threads, recall or CANDIDATE_RECALL, group=group)
    for query, vector, mine, other in zip(queries, vectors, lexical, near, strict=True):
        yield _fused(snapshot, query, vector, (mine, other), fusion, group=group)


def rank_dense(
    snapshot: Snapshot,
    vector: NDArray[np.float32],
    depth: int,
    allowed: Masks,
    recall: float | None = None,
    *,
    group: bool = True,
) -> tuple[RankedRows, SearchStats]:
    """Return the best rows of the best `depth` documents by inner product, over all parts, or with `group` False the
    best `depth` rows; nearly so where a part is clustered and `recall` not 1.

    Rows without a vector are not found, and nothing for a query without one: zeros.
    """
    if not group or not snapshot.has_passages:
        return _rank_dense(snapshot, vector, depth, allowed, recall)
    rows_scored = 0

    def search(fetch: int) -> RankedRows:
        nonlocal rows_scored
        ranked, stats = _rank_dense(snapshot, vector, fetch, allowed, recall)
        rows_scored += stats.rows_scored
        return ranked

    ranked = group_one(snapshot, depth, search, dense_scorer(vector), DENSE)
    return ranked, SearchStats(0, rows_scored)


def dense_scorer(vector: NDArray[np.float32]) -> Scorer:
    """Return what scores rows by dense vectors: those that have one."""

    def score(view: SegmentView, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        products = vectors_of(view).scores_of(rows, vector)
        present = has_vector(vectors_of(view), rows, products)
        return rows[present], products[present]

    return score


def _rank_dense(
    snapshot: Snapshot, vector: NDArray[np.float32], depth: int, allowed: Masks, recall: float | None
) -> tuple[RankedRows, SearchStats]:
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
    *,
    group: bool = True,
) -> list[RankedRows]:
    """Return the same of many queries, float32[m, width]."""

    def search(numbers: Sequence[int], fetch: int) -> list[RankedRows]:
        some = vectors if len(numbers) == len(vectors) else vectors[list(numbers)]
        ranked = [
            search_many_present(vectors_of(view), some, fetch, mask, recall, threads)
            for view, mask in zip(snapshot.segments, allowed, strict=True)
        ]
        return [merge_ranked(snapshot, [tops[i] for tops in ranked], fetch) for i in range(len(some))]

    if not group or not snapshot.has_passages:
        return search(range(len(vectors)), depth)

    def scorer(number: int) -> Scorer:
        return dense_scorer(vectors[number])

    return group_many(snapshot, len(vectors), depth, search, scorer, DENSE)


def candidate_scores(
    snapshot: Snapshot, query: Query, vector: NDArray[np.float32], depth: int, allowed: Masks
) -> tuple[list[str], list[FieldScores]]:
    """Return ids and both fields' scores of a query's candidates, for learning how to fuse them."""
    lexical, _ = rank(snapshot, query, depth, allowed)
    near, _ = rank_dense(snapshot, vector, depth, allowed, CANDIDATE_RECALL)
    pool = _pooled(lexical, near)
    fields = _scored(snapshot, query, vector, pool, (lexical, near), ceiling=True)
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
        return replace(self.pool, scores=self.scores).at(chosen)

    def shares_of(self, position: int) -> tuple[Share, ...]:
        """Return what each field gave to one candidate."""
        return shares_at(self.fields, self.shares, position)


def _fused(
    snapshot: Snapshot,
    query: Query,
    vector: NDArray[np.float32],
    found: tuple[RankedRows, RankedRows],
    fusion: Fusion,
    *,
    group: bool,
) -> FusedRows:
    lexical, near = found if group else [replace(each, documents=each.internal_ids) for each in found]
    pool = _pooled(lexical, near)
    ceiling = fusion.method == "fixed"
    fields = _scored(snapshot, query, vector, pool, (lexical, near), ceiling=ceiling, group=group)
    scores, shares = fuse(fusion, fields)
    complete = len(lexical.rows) < fusion.depth and len(near.rows) < fusion.depth
    return FusedRows(pool if group else _with_documents(snapshot, pool), scores, fields, shares, complete)


def _with_documents(snapshot: Snapshot, pool: RankedRows) -> RankedRows:
    """Return passages that were candidates of their own, told whose they are."""
    documents = pool.internal_ids.copy()
    for number, view in enumerate(snapshot.segments):
        in_part = pool.parts == number
        documents[in_part] = view.segment.documents_of(pool.rows[in_part])
    return replace(pool, documents=documents)


def _pooled(lexical: RankedRows, near: RankedRows) -> RankedRows:
    """Return the union of two rankings, by document; without scores. Of a document in both, the row of the first."""
    documents, first = np.unique(np.concatenate([lexical.documents, near.documents]), return_index=True)
    parts = np.concatenate([lexical.parts, near.parts])[first]
    rows = np.concatenate([lexical.rows, near.rows])[first]
    internal_ids = np.concatenate([lexical.internal_ids, near.internal_ids])[first]
    return RankedRows(parts, rows, internal_ids, np.zeros(len(documents), np.float64), documents)


def _scored(
    snapshot: Snapshot,
    query: Query,
    vector: NDArray[np.float32],
    pool: RankedRows,
    found: tuple[RankedRows, RankedRows],
    *,
    ceiling: bool,
    group: bool = True,
) -> list[FieldScores]:
    """Return what each field says of every candidate, whichever field found it.

    Where the sparse side finds a better passage of a candidate than the one in the pool, that takes its place. Without
    `ceiling` the largest score that the query could get is not worked out, which reads a whole directory.
    """
    sparse_scores, matched = _known(pool, found[0])
    others, close = _known(pool, found[1])
    highest = float(query.weights.sum()) * query.scale * snapshot.greatest_weight if ceiling else np.inf
    missing = np.flatnonzero(~matched)
    if len(missing) and len(query):
        found_now = _scores_of(snapshot, pool.documents[missing], sparse_scorer(query), SPARSE, group=group)
        at = np.searchsorted(pool.documents, found_now.documents)
        sparse_scores[at], matched[at] = found_now.scores, True
        pool.parts[at], pool.rows[at], pool.internal_ids[at] = found_now.parts, found_now.rows, found_now.internal_ids
    missing = np.flatnonzero(~close)
    if len(missing) and vector.any():
        found_now = _scores_of(snapshot, pool.documents[missing], dense_scorer(vector), DENSE, group=group)
        at = np.searchsorted(pool.documents, found_now.documents)
        others[at], close[at] = found_now.scores, True
    return [FieldScores("sparse", sparse_scores, matched, highest), FieldScores("dense", others, close, 1.0)]


def _scores_of(
    snapshot: Snapshot, documents: NDArray[np.int64], score: Scorer, scoring: PassageScoring, *, group: bool
) -> RankedRows:
    """Return those of some documents, or of some rows without `group`, that a field can score; ascending by seq."""
    if group:
        return documents_scored(snapshot, documents, score, scoring)
    found = []
    for view in snapshot.segments:
        ids = view.segment.internal_ids
        places = np.minimum(np.searchsorted(ids, documents), view.segment.n_rows - 1)
        rows = places[ids[places] == documents]
        found.append(score(view, rows) if len(rows) else (rows, np.empty(0, np.float64)))
    ranked = ranked_parts(snapshot, found)
    ranked = ranked.at(np.argsort(ranked.internal_ids))
    return replace(ranked, documents=ranked.internal_ids)


def _known(pool: RankedRows, ranked: RankedRows) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return a ranking's scores at the places of the pool, and where it has any."""
    scores = np.zeros(len(pool.documents), np.float64)
    known = np.zeros(len(pool.documents), np.bool_)
    positions = np.searchsorted(pool.documents, ranked.documents)
    scores[positions], known[positions] = ranked.scores, True
    return scores, known
