"""A search whose best hits late interaction puts in a new order, by the token vectors that the collection keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.late.vectors import QueryTokens, max_similarities
from lexhound.retrieval.collection.query.fusion import FieldScores, fuse
from lexhound.retrieval.collection.query.search import answer_with_rows
from lexhound.retrieval.collection.request import Fusion, SearchRequest
from lexhound.retrieval.collection.result import SearchResult
from lexhound.retrieval.collection.store.schema import DATABASE
from lexhound.retrieval.collection.store.token_table import TABLE, read_token_vectors
from lexhound.retrieval.deadline import check_deadline
from lexhound.retrieval.errors import CorruptCollectionError, StaleSnapshotError

from .options import Rerank
from .reranked import first_stage

if TYPE_CHECKING:
    from lexhound.retrieval.collection.encoders import CollectionEncoders
    from lexhound.retrieval.collection.query.encoding import QueryEncoders
    from lexhound.retrieval.collection.query.snapshot import Snapshot
    from lexhound.retrieval.collection.reader import CollectionReader


def search_late(
    reader: CollectionReader, encoders: CollectionEncoders, request: SearchRequest, options: Rerank
) -> SearchResult:
    """Return the hits of a search that late interaction has put in a new order; see `rerank_late`.

    Raises:
        QueryError: the collection keeps no token vectors; and what `rerank_late` and `Collection.search` raise.
    """
    started = perf_counter()
    late = encoders.require_late()
    query_encoders = encoders.of_queries(request)
    tokens = late.query(first_stage(request, options)[0])
    seconds = perf_counter() - started
    result = reader.read(lambda snapshot: rerank_late(snapshot, query_encoders, tokens, request, options))
    return replace(result, seconds=result.seconds + seconds, encoding=result.encoding + seconds)


def rerank_late(
    snapshot: Snapshot, encoders: QueryEncoders, tokens: QueryTokens, request: SearchRequest, options: Rerank
) -> SearchResult:
    """Return the hits of a search by the weighted sum of two z-scores over them: of their score, and of MaxSim.

    Equal scores are in order of insertion. A hit without token vectors has the least MaxSim of the others.

    Raises:
        QueryError: see `first_stage`. StaleSnapshotError: a hit has been deleted or replaced since.
        CorruptCollectionError: token vectors are missing, or not what was written.
    """
    started = perf_counter()
    _, first = first_stage(request, options)
    result, rows = answer_with_rows(snapshot, encoders, first)
    similarities = _similarities(snapshot, tokens, rows)
    before = np.array([hit.score for hit in result.hits], np.float64)
    scores = _fused(before, similarities, options.weight or 0.0)
    order = np.lexsort((np.array(rows, np.int64), -scores))[request.offset : request.depth]
    hits = tuple(
        replace(
            result.hits[place],
            rank=rank,
            score=float(scores[place]),
            retrieval_rank=result.hits[place].rank,
            retrieval_score=result.hits[place].score,
            late_score=None if np.isnan(similarities[place]) else float(similarities[place]),
        )
        for rank, place in enumerate(order.tolist(), request.offset + 1)
    )
    return replace(result, hits=hits, seconds=perf_counter() - started)


def _similarities(snapshot: Snapshot, tokens: QueryTokens, rows: Sequence[int]) -> NDArray[np.float64]:
    """Return the MaxSim of each row, float64[rows]; NaN where it or the query has no token."""
    check_deadline()
    with snapshot.reading() as connection:
        found = read_token_vectors(connection, rows)
    lost = [row for row in rows if row not in found]
    if lost and snapshot.held is None:
        raise StaleSnapshotError("documents of this state have been deleted since", hint="refresh the collection")
    if lost:
        raise CorruptCollectionError(
            f"damaged: {len(lost):,} rows have no token vectors, row {lost[0]} first",
            where=f"{DATABASE}, table {TABLE}",
            hint="run `lexhound verify`; restore the collection from a backup or index the corpus again",
        )
    return max_similarities(tokens, [found[row] for row in rows])


def _fused(before: NDArray[np.float64], late: NDArray[np.float64], weight: float) -> NDArray[np.float64]:
    """Return the weighted sum of both scores' deviations over the hits."""
    known = ~np.isnan(late)
    fields = (
        FieldScores("sparse", before, np.ones(len(before), np.bool_), 1.0),
        FieldScores("dense", np.where(known, late, 0.0), known, 1.0),
    )
    return fuse(Fusion("z-score", weight), fields)[0]
