"""Searches in another engine: queries encoded, rows ranked there, documents and hits made here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from time import perf_counter

import numpy as np

from lexhound.index.inverted.quantization import Query
from lexhound.index.topk import SearchStats
from lexhound.retrieval.collection.capability import Capability
from lexhound.retrieval.collection.fields.dense_field import DenseField
from lexhound.retrieval.collection.fields.sparse_field import SparseField
from lexhound.retrieval.collection.query.encoding import QueryEncoders, encode_query
from lexhound.retrieval.collection.query.grouping import SPARSE
from lexhound.retrieval.collection.query.hits import HitMaker, Terms, sort_contributions
from lexhound.retrieval.collection.request import BatchRequest, Fusion, SearchRequest
from lexhound.retrieval.collection.result import Contribution, Hit, RankedIds, SearchResult, Share, dense_shares
from lexhound.retrieval.filters import Expression

from .engine import Ability, Engine, Ranked, SparseVector, require
from .hybrid import rank_hybrid
from .protocol import lacks
from .ranking import check_request, rank_dense, rank_sparse
from .statistics import EngineStatistics

QUERIES_AT_ONCE = 64


class EngineSearcher:
    """What answers the searches of one collection."""

    def __init__(
        self, engine: Engine, sparse_field: SparseField, dense: DenseField | None, statistics: EngineStatistics
    ) -> None:
        self._engine = engine
        self._sparse_field = sparse_field
        self._dense = dense
        self._statistics = statistics

    def answer(self, request: SearchRequest, where: Expression | None) -> SearchResult:
        """Return the hits of a request among the documents that pass its filter, `where`."""
        started = perf_counter()
        self._check(request)
        encoders = QueryEncoders.of(request, self._sparse_field, self._dense)
        encoded = encode_query(encoders, request, self._statistics)
        group, depth = request.by_document, request.depth
        shares: list[tuple[Share, ...]] | None = None
        if encoded.dense is None:
            ranked = rank_sparse(self._engine, [encoded.sparse], depth, where, group=group)[0]
        elif encoders.mode == "dense":
            ranked = rank_dense(self._engine, encoded.dense[None], depth, where, group=group)[0]
            shares = dense_shares(ranked.scores.tolist()) if request.explain else None
        else:
            fusion = request.fusion or Fusion()
            fused = rank_hybrid(self._engine, encoded.sparse, encoded.dense, fusion, where, group=group)
            ranked, shares = fused.cut(depth, explain=request.explain)
        hits = self._hits(HitMaker(request, self._sparse_field, encoded), ranked, shares)
        seconds, mode = perf_counter() - started, encoders.shown_mode
        return SearchResult(
            hits,
            seconds,
            SearchStats(0, 0),
            encoded.unknown,
            mode,
            encoded.terms,
            encoding=encoded.seconds,
            query_cut=encoded.cut,
        )

    def _check(self, request: SearchRequest) -> None:
        check_request(self._engine, request, request.depth)
        if request.explain:
            require(self._engine, Ability.EXPLAIN)
        for asked, lacking in (
            (request.stats, Capability.SEARCH_STATS),
            (not request.by_score, Capability.ARRANGEMENT),
        ):
            if asked:
                raise lacks(self._engine.address, lacking)

    def answer_many(self, request: BatchRequest, where: Expression | None) -> list[RankedIds]:
        """Return (id, score) of the best documents for each query of a request."""
        check_request(self._engine, request, request.k)
        encoders = QueryEncoders.of(request, self._sparse_field, self._dense)
        group, k = request.by_document, request.k
        answers: list[RankedIds] = []
        for start in range(0, len(request.queries), QUERIES_AT_ONCE):
            texts = request.queries[start : start + QUERIES_AT_ONCE]
            if encoders.dense is None:
                rankings = rank_sparse(self._engine, self.encode_queries(texts), k, where, group=group)
            elif encoders.mode == "dense":
                rankings = rank_dense(self._engine, encoders.dense.queries(texts), k, where, group=group)
            else:
                fusion = request.fusion or Fusion()
                rankings = [
                    rank_hybrid(self._engine, query, vector, fusion, where, group=group).cut(k, explain=False)[0]
                    for query, vector in zip(self.encode_queries(texts), encoders.dense.queries(texts), strict=True)
                ]
            answers += [list(zip(each.ids, each.scores.tolist(), strict=True)) for each in rankings]
        return answers

    def encode_queries(self, queries: Sequence[str]) -> list[Query]:
        """Return query vectors, one a text."""
        vectors = self._sparse_field.queries(queries, self._statistics)
        return [Query.from_weights(terms, weights) for terms, weights in vectors]

    def _hits(self, maker: HitMaker, ranked: Ranked, shares: list[tuple[Share, ...]] | None) -> tuple[Hit, ...]:
        offset = maker.request.offset
        ids = list(dict.fromkeys(ranked.ids[offset:]))
        documents = self._engine.documents(ids)
        vectors = self._engine.vectors(ids) if maker.request.explain and len(maker.query.sparse) else {}
        hits = []
        for position in range(offset, len(ranked)):
            stored = documents.get(ranked.ids[position])
            number, split = int(ranked.documents[position]), bool(ranked.counts[position] > 1)
            if stored is None or (split and stored.internal_id != number):
                continue  # somebody has deleted or replaced it since it was ranked
            passage = int(ranked.internal_ids[position]) - number
            rows = vectors.get(ranked.ids[position], [])
            shown = stored.passage(passage) if split else None
            explain = partial(_explain, maker, rows, None if maker.request.by_document else passage)
            own_shares = None if shares is None else shares[position]
            score = float(ranked.scores[position])
            hits.append(maker.make(position + 1, score, stored.document, explain, own_shares, shown))
        return tuple(hits)


def _explain(
    maker: HitMaker, vectors: Sequence[SparseVector], passage: int | None, own: Terms
) -> tuple[Contribution, ...]:
    """Return what each term gave to a document's score, by the vectors of its rows as the engine keeps them.

    Of all rows the two best count, as they do for the score; of a `passage`, it alone.
    """
    query = maker.query.sparse
    asked = query.weights * query.scale
    held = np.zeros((len(vectors), len(query)), np.float64)
    for row, (terms, weights) in enumerate(vectors):
        _, mine, theirs = np.intersect1d(query.terms, terms, assume_unique=True, return_indices=True)
        held[row, mine] = weights[theirs]
    if passage is not None:
        held = held[passage : passage + 1]
    elif len(held) > 1:
        best = np.argsort(-(held @ asked), kind="stable")[:2]
        held = held[best] / (1.0 + SPARSE.typical)
    weights = held.sum(axis=0)
    return sort_contributions(
        [
            maker.contribution(
                int(query.terms[at]), float(asked[at]), float(weights[at]), float(asked[at] * weights[at]), own
            )
            for at in np.flatnonzero(weights).tolist()
        ]
    )
