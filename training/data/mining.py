"""Candidates for training: which documents of a pool are worth scoring for a query, and what the teachers say of them.

Candidates are the best of BM25, by our own index, and of a dense teacher, exactly; every candidate of either is scored
by both, because a teacher that found a document says nothing of the others otherwise. Negatives that a teacher places
near the answer are likely answers themselves: `filter_false_negatives`.

Order is part of the contract here too: score descending, then row ascending. BM25's scores are the index's, to the last
bit, and do not depend on batches, threads or machines; products of dense vectors do depend on the machine, in the last
bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.bm25.encoder import LexicalSettings
from lexhound.training.scoring import PoolScores

from .bm25_pool import LexicalPool

_BLOCK = 1 << 24  # scores held at a time: 64 MB
_GROUP = 64


@dataclass(frozen=True, slots=True)
class MiningSettings:
    """How candidates are found.

    Attributes:
        lexical_depth, dense_depth: how many of each list; 0 for none.
        lexical: options of BM25.
        threads: of the lexical search; None for one a processor.
    """

    lexical_depth: int = 32
    dense_depth: int = 32
    lexical: LexicalSettings = field(default_factory=LexicalSettings)
    threads: int | None = None

    def __post_init__(self) -> None:
        for name in ("lexical_depth", "dense_depth"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, but is {getattr(self, name)}")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads must be at least 1, not {self.threads}")


@dataclass(frozen=True, slots=True, eq=False)
class DenseVectors:
    """Vectors of one dense teacher: queries float32[n, width], documents float32[m, width]."""

    queries: NDArray[np.float32]
    documents: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Each query's candidates, in order: its positive if it has one, then the best of each list by turns.

    Attributes:
        rows: int32[queries, depth], documents of the pool, none twice; -1 where a query has no more.
        bm25, dense: float32[queries, depth], what each teacher gives them, 0 where `rows` is -1; dense is None where
            there was no dense teacher.
        bm25_pool, dense_pool: how each query's scores are spread over the whole pool.
    """

    rows: NDArray[np.int32]
    bm25: NDArray[np.float32]
    dense: NDArray[np.float32] | None
    bm25_pool: PoolScores
    dense_pool: PoolScores | None


def mine(
    queries: Sequence[str],
    documents: Sequence[str] | LexicalPool,
    *,
    dense: DenseVectors | None = None,
    positives: NDArray[np.int32] | None = None,
    settings: MiningSettings | None = None,
) -> Candidates:
    """Return each query's candidates with the scores of every teacher; see `Candidates`.

    Args:
        documents: the pool, as texts or with its BM25 made already.
        dense: a dense teacher's vectors of the queries and of the pool.
        positives: int32[queries], the row that answers each query, -1 for none; it becomes the first candidate.

    Raises:
        ValueError: the vectors or positives do not fit the queries and the pool, or are not numbers.
    """
    settings = settings or MiningSettings()
    pool = documents
    if not isinstance(pool, LexicalPool):
        pool = LexicalPool(pool, settings.lexical, threads=settings.threads)
    _check(len(queries), len(pool), dense, positives)
    encoded = pool.encode_queries(queries)
    lexical = pool.search(encoded, settings.lexical_depth)
    first = np.full((len(queries), 1), -1, np.int32) if positives is None else positives[:, None]
    if dense is None:
        rows, scores, dense_pool = _union(first, lexical, lexical[:, :0]), None, None
    else:
        rows, scores, dense_pool = _with_dense(dense, first, lexical, settings.dense_depth)
    return Candidates(rows, pool.scores(encoded, rows), scores, pool.scores_over_pool(encoded), dense_pool)


def dense_top(dense: DenseVectors, depth: int) -> tuple[NDArray[np.int32], NDArray[np.float32], PoolScores]:
    """Return each query's best rows by the dot product, their scores, and the spread over the pool.

    int32 and float32[queries, min(depth, documents)], score descending, then row ascending: exact, by blocks of the
    product of all queries with all documents.
    """
    _check(len(dense.queries), len(dense.documents), dense, None)
    nothing = np.full((len(dense.queries), 0), -1, np.int32)
    rows, scores, pool = _with_dense(dense, nothing, nothing, depth)
    return rows, scores, pool


def filter_false_negatives(
    scores: NDArray[np.float32],
    positive: NDArray[np.float32],
    *,
    margin: float | None = None,
    relative: float | None = None,
) -> NDArray[np.bool_]:
    """Return bool[queries, depth]: which candidates score low enough, by a teacher, to be trusted as negatives.

    Those above the score of the query's positive, less a margin or times a share, are likely answers that nobody
    judged (Moreira et al., "NV-Retriever", 2024, section 3: TopK-MarginPos and TopK-PercPos; they found a share of
    .95 best). Given both, both must hold. The positive itself is filtered too where it is among the candidates.

    Args:
        scores: float[queries, depth]; positive: float[queries], the same teacher's score of the answer.
        margin: >= 0, in the unit of the scores. relative: a share in (0, 1]; of a positive's score that is not above 0
            there is no share, so that the score itself is the limit.

    Raises:
        ValueError: neither is given, or one is out of its range.
    """
    if margin is None and relative is None:
        raise ValueError("give a margin, a relative limit, or both")
    if margin is not None and not margin >= 0:
        raise ValueError(f"the margin must be at least 0, not {margin}")
    if relative is not None and not 0 < relative <= 1:
        raise ValueError(f"the relative limit must be above 0 and at most 1, not {relative}")
    limit = np.full(len(positive), np.inf)
    if margin is not None:
        limit = np.minimum(limit, positive - margin)
    if relative is not None:
        limit = np.minimum(limit, np.where(positive > 0, positive * relative, positive))
    kept: NDArray[np.bool_] = scores < limit[:, None]
    return kept


def _check(n_queries: int, n_documents: int, dense: DenseVectors | None, positives: NDArray[np.int32] | None) -> None:
    if positives is not None and (
        positives.shape != (n_queries,)
        or (len(positives) and not -1 <= positives.min() <= positives.max() < n_documents)
    ):
        raise ValueError(f"positives must be rows from 0 to {n_documents - 1}, or -1, one for each query")
    if dense is None:
        return
    for name, vectors, rows in (("queries", dense.queries, n_queries), ("documents", dense.documents, n_documents)):
        if vectors.dtype != np.float32 or vectors.ndim != 2 or len(vectors) != rows:
            raise ValueError(f"the vectors of the {name} must be float32[{rows}, width], not {vectors.shape}")
        if not np.isfinite(vectors).all():
            raise ValueError(f"the vectors of the {name} hold values that are no numbers")
    if dense.queries.shape[1] != dense.documents.shape[1]:
        raise ValueError(f"vectors of different widths: {dense.queries.shape[1]} and {dense.documents.shape[1]}")


def _with_dense(
    dense: DenseVectors, first: NDArray[np.int32], lexical: NDArray[np.int32], depth: int
) -> tuple[NDArray[np.int32], NDArray[np.float32], PoolScores]:
    """Union of the lists, the dense scores of it, and their spread: one pass over the product, block by block."""
    n_queries, n_documents = len(dense.queries), len(dense.documents)
    depth = min(depth, n_documents)
    rows, scores = [], []
    spread = np.zeros((4, n_queries), np.float32)
    transposed = dense.documents.T
    for places in _slices(n_queries, max(64, _BLOCK // max(1, n_documents))):
        product = dense.queries[places] @ transposed
        own = _union(first[places], lexical[places], _best(product, depth), trim=False)
        rows.append(own)
        if n_documents:
            spread[:, places] = product.min(1), product.max(1), product.mean(1), product.std(1)
            scores.append(np.where(own >= 0, np.take_along_axis(product, np.maximum(own, 0), 1), np.float32(0)))
        else:
            scores.append(np.zeros(own.shape, np.float32))
    width = first.shape[1] + lexical.shape[1] + depth
    all_rows = np.concatenate([np.empty((0, width), np.int32), *rows])
    all_scores = np.concatenate([np.empty((0, width), np.float32), *scores])
    used = _used(all_rows)
    return all_rows[:, :used], all_scores[:, :used], PoolScores(*spread)


def _best(scores: NDArray[np.float32], depth: int) -> NDArray[np.int32]:
    """The best columns of each row, score descending, then column ascending: int32[rows, depth].

    depth <= columns. Sorting needs few of the scores: among the largest of each of many groups of columns, the
    `depth`-th is no better than the `depth`-th of all.
    """
    n_rows, n_columns = scores.shape
    if depth == 0 or n_rows == 0:
        return np.empty((n_rows, depth), np.int32)
    groups = n_columns // _GROUP
    if groups >= depth:
        whole = scores[:, : groups * _GROUP].reshape(n_rows, groups, _GROUP).max(axis=2)
        bound = np.partition(whole, groups - depth, axis=1)[:, groups - depth]
    else:
        bound = np.partition(scores, n_columns - depth, axis=1)[:, n_columns - depth]
    at, columns = np.nonzero(scores >= bound[:, None])
    order = np.lexsort((columns, -scores[at, columns], at))
    starts = np.concatenate(([0], np.cumsum(np.bincount(at, minlength=n_rows))))[:-1]
    best: NDArray[np.int32] = columns[order][starts[:, None] + np.arange(depth)].astype(np.int32)
    return best


def _union(
    first: NDArray[np.int32], one: NDArray[np.int32], other: NDArray[np.int32], *, trim: bool = True
) -> NDArray[np.int32]:
    """Lists side by side, then by turns: each row once, where it comes first; -1 at the end."""
    depth = max(one.shape[1], other.shape[1])
    turns = [part[:, place : place + 1] for place in range(depth) for part in (one, other) if place < part.shape[1]]
    rows = np.concatenate([first, *turns], axis=1)
    order = np.argsort(rows, axis=1, kind="stable")
    ordered = np.take_along_axis(rows, order, 1)
    again = np.zeros(rows.shape, bool)
    again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    repeated = np.empty(rows.shape, bool)
    np.put_along_axis(repeated, order, again, 1)
    rows[repeated] = -1
    packed = np.take_along_axis(rows, np.argsort(rows < 0, axis=1, kind="stable"), 1)
    return packed[:, : _used(packed)] if trim else packed


def _used(rows: NDArray[np.int32]) -> int:
    """How many columns hold a row at all."""
    return int((rows >= 0).sum(axis=1).max(initial=0))


def _slices(n: int, size: int) -> Iterator[slice]:
    for start in range(0, n, size):
        yield slice(start, min(n, start + size))
