"""Whole rankings from engines that cut among equal scores as they please.

Our order is score descending, then insertion order. An engine that returns the best n may leave out an equal of the
last one that was inserted earlier. So a little more is asked for than is needed, and where the ranking ends in the
middle of equals at the cut, more, until it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from lexhound.index.inverted.quantization import Query
from lexhound.retrieval.collection.request import RankingOptions
from lexhound.retrieval.errors import UnsupportedError
from lexhound.retrieval.filters import Expression, parse_filter

from .engine import Ability, Engine, Ranked, SparseVector, require
from .known_fields import EngineFields

# Hits asked for beyond those that are needed; enough that equals at the cut seldom need a second search.
SPARE = 8
_GROWTH = 8

Search = Callable[[Sequence[int], int], list[Ranked]]
"""(places of queries, limit) to a ranking each, in any order among equals."""


def complete_ranking(search: Search, queries: Sequence[int], number: int, depth: int, most: int) -> list[Ranked]:
    """Return the best `depth` of each of `number` queries in our order; empty for those not in `queries`.

    Among more equals than `most` hits hold, those that the engine returns first are taken.
    """
    rankings = [Ranked([], np.empty(0, np.int64), np.empty(0, np.float64))] * number
    waiting, limit = list(queries), min(depth + SPARE, most)
    while waiting:
        unfinished = []
        for query, ranked in zip(waiting, search(waiting, limit), strict=True):
            rankings[query] = ranked.ordered(depth)
            # Fewer than asked for are all that there are.
            if len(ranked) >= limit < most and rankings[query].scores[-1] == ranked.scores.min():
                unfinished.append(query)
        waiting, limit = unfinished, min(limit * _GROWTH, most)
    return rankings


def as_vector(query: Query) -> SparseVector:
    """Return a query as engines take it: the weights that our own index would use, as float32."""
    return query.terms, np.asarray(query.weights * query.scale, np.float32)


def rank_sparse(engine: Engine, queries: Sequence[Query], depth: int, where: Expression | None) -> list[Ranked]:
    """Return the best `depth` documents of each query by the inverted index."""
    vectors = [as_vector(query) for query in queries]
    return complete_ranking(
        lambda numbers, limit: engine.search_sparse([vectors[number] for number in numbers], limit, where),
        [number for number, query in enumerate(queries) if len(query)],
        len(queries),
        depth,
        engine.max_hits,
    )


def rank_dense(engine: Engine, vectors: NDArray[np.float32], depth: int, where: Expression | None) -> list[Ranked]:
    """Return the best `depth` documents of each query, float32[n, width], by dense vectors."""
    return complete_ranking(
        lambda numbers, limit: engine.search_dense(vectors[numbers], limit, where),
        np.flatnonzero(vectors.any(axis=1)).tolist(),
        len(vectors),
        depth,
        engine.max_hits,
    )


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
        UnsupportedError: it is for passages, approximate, or ends beyond the engine's last hit.
    """
    if not request.by_document:
        raise UnsupportedError(
            "passages are kept in Lexhound's own index only", where=engine.address, hint="leave group out"
        )
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
