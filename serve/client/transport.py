"""What both clients send, how they read answers, and when they send a request again; no input or output of its own."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal, TypedDict
from urllib.parse import quote

import httpx
import orjson

from lexhound.core.arrow_rows import CellError, is_table, table_rows
from lexhound.retrieval.collection.clauses.tree import CLAUSES
from lexhound.retrieval.collection.request import Fusion, SearchRequest
from lexhound.retrieval.collection.reranking.options import LATE, Rerank
from lexhound.retrieval.filters.sort_keys import SortKey

from .answers import BulkResult, Document
from .errors import ApiError, ClientError

DEFAULT_URL = "http://127.0.0.1:8080"
RETRIES = 6
# Documents that a bulk load sends in one request: small enough to be sent again.
CHUNK = 1000
CHUNK_BYTES = 4 * 2**20
LONGEST_WAIT = 30.0
# Documents of one answer, where many are listed.
LISTED = 500

DocumentLike = Mapping[str, Any] | Document
Documents = Iterable[DocumentLike]
AsyncDocuments = Documents | AsyncIterable[DocumentLike]
Query = str | Mapping[str, float]
Mode = Literal["auto", "lexical", "sparse", "dense", "hybrid"]
Group = Literal["document", "none"]
Progress = Callable[[BulkResult], None]

_AGAIN = frozenset({429, 503})


def request_headers(key: str | None, tenant: str | None = None) -> dict[str, str]:
    """Return the headers of every request."""
    headers = {"accept": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    return headers if tenant is None else headers | {"x-tenant": quote(tenant, safe=" ")}


def retry_delay(attempt: int, retries: int, error: ClientError) -> float | None:
    """Return the seconds until a request is sent again, or None where it is not."""
    if attempt >= retries:
        return None
    if isinstance(error, ApiError):
        if error.status not in _AGAIN:
            return None
        if error.retry_after is not None:
            return min(error.retry_after, LONGEST_WAIT) + random.uniform(0, 0.25)  # noqa: S311  not for secrets
    return min(0.1 * 2.0**attempt, LONGEST_WAIT) * random.uniform(0.5, 1)  # noqa: S311  not for secrets


class SearchOptions(TypedDict, total=False):
    """What a search may say beside its query; see `SearchRequest`. What is left out, or None, the service chooses."""

    k: int | None
    offset: int | None
    mode: Mode | None
    fusion: Fusion | Mapping[str, Any] | None
    filter: str | None
    allow_unknown_fields: bool
    explain: bool | None
    highlight: bool | None
    fields: Sequence[str] | None
    stats: bool | None
    total: bool | None
    sort: str | Sequence[str | SortKey] | None
    collapse: str | None
    recall: float | None
    rerank: Literal["none", "late"] | None
    group: Group | None


class BatchOptions(TypedDict, total=False):
    """What a search by many texts may say beside them."""

    k: int
    mode: Mode
    fusion: Fusion | Mapping[str, Any] | None
    filter: str | None
    allow_unknown_fields: bool
    recall: float | None
    rerank: Literal["none", "late"] | None
    group: Group


def search_body(query: Query | SearchRequest, options: SearchOptions) -> dict[str, Any]:
    """Return the body of a search; options take the place of what a request says."""
    values: dict[str, Any] = {}
    if isinstance(query, SearchRequest):
        values = {name: getattr(query, name) for name in SearchOptions.__annotations__}
        if isinstance(query.query, CLAUSES):
            raise ClientError(
                "a query of several clauses cannot be sent over REST",
                hint="send a text and a filter, or ask the OpenSearch endpoint",
                code="clauses",
            )
        if query.rerank == Rerank(LATE):
            values["rerank"] = LATE
        elif isinstance(query.rerank, Rerank):
            raise ClientError(
                "a request over REST names no reranker but late: the collection keeps it, its depth and its weight",
                hint="lexhound reranker COLLECTION MODEL",
                code="rerank",
            )
        query = query.query
    body: dict[str, Any] = {"query": query} if isinstance(query, str) else {"vector": dict(query)}
    return body | _sent(values | options)


def batch_body(queries: Sequence[str], options: BatchOptions) -> dict[str, Any]:
    """Return the body of a search by many texts."""
    return {"queries": list(queries)} | _sent(dict(options))


def filter_body(filter: str | None, allow_unknown_fields: bool) -> dict[str, Any]:
    """Return the body of a request with nothing but a filter."""
    return {"filter": filter} | ({"allow_unknown_fields": True} if allow_unknown_fields else {})


def facet_params(fields: Sequence[str], limit: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a request for facets, without those that are None."""
    sent = {name: value for name, value in options.items() if value is not None}
    return {"field": list(fields), "limit": limit} | {
        name: str(value).lower() if isinstance(value, bool) else value for name, value in sent.items()
    }


def _sent(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as they are sent, without those that the service chooses."""
    sent = {name: value for name, value in options.items() if value is not None}
    if isinstance(sent.get("fusion"), Fusion):
        sent["fusion"] = asdict(sent["fusion"])
    if "sort" in sent:
        keys = [sent["sort"]] if isinstance(sent["sort"], str | SortKey) else sent["sort"]
        sent["sort"] = [str(key) for key in keys]
    return sent


def collection_path(collection: str, rest: str = "") -> str:
    """Return the path of a collection, or of what lies below it."""
    return f"/v1/collections/{quoted(collection)}{rest}"


def quoted(text: str) -> str:
    """Return a name or id as one segment of a path."""
    # A path of dots alone would be taken for a place in a tree.
    return quote(text, safe="").replace(".", "%2E") if set(text) <= {"."} else quote(text, safe="")


def encode_json(value: Any) -> bytes:
    """Return a value as JSON.

    Raises:
        ClientError: JSON has no form for it.
    """
    try:
        data = orjson.dumps(value)
        if b"null" in data:  # which may stand for a number that is not finite
            json.dumps(value, allow_nan=False, default=str)
    except (TypeError, ValueError) as error:
        raise ClientError(
            f"this cannot be sent as JSON: {error}",
            hint="use text, finite numbers, integers of 64 bits, booleans, None, lists and dicts",
            code="not_json",
        ) from error
    return data


class _Chunk:
    """Lines of a bulk load, gathered into a body of moderate size."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._size = 0

    def add(self, document: DocumentLike) -> bool:
        """Add a document; return whether the body is long enough to be sent."""
        line = encode_json(document.as_dict() if isinstance(document, Document) else document) + b"\n"
        self._lines.append(line)
        self._size += len(line)
        return len(self._lines) >= CHUNK or self._size >= CHUNK_BYTES

    def take(self) -> bytes:
        """Return the body and begin a new one."""
        body = b"".join(self._lines)
        self._lines, self._size = [], 0
        return body


def bodies(documents: Documents) -> Iterator[tuple[bytes, bool]]:
    """Yield the bodies of a bulk load, and with each whether it is the last; only the last may be empty."""
    chunk = _Chunk()
    for document in _sendable_rows(documents) if is_table(documents) else documents:
        if chunk.add(document):
            yield chunk.take(), False
    yield chunk.take(), True


def _sendable_rows(table: Any) -> Iterator[DocumentLike]:
    """Yield the rows of a table as documents. Raises ClientError where one cannot be sent."""
    try:
        yield from table_rows(table)
    except CellError as error:
        raise ClientError(error.message, hint=error.hint, code="not_json") from error


async def async_bodies(documents: AsyncDocuments) -> AsyncIterator[tuple[bytes, bool]]:
    """Yield what `bodies` does, from an iterable or an asynchronous one."""
    if not isinstance(documents, AsyncIterable):
        for body in bodies(documents):
            yield body
        return
    chunk = _Chunk()
    async for document in documents:
        if chunk.add(document):
            yield chunk.take(), False
    yield chunk.take(), True


def read_answer(response: httpx.Response) -> Any:
    """Return the answer's JSON.

    Raises:
        ApiError: the service answered with an error.
    """
    if response.is_success:
        return orjson.loads(response.content) if response.content else None
    try:
        content = orjson.loads(response.content)
        error = content["error"] if isinstance(content, dict) and isinstance(content.get("error"), dict) else {}
    except orjson.JSONDecodeError:  # a proxy's own page
        error = {}
    after = response.headers.get("retry-after", "")
    raise ApiError(response.status_code, error, float(after) if after.isdecimal() else None)
