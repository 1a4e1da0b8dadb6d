"""Whole rankings from engines that cut among equal scores as they please.

Our order is score descending, then insertion order. An engine that returns the best n may leave out an equal of the
last one that was inserted earlier. So a little more is asked for than is needed, and where the ranking ends in the
middle of equals at the cut, more, until it does not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lexhound.index.inverted.quantization import Query
from lexhound.retrieval.collection.query.grouping import DENSE, SPARSE
from lexhound.retrieval.collection.request import RankingOptions
from lexhound.retrieval.errors import UnsupportedError
from lexhound.retrieval.filters import Expression, parse_filter

from .engine import Ability, Engine, Ranked, SparseVector, require
from .grouping import FieldSearch, group_many
from .known_fields import EngineFields

# Hits asked for beyond those that are needed; enough that equals at the cut seldom need a second search.
SPARE = 8
_GROWTH = 8


def complete_ranking(
    field: FieldSearch, queries: Sequence[int], number: int, depth: int, without: Sequence[int]
) -> list[Ranked]:
    """Return the best `depth` rows of each of `number` queries in our order; empty for those not in `queries`.

    Among more equals than the engine's longest list holds, those that it returns first are taken.
    """
    most = field.engine.max_rows
    rankings = [Ranked.of(())] * number
    waiting, limit = list(queries), min(depth + SPARE, most)
    while waiting:
        unfinished = []
        for query, ranked in zip(waiting, field.ask(waiting, limit, field.scope(without)), strict=True):
            rankings[query] = ranked.ordered(depth)
            # Fewer than asked for are all that there are.
            if len(ranked) >= limit < most and rankings[query].scores[-1] == ranked.scores.min():
                unfinished.append(query)
        waiting, limit = unfinished, min(limit * _GROWTH, most)
    return rankings


def rank(field: FieldSearch, queries: Sequence[int], number: int, depth: int, *, group: bool) -> list[Ranked]:
    """Return the best `depth` of each of `number` queries: documents, each by its best row, or with `group` False rows.

    Empty for those not in `queries`.
    """
    if field.engine.manifest.passages is None:
        return complete_ranking(field, queries, number, depth, ())
    rank_rows = group_many if group else complete_ranking
    rankings = [Ranked.of(())] * number
    waiting, without = list(queries), set[int]()
    while waiting:
        ranked = rank_rows(field, waiting, number, depth, sorted(without))
        stale = field.stale(ranked)
        unfinished = []
        for query in waiting:
            if stale.isdisjoint(ranked[query].documents.tolist()):
                rankings[query] = ranked[query]
            else:
                unfinished.append(query)
        waiting = unfinished
        without |= stale
    return rankings


def as_vector(query: Query) -> SparseVector:
    """Return a query as engines take it: the weights that our own index would use, as float32."""
    return query.terms, np.asarray(query.weights * query.scale, np.float32)


def sparse_search(engine: Engine, queries: Sequence[Query], where: Expression | None) -> FieldSearch:
    """Return the inverted index of an engine, asked some queries."""
    vectors = [as_vector(query) for query in queries]
    return FieldSearch(
        engine,
        where,
        lambda numbers, limit, scope: engine.search_sparse([vectors[number] for number in numbers], limit, scope),
        SPARSE,
    )


def dense_search(engine: Engine, vectors: NDArray[np.float32], where: Expression | None) -> FieldSearch:
    """Return the dense vectors of an engine, asked some queries, float32[n, width]."""
    return FieldSearch(
        engine, where, lambda numbers, limit, scope: engine.search_dense(vectors[list(numbers)], limit, scope), DENSE
    )


def rank_sparse(
    engine: Engine, queries: Sequence[Query], depth: int, where: Expression | None, *, group: bool = True
) -> list[Ranked]:
    """Return the best `depth` documents, or rows, of each query by the inverted index."""
    asked = [number for number, query in enumerate(queries) if len(query)]
    return rank(sparse_search(engine, queries, where), asked, len(queries), depth, group=group)


def rank_dense(
    engine: Engine, vectors: NDArray[np.float32], depth: int, where: Expression | None, *, group: bool = True
) -> list[Ranked]:
    """Return the best `depth` documents, or rows, of each query, float32[n, width], by dense vectors."""
    asked = np.flatnonzero(vectors.any(axis=1)).tolist()
    return rank(dense_search(engine, vectors, where), asked, len(vectors), depth, group=group)


def where_of(engine: Engine, filter: str | None, known: EngineFields | None) -> Expression | None:
    """Return a filter expression as engines take it; it names only what is known, where that is given.

    Raises:
        FilterSyntaxError: it does not parse. UnsupportedError: the engine has no filters. UnknownFieldError: no
        document has what it names.
    """
    if filter is None:
        return None
    expression = parse_filter(filter)
    require(engine, Ability.FILTER)
    if known is not None:
        known.check(expression)
    return expression


def check_request(engine: Engine, request: RankingOptions, depth: int) -> None:
    """Refuse a search that no engine but our own answers.

    Raises:
        UnsupportedError: it is approximate, or ends beyond the engine's last hit.
    """
    if request.recall is not None and request.recall < 1:
        raise UnsupportedError(
            "the engine's searches are exact, and have no recall calibration for a recall below 1",
            where=engine.address,
            hint="leave the recall out",
        )
    if depth > engine.max_hits:
        raise UnsupportedError(
            f"the engine's searches end at hit {engine.max_hits:,}, and hit {depth:,} is asked for",
            where=engine.address,
            hint="ask for fewer",
        )
