"""Answering a request over a snapshot: encode the query, rank, and make hits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from time import perf_counter

import numpy as np

from lexhound.index.inverted.quantization import Query
from lexhound.retrieval.collection.clauses.candidates import ClauseCandidates
from lexhound.retrieval.collection.clauses.tree import CLAUSES, Clause, scored_texts
from lexhound.retrieval.collection.request import METADATA_FIELD, BatchRequest, Fusion, SearchRequest
from lexhound.retrieval.collection.result import Contribution, Hit, RankedIds, SearchResult, Share
from lexhound.retrieval.collection.synonyms.expansion import query_vectors
from lexhound.retrieval.deadline import check_deadline
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.errors import CorruptCollectionError
from lexhound.retrieval.filters.known_fields import check_shown

from .arranging import arranged
from .candidates import Allowed, Candidates, DenseCandidates, FusedCandidates, SparseCandidates, masks_of
from .documents import passage_at, read_documents, read_passages
from .encoding import EncodedQuery, QueryEncoders, TermWeights, encode_query
from .fusion import FieldScores
from .grouping import SPARSE, scoring_rows
from .hits import HitMaker, Terms, sort_contributions
from .hybrid import candidate_scores, rank_dense_many, rank_hybrid_many
from .known_fields import StoredFields
from .ranked_rows import RankedRows, named
from .ranking import rank_many, sparse_scorer
from .row_filter import Masks, rows_passing
from .snapshot import SegmentView, Snapshot


def answer(snapshot: Snapshot, encoders: QueryEncoders, request: SearchRequest) -> SearchResult:
    """Return everything from a query to hits with their documents; see `Collection.search`."""
    return answer_with_rows(snapshot, encoders, request)[0]


def answer_with_rows(
    snapshot: Snapshot, encoders: QueryEncoders, request: SearchRequest
) -> tuple[SearchResult, list[int]]:
    """Return the same, and the internal id of the row where each hit stands: its best passage's."""
    started = perf_counter()
    _check_fields(snapshot, request)
    query, candidates = _candidates(snapshot, encoders, request)
    ranked = arranged(snapshot, candidates, request)
    total = candidates.total() if request.total else None
    shares = candidates.shares(ranked) if request.explain else None
    hits = _hits(snapshot, HitMaker(request, encoders.sparse, query), ranked, shares)
    result = SearchResult(
        hits,
        perf_counter() - started,
        candidates.stats,
        query.unknown,
        encoders.shown_mode,
        query.terms,
        encoding=query.seconds,
        total=total,
        query_cut=query.cut,
    )
    places = zip(ranked.parts.tolist()[request.offset :], ranked.rows.tolist()[request.offset :], strict=True)
    return result, [int(snapshot.segments[part].segment.internal_ids[row]) for part, row in places]


def _check_fields(snapshot: Snapshot, request: SearchRequest) -> None:
    """Refuse metadata fields to show that no document has; raises UnknownFieldError."""
    names = [field.removeprefix(METADATA_FIELD) for field in request.fields if field.startswith(METADATA_FIELD)]
    if names and not request.allow_unknown_fields and snapshot.n_documents > 0:
        with snapshot.reading() as connection:
            check_shown(names, StoredFields(connection, snapshot.prefix))


def best_rows(snapshot: Snapshot, encoders: QueryEncoders, request: SearchRequest) -> Masks:
    """Return, for each part, bool[rows]: which of its rows are among the hits of a request."""
    _, candidates = _candidates(snapshot, encoders, request)
    return masks_of(snapshot, arranged(snapshot, candidates, request))


def matching_rows(snapshot: Snapshot, encoders: QueryEncoders, request: SearchRequest) -> Masks:
    """Return, for each part, bool[rows]: which rows match a request; its candidates in modes dense and hybrid."""
    return _candidates(snapshot, encoders, request)[1].matching()


def list_matching(
    snapshot: Snapshot, encoders: QueryEncoders, request: SearchRequest, after: int, limit: int
) -> list[tuple[int, Document]]:
    """Return documents that match in the order of their row numbers, which are after `after`; see `listed`."""
    masks = matching_rows(snapshot, encoders, request)
    found = [
        view.segment.documents_of(np.flatnonzero(mask)) for view, mask in zip(snapshot.segments, masks, strict=True)
    ]
    every = np.unique(np.concatenate([np.empty(0, np.int64), *found]))
    numbers = every[np.searchsorted(every, after, side="right") :][:limit].tolist()
    documents = read_documents(snapshot, numbers)
    return [(number, documents[number]) for number in numbers]


def _candidates(snapshot: Snapshot, encoders: QueryEncoders, request: SearchRequest) -> tuple[EncodedQuery, Candidates]:
    """Return the encoded query, and the documents that may answer it."""
    allowed = rows_passing(snapshot, request.filter, allow_unknown_fields=request.allow_unknown_fields)
    if isinstance(request.query, CLAUSES):
        return _of_clauses(snapshot, encoders, request, request.query, allowed)
    group = request.by_document
    query = encode_query(encoders, request, snapshot.statistics, snapshot.synonyms)
    if query.dense is None:
        return query, SparseCandidates(snapshot, query.sparse, allowed, request.recall, group=group)
    if encoders.mode == "dense":
        return query, DenseCandidates(snapshot, query.dense, allowed, request.recall, group=group)
    fusion = request.fusion or snapshot.fusion or Fusion()
    found = (query.sparse, query.dense)
    return query, FusedCandidates(snapshot, found, fusion, allowed, request.recall, group=group)


def _of_clauses(
    snapshot: Snapshot, encoders: QueryEncoders, request: SearchRequest, clause: Clause, allowed: Allowed
) -> tuple[EncodedQuery, Candidates]:
    started = perf_counter()
    allow = request.allow_unknown_fields
    group = request.by_document
    candidates = ClauseCandidates(snapshot, encoders.sparse, clause, allowed, allow_unknown_fields=allow, group=group)
    terms = frozenset(candidates.query.terms.tolist())
    typed = None
    if request.explain:
        typed = frozenset().union(*(encoders.sparse.typed_terms(text) for text in scored_texts(clause)))
    seconds = perf_counter() - started
    return EncodedQuery(candidates.query, None, terms, typed, candidates.unknown, seconds), candidates


def answer_many(snapshot: Snapshot, encoders: QueryEncoders, request: BatchRequest) -> list[RankedIds]:
    """Return (id, score) of the best documents of many queries; no document is read."""
    queries, k, recall, threads = request.queries, request.k, request.recall, request.threads
    group = request.by_document
    allowed = rows_passing(snapshot, request.filter, allow_unknown_fields=request.allow_unknown_fields)
    vectors = None if encoders.dense is None else encoders.dense.queries(queries)
    if vectors is not None and encoders.mode == "dense":
        ranked = rank_dense_many(snapshot, vectors, k, allowed, threads, recall, group=group)
        return [named(snapshot, each) for each in ranked]
    encoded = [Query.from_weights(*vector) for vector in _sparse_vectors(snapshot, encoders, queries)]
    if vectors is None:
        return rank_many(snapshot, encoded, k, allowed, threads, recall, group=group)
    fusion = request.fusion or snapshot.fusion or Fusion()
    fused = rank_hybrid_many(snapshot, encoded, vectors, fusion, allowed, threads, recall, group=group)
    return [named(snapshot, each.cut(k)) for each in fused]


def _sparse_vectors(snapshot: Snapshot, encoders: QueryEncoders, queries: Sequence[str]) -> list[TermWeights]:
    return query_vectors(encoders.sparse, queries, snapshot.statistics, snapshot.synonyms)


def fusion_candidates(
    snapshot: Snapshot, encoders: QueryEncoders, request: BatchRequest, depth: int
) -> Iterator[tuple[list[str], list[FieldScores]]]:
    """Yield each query's candidates, `depth` a side: their ids and both sides' scores, for learning to fuse."""
    allowed = rows_passing(snapshot, request.filter, allow_unknown_fields=request.allow_unknown_fields)
    vectors = _sparse_vectors(snapshot, encoders, request.queries)
    near = () if encoders.dense is None else encoders.dense.queries(request.queries)
    for (terms, weights), vector in zip(vectors, near, strict=True):
        yield candidate_scores(snapshot, Query.from_weights(terms, weights), vector, depth, allowed)


def _hits(
    snapshot: Snapshot, maker: HitMaker, ranked: RankedRows, shares: Sequence[tuple[Share, ...]] | None
) -> tuple[Hit, ...]:
    """Return the ranked rows from the request's offset on, with their documents."""
    offset = maker.request.offset
    internal_ids = ranked.documents[offset:].tolist()
    documents = read_documents(snapshot, list(dict.fromkeys(internal_ids)))
    spans = read_passages(snapshot, internal_ids) if snapshot.has_passages else {}
    request = maker.request
    by_two = request.explain and request.by_document and not isinstance(request.query, CLAUSES)
    by_two = by_two and snapshot.has_passages and len(maker.query.sparse) > 0
    hits = []
    for position, seq in enumerate(internal_ids, offset):
        check_deadline()
        view, row, document = snapshot.segments[int(ranked.parts[position])], int(ranked.rows[position]), documents[seq]
        if document.id != view.segment.ids[row]:
            raise CorruptCollectionError(
                f"damaged: the index calls row {seq} {view.segment.ids[row]!a}, the database {document.id!a}",
                where=view.segment.name,
                hint="run `lexhound verify`; restore the collection from a backup or index the corpus again",
            )
        hit_shares = None if shares is None else shares[position]
        rows = [(view, row, 1.0)]
        if by_two:
            rows = [
                (snapshot.segments[part], at, share)
                for part, at, share in scoring_rows(snapshot, seq, sparse_scorer(maker.query.sparse), SPARSE)
            ]
        explain = partial(_explain, maker, rows)
        passage = passage_at(document, view.segment.passage_of(row), spans.get(seq))
        hits.append(maker.make(position + 1, float(ranked.scores[position]), document, explain, hit_shares, passage))
    return tuple(hits)


def _explain(maker: HitMaker, rows: Sequence[tuple[SegmentView, int, float]], own: Terms) -> tuple[Contribution, ...]:
    """Return what each term gave to the score of some rows, of each a share."""
    query = maker.query.sparse
    scores = np.zeros(len(query), np.float64)
    for view, row, share in rows:
        scores += share * view.segment.index.contributions(row, query)
    weights = scores / (query.weights * query.scale)  # exact: scores are integer multiples of this
    contributions = [
        maker.contribution(term, query_weight * query.scale, document_weight, score, own)
        for term, query_weight, document_weight, score in zip(
            query.terms.tolist(), query.weights.tolist(), weights.tolist(), scores.tolist(), strict=True
        )
        if score > 0
    ]
    return sort_contributions(contributions)
