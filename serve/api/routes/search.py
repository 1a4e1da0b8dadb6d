"""Searches, counts and facets."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from lexhound.retrieval.collection.capability import Capability
from lexhound.retrieval.collection.reranking.reranked import wanted
from lexhound.retrieval.collection.result import SearchResult
from lexhound.retrieval.deadline import Deadline
from lexhound.retrieval.engines.protocol import Backend, capable, require_capability
from lexhound.serve.api.http.dependencies import ReadRoute
from lexhound.serve.api.http.exceptions import RequestError
from lexhound.serve.api.http.limits import beyond, check_fields, check_number, check_page, check_text
from lexhound.serve.api.http.pools import pool_of
from lexhound.serve.api.http.tenancy import confined
from lexhound.serve.api.registry.names import NAME_PATTERN
from lexhound.serve.api.schemas import search_models
from lexhound.serve.api.schemas.answers import facet_answer, json_response, modes_of, search_answer
from lexhound.serve.api.schemas.openapi import errors
from lexhound.serve.api.state import service_of

router = APIRouter(prefix="/v1/collections/{name}", tags=["search"], route_class=ReadRoute)

Name = Annotated[str, Path(pattern=NAME_PATTERN, description="The collection.", examples=["my"])]


@router.post(
    "/search",
    operation_id="search",
    summary="Search by text or by term weights",
    responses={200: {"model": search_models.SearchAnswer}, **errors(400, 404, 413, 415, 504)},
)
async def search(name: Name, body: search_models.SearchBody, request: Request) -> Response:
    """The best documents for a query. Pages of one state of the collection neither repeat nor skip."""
    return await _search(request, name, body, "body")


@router.get(
    "/search",
    operation_id="search_by_address",
    summary="Search by text, all in the address",
    responses={200: {"model": search_models.SearchAnswer}, **errors(400, 404, 504)},
)
async def search_by_address(
    name: Name, request: Request, address: Annotated[search_models.AddressSearch, Query()]
) -> Response:
    """The same answer as by POST."""
    return await _search(request, name, address.body(), "query")


async def _search(request: Request, name: str, body: search_models.SearchBody, where: str) -> Response:
    service = service_of(request)
    settings = service.settings
    check_page(body.k, body.offset, where, settings)
    check_text(body.filter, f"{where}.filter", settings)
    check_fields(body.fields, f"{where}.fields")
    if isinstance(body, search_models.TextSearch):
        check_text(body.query, "query.q" if where == "query" else "body.query", settings)
    else:
        check_number(len(body.vector), settings.max_vector_terms, "terms", "body.vector")
    async with service.registry.use(name) as served:
        reader = confined(request, served.reader)
        _check_fusion(reader, body, where)
        search = body.request(_mode(reader, body.mode, where))

        def work() -> tuple[bytes, SearchResult]:
            result = reader.search(search)
            return json_response(search_answer(search, result)).body, result  # type: ignore[return-value]

        deadline = await _prepared(request, reader, search.filter)
        content, result = await service.admission.run(
            work,
            request=request,
            pool="wide" if wanted(search, reader.reranker) else pool_of(search),
            deadline=deadline,
        )
    service.metrics.encode_seconds.observe(result.encoding)
    service.metrics.search_seconds.observe(result.seconds - result.encoding)
    if service.traces is not None:
        service.traces.add_search(result)
    return json_response(content)


async def _prepared(request: Request, reader: Backend, filter: str | None) -> Deadline:
    """Return when a search that begins now is to end; its filter has been worked out where that may take time."""
    admission = service_of(request).admission
    deadline = admission.deadline()
    able = None if filter is None else capable(reader, Capability.PREPARED_FILTERS)
    if filter is not None and able is not None and not able.is_prepared(filter):
        await admission.run(lambda: able.prepare_filter(filter), request=request, pool="filter", deadline=deadline)
    return deadline


def _mode(collection: Backend, mode: str, where: str) -> str:
    """Return the library's name of a mode, if the collection has it."""
    modes = modes_of(collection.manifest)
    if mode == "sparse" and "lexical" in modes:
        return mode  # the index of BM25, by its other name
    if mode != "auto" and mode not in modes:
        raise RequestError(
            f"the collection has no {mode} index",
            where=f"{where}.mode",
            hint=f"leave the mode out, or ask for {' or '.join(modes)}",
            code="mode",
        )
    return "sparse" if mode == "lexical" else mode


def _check_fusion(
    collection: Backend, body: search_models.SearchOptions | search_models.BatchRequest, where: str
) -> None:
    """Refuse a fusion that the request's mode has none of."""
    by_text = not isinstance(body, search_models.VectorSearch)
    if (
        body.fusion is not None
        and body.mode != "hybrid"
        and not (body.mode == "auto" and by_text and len(modes_of(collection.manifest)) > 1)
    ):
        raise RequestError(
            "fusion is for hybrid searches, and this is none",
            where=f"{where}.fusion",
            hint='leave it out, or ask for "mode": "hybrid"',
            code="mode",
        )


@router.post(
    "/search/batch",
    operation_id="search_many",
    summary="Search many texts",
    responses={200: {"model": search_models.BatchAnswer}, **errors(400, 404, 413, 415, 504)},
)
async def search_many(name: Name, body: search_models.BatchRequest, request: Request) -> Response:
    """Ids and scores alone; one result a query, in their order."""
    service = service_of(request)
    settings = service.settings
    check_page(body.k, 0, "body", settings)
    check_text(body.filter, "body.filter", settings)
    check_number(len(body.queries), settings.max_batch, "queries", "body.queries")
    for number, query in enumerate(body.queries):
        check_text(query, f"body.queries[{number}]", settings)
    if len(body.queries) * body.k > settings.max_batch * 100:
        raise beyond(
            f"{len(body.queries):,} queries of {body.k:,} hits each are {len(body.queries) * body.k:,} hits;"
            f" at most {settings.max_batch * 100:,} are given at once",
            "body.k",
            "send the queries in several requests",
        )
    async with service.registry.use(name) as served:
        reader = confined(request, served.reader)
        _check_fusion(reader, body, "body")
        search = body.request(_mode(reader, body.mode, "body"))

        def work() -> bytes:
            started = time.perf_counter()
            rankings = reader.search_many(search)
            results = [{"hits": [{"id": each, "score": score} for each, score in hits]} for hits in rankings]
            seconds = time.perf_counter() - started
            times = {"seconds": round(seconds, 6), "took_ms": round(seconds * 1000, 3)}
            return bytes(json_response({"results": results} | times).body)

        deadline = await _prepared(request, reader, body.filter)
        return json_response(await service.admission.run(work, request=request, pool="wide", deadline=deadline))


@router.post(
    "/count",
    operation_id="count",
    summary="Count documents",
    responses={200: {"model": search_models.CountAnswer}, **errors(400, 404, 413, 415, 504)},
)
async def count(
    name: Name,
    request: Request,
    body: Annotated[search_models.CountRequest, Body(default_factory=search_models.CountRequest)],
) -> Response:
    """How many documents there are, or pass a filter."""
    service = service_of(request)
    check_text(body.filter, "body.filter", service.settings)
    async with service.registry.use(name) as served:
        reader = confined(request, served.reader)
        deadline = await _prepared(request, reader, body.filter)
        number = await service.admission.run(
            lambda: reader.count(body.filter, allow_unknown_fields=body.allow_unknown_fields),
            request=request,
            deadline=deadline,
        )
    return json_response({"count": number})


@router.get(
    "/facets",
    operation_id="facets",
    summary="List the values of metadata fields",
    responses={200: {"model": search_models.FacetAnswer}, **errors(400, 404, 504)},
)
async def facets(
    name: Name,
    request: Request,
    field: Annotated[
        list[Annotated[str, Field(max_length=200)]] | None,
        Query(max_length=20, description="A field; may be given several times. All fields if left out."),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Values a field, most frequent first.")] = 20,
    q: Annotated[
        str | None,
        Query(max_length=search_models.ADDRESS_CHARACTERS, description="Count among this query's best 1,000 hits."),
    ] = None,
    filter: Annotated[
        str | None,
        Query(max_length=search_models.ADDRESS_CHARACTERS, description="Count the documents that pass alone."),
    ] = None,
    mode: Annotated[
        Literal["auto", "lexical", "sparse", "dense", "hybrid"], Query(description="Of the search for `q`.")
    ] = "auto",
    matching: Annotated[
        bool,
        Query(description="Count all documents that match `q`; in modes dense and hybrid, the search's candidates."),
    ] = False,
    allow_unknown_fields: Annotated[bool, Query(description="Let `field` be one that no document has.")] = False,
) -> Response:
    """What can be filtered by: fields, their most frequent values, and the range of numbers."""
    service = service_of(request)
    check_text(q, "query.q", service.settings)
    check_text(filter, "query.filter", service.settings)
    async with service.registry.use(name) as served:
        reader = confined(request, served.reader)

        def work() -> dict[str, Any]:
            able = require_capability(reader, Capability.FACETS)
            found = able.facets(
                field,
                limit,
                query=q,
                filter=filter,
                mode="auto" if q is None else _mode(reader, mode, "query"),
                matching=matching,
                allow_unknown_fields=allow_unknown_fields,
            )
            return facet_answer(found)

        deadline = await _prepared(request, reader, filter)
        return json_response(await service.admission.run(work, request=request, pool="wide", deadline=deadline))
