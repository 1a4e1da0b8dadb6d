"""`_search`, `_count`, and the pages of a scroll."""

from __future__ import annotations

import base64
import re
from functools import partial
from typing import Any

import orjson
from starlette.responses import Response

from lexhound.retrieval.collection.request import SearchRequest
from lexhound.retrieval.engines.protocol import CapableBackend
from lexhound.serve.api.http.pools import pool_of

from .answers import SHARDS, Answerer
from .calls import Call, answered
from .documents import source_given
from .errors import OpenSearchError, check_keys, malformed, unsupported
from .mapping import mapping_of
from .requests import SearchBody, read_count, read_search
from .sources import source_of

_SEARCH = ("from", "size", "sort", "track_total_hits", "explain", "_source", "_source_includes", "_source_excludes")
_DURATION = re.compile(r"\d{1,6}(d|h|m|s|ms)")


async def search(call: Call) -> Response:
    """Answer a search."""
    parameters = call.parameters(*_SEARCH, "scroll")
    body = _with(parameters, await call.body())
    if "scroll" in parameters:
        _check_duration(parameters["scroll"])
        return await _page(call, call.index, body, 0)
    async with call.reading(call.index) as (served, reader):
        read = read_search(body, mapping_of(reader), served.reader.manifest)
        call.check_texts(read.texts)
        if read.listed and not read.flat:
            raise unsupported("[sort: _doc] of a query that scores, without [scroll]")
        _check_window(call, read.request.offset, read.size)
        answerer = Answerer(reader, served.name, mapping_of(reader))
        work = partial(answerer.answer, read)
        pool = "wide" if read.aggregations else pool_of(read.request)
        return answered(await call.service.admission.run(work, request=call.request, pool=pool))


async def count(call: Call) -> Response:
    """Answer how many documents match."""
    call.parameters()
    body = await call.body()
    async with call.reading(call.index) as (served, reader):
        request, texts = read_count(body, mapping_of(reader), served.reader.manifest)
        call.check_texts(texts)
        result = await call.service.admission.run(lambda: reader.search(request), request=call.request, pool="wide")
    return answered({"count": 0 if result.total is None else result.total.value, "_shards": SHARDS})


async def scroll(call: Call) -> Response:
    """Answer the next page of a scroll."""
    given = call.parameters("scroll", "scroll_id")
    body = await call.body()
    check_keys(body, ("scroll", "scroll_id"), "scroll")
    given = {**given, **body}
    _check_duration(str(given.get("scroll", "1m")))
    index, search_body, after = _read_scroll(given.get("scroll_id"))
    return await _page(call, call.named(index), search_body, after)


async def clear_scroll(call: Call) -> Response:
    """Answer that a scroll is over: nothing is kept for one."""
    call.parameters("scroll_id")
    check_keys(await call.body(), ("scroll_id",), "scroll")
    return answered({"succeeded": True, "num_freed": 1})


async def _page(call: Call, index: str, body: dict[str, Any], after: int) -> Response:
    """Answer documents in the order of their insertion, those after one."""
    async with call.reading(index) as (served, reader):
        mapping = mapping_of(reader)
        read = read_search(body, mapping, served.reader.manifest)
        call.check_texts(read.texts)
        in_order = read.listed or (read.flat and not read.request.sort_keys and read.request.collapse is None)
        plain = in_order and not (read.request.offset or read.aggregations or read.highlight.fields)
        if not plain or read.request.filter is not None or read.request.explain:
            raise unsupported(
                "[scroll] in the order of scores or fields, or with [from], [aggs], [highlight] or [post_filter]",
                'it goes through all documents that match in the order of "sort": "_doc"',
            )
        _check_window(call, 0, read.size)
        if not read.size:
            raise malformed("[size] cannot be [0] in a scroll")
        work = partial(_listed, reader, served.name, read, body, after)
        return answered(await call.service.admission.run(work, request=call.request, pool="wide"))


def _listed(reader: CapableBackend, index: str, read: SearchBody, body: dict[str, Any], after: int) -> dict[str, Any]:
    mapping = mapping_of(reader)
    clause: Any = read.request.query
    result = reader.search(SearchRequest(clause, k=1, total=True, allow_unknown_fields=True, mode="sparse", fields=()))
    found = reader.listed(clause, read.size, after=after)
    hits = []
    for number, document in found:
        shown: dict[str, Any] = {"_index": index, "_id": document.id, "_score": None}
        if read.source.shown:
            shown["_source"] = read.source(source_of(document, mapping))
        hits.append(shown | {"sort": [number]})
    total = 0 if result.total is None else result.total.value
    return {
        "_scroll_id": _write_scroll(index, body, found[-1][0] if found else after),
        "took": round(result.took_ms),
        "timed_out": False,
        "_shards": SHARDS,
        "hits": {"total": {"value": total, "relation": "eq"}, "max_score": None, "hits": hits},
    }


def _with(parameters: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
    """Return a body with what stands in the address, which comes first."""
    body = dict(body)
    for name in ("from", "size"):
        if name in parameters:
            body[name] = parameters[name]
    if "sort" in parameters:
        keys = [each.rpartition(":") for each in parameters["sort"].split(",")]
        body["sort"] = [{name: order} if name else order for name, _, order in keys]
    for name in ("track_total_hits", "explain"):
        if name in parameters:
            text = parameters[name]
            body[name] = {"true": True, "false": False, "": True}.get(text, int(text) if text.isdecimal() else text)
    if any(name.startswith("_source") for name in parameters):
        body["_source"] = source_given(parameters, body.get("_source", True))
    return body


def _check_window(call: Call, offset: int, size: int) -> None:
    """Refuse a page of more hits than the service gives, or one that lies deeper."""
    settings = call.service.settings
    if size > settings.max_k:
        raise OpenSearchError(f"[size] is {size:,}; at most {settings.max_k:,} hits are given at a time")
    if offset + size > settings.max_depth:
        raise OpenSearchError(
            f"Result window is too large: from + size is {offset + size:,}, and must be at most {settings.max_depth:,}",
            hint="scroll through all documents, or make the query narrower",
        )


def _check_duration(text: str) -> None:
    if not _DURATION.fullmatch(text):
        raise malformed(f"[scroll] is {text[:40]!r}", "it is a time, as 5m")


def _write_scroll(index: str, body: dict[str, Any], after: int) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([index, body, after])).decode()


def _read_scroll(identifier: Any) -> tuple[str, dict[str, Any], int]:
    try:
        index, body, after = orjson.loads(base64.urlsafe_b64decode(str(identifier)))
        if not isinstance(body, dict) or not isinstance(after, int) or not isinstance(index, str):
            raise ValueError
    except ValueError:
        raise malformed("[scroll_id] is none that a search here has given") from None
    return index, body, after
