"""A search whose best hits a model puts in a new order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

from lexhound.encoders.rerank.cross_encoder import BATCH, open_cross_encoder
from lexhound.retrieval.collection.request import BatchRequest, SearchRequest
from lexhound.retrieval.collection.result import Hit, RankedIds, SearchResult
from lexhound.retrieval.deadline import check_deadline
from lexhound.retrieval.errors import QueryError

from .options import NO_RERANKER, Rerank

Search = Callable[[SearchRequest], SearchResult]


def wanted(request: SearchRequest, kept: Rerank | None) -> Rerank | None:
    """Return the reranking of a request: its own, or that which the collection keeps, where there is a text to read.

    A query by weights has none, and neither has one whose hits are sorted by a field: these are not reranked by what
    the collection keeps.
    """
    if isinstance(request.rerank, Rerank):
        return request.rerank
    if request.rerank == NO_RERANKER or not isinstance(request.query, str) or request.sort:
        return None
    return kept


def rerank(search: Search, request: SearchRequest, options: Rerank) -> SearchResult:
    """Return the hits of a search in the order of a model's scores; equal scores keep the order that they had.

    Raises:
        QueryError: there is no text to read, or hits are asked for beyond those that are reranked.
        EncoderError, MissingExtraError: the model cannot be loaded.
    """
    started = perf_counter()
    query, first = first_stage(request, options)
    model = open_cross_encoder(options.model)
    result = search(replace(first, fields=tuple(dict.fromkeys((*request.fields, "title", "text")))))
    texts = [_read(hit) for hit in result.hits]
    cut = model.count_cut(query, texts)
    scores: list[float] = []
    for start in range(0, len(texts), BATCH):
        check_deadline()
        scores += model.scores(query, texts[start : start + BATCH]).tolist()
    order = sorted(range(len(scores)), key=lambda place: -scores[place])[request.offset : request.depth]
    hits = tuple(
        _hit(request, result.hits[place], rank, scores[place]) for rank, place in enumerate(order, request.offset + 1)
    )
    return replace(result, hits=hits, seconds=perf_counter() - started, reranked_cut=cut)


def first_stage(request: SearchRequest, options: Rerank) -> tuple[str, SearchRequest]:
    """Return the query's text, and the search whose hits are to be reranked.

    Raises:
        QueryError: there is no text to read, or hits are asked for beyond those that are reranked.
    """
    if not isinstance(request.query, str):
        raise QueryError("only a query by text can be reranked", hint="leave rerank out, or give a text")
    if request.depth > options.hits:
        raise QueryError(
            f"hits to the {request.depth:,}th are asked for, and {options.hits:,} are reranked",
            hint="raise the depth of the reranking, ask for fewer hits, or ask without: rerank 'none'",
        )
    return request.query, replace(request, k=options.hits, offset=0, rerank=NO_RERANKER)


def rerank_many(search: Search, request: BatchRequest, options: Rerank) -> list[RankedIds]:
    """Return (id, score) of the reranked hits of many queries."""
    shared = {
        name: getattr(request, name)
        for name in ("k", "mode", "filter", "allow_unknown_fields", "recall", "fusion", "group")
    }
    answers = []
    for query in request.queries:
        result = search(SearchRequest(query, fields=(), rerank=options, **shared))
        answers.append([(hit.id, hit.score) for hit in result.hits])
    return answers


def _read(hit: Hit) -> str:
    """Return what a model reads of a hit: title and text, of a document that is split its best passage."""
    text = (hit.text or "") if hit.passage is None else hit.passage.text
    return f"{hit.title}\n{text}" if hit.title else text


def _hit(request: SearchRequest, hit: Hit, rank: int, score: float) -> Hit:
    """Return a hit at its new place, without what was read for the model alone."""
    return replace(
        hit,
        rank=rank,
        score=score,
        title=hit.title if "title" in request.fields else None,
        text=hit.text if "text" in request.fields else None,
        retrieval_rank=hit.rank,
        retrieval_score=hit.score,
    )
