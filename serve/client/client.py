"""A client of the REST service, for programs.

    from lexhound.serve.client import Client

    with Client("http://127.0.0.1:8080", key="lxh_...") as client:
        client.create_collection("my")
        client.put("my", ({"id": str(n), "text": text} for n, text in enumerate(texts)), refresh=True)
        for hit in client.search("my", "heat transfer", k=5, explain=True).hits:
            print(hit.score, hit.id)

`AsyncClient` has the same methods, awaited. Both send a request again when the service is overloaded or starting (429,
503), after the time that it asks for; other errors come as `ApiError`, and a service that cannot be reached as
`UnreachableError`.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self

import httpx
import orjson

from lexhound.serve.api.http.exceptions import ApiError, ClientError, UnreachableError

from .answers import (
    BulkResult,
    CollectionInfo,
    CollectionSummary,
    Deletion,
    Document,
    Facet,
    SearchResult,
    bulk_result,
    collection_info,
    collection_summary,
    document_of,
    facet_of,
    search_result,
)

DEFAULT_URL = "http://127.0.0.1:8080"
RETRIES = 6
# Documents that a bulk load sends in one request: small enough to be sent again.
CHUNK = 1000
CHUNK_BYTES = 4 * 2**20
LONGEST_WAIT = 30.0

DocumentLike = Mapping[str, Any] | Document
Query = str | Mapping[str, float]
Mode = Literal["auto", "lexical", "sparse", "dense", "hybrid"]
Progress = Callable[[BulkResult], None]

_AGAIN = frozenset({429, 503})


class _Requests:
    """What both clients send, and how they read answers; no input or output of its own."""

    def __init__(self, key: str | None, retries: int) -> None:
        self._headers = {"accept": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        self._retries = retries

    def _wait(self, attempt: int, error: ClientError) -> float | None:
        """Seconds until the request is sent again; None where it is not."""
        if attempt >= self._retries:
            return None
        if isinstance(error, ApiError):
            if error.status not in _AGAIN:
                return None
            if error.retry_after is not None:
                return min(error.retry_after, LONGEST_WAIT) + random.uniform(0, 0.25)  # noqa: S311  not for secrets
        return min(0.1 * 2.0**attempt, LONGEST_WAIT) * random.uniform(0.5, 1)  # noqa: S311  not for secrets


def _search_body(query: Query, options: Mapping[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {"query": query} if isinstance(query, str) else {"vector": dict(query)}
    return body | {name: value for name, value in options.items() if value is not None}


def _place(collection: str, rest: str = "") -> str:
    return f"/v1/collections/{_quoted(collection)}{rest}"


def _quoted(text: str) -> str:
    from urllib.parse import quote

    # A path of dots alone would be taken for a place in a tree.
    return quote(text, safe="").replace(".", "%2E") if set(text) <= {"."} else quote(text, safe="")


def _line(document: DocumentLike) -> bytes:
    return _json(document.as_dict() if isinstance(document, Document) else document) + b"\n"


def _json(value: Any) -> bytes:
    """What is sent.

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


class _Chunks:
    """Gathers lines into bodies of moderate size."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self._size = 0

    def add(self, document: DocumentLike) -> bool:
        """Add a document; whether the body is long enough to be sent."""
        line = _line(document)
        self.lines.append(line)
        self._size += len(line)
        return len(self.lines) >= CHUNK or self._size >= CHUNK_BYTES

    def take(self) -> bytes:
        """The body, which begins anew."""
        body = b"".join(self.lines)
        self.lines, self._size = [], 0
        return body


def _answer(response: httpx.Response) -> Any:
    """The answer's JSON; raises ApiError for an error."""
    if response.is_success:
        return orjson.loads(response.content) if response.content else None
    try:
        told = orjson.loads(response.content)
        error = told["error"] if isinstance(told, dict) and isinstance(told.get("error"), dict) else {}
    except orjson.JSONDecodeError:  # a proxy's own page
        error = {}
    after = response.headers.get("retry-after", "")
    raise ApiError(response.status_code, error, float(after) if after.isdecimal() else None)


class Client(_Requests):
    """A client that waits for each answer; safe to use from several threads.

    Args:
        url: where the service is; key: an API key, where it asks for one.
        retries: how often a request is sent again when the service is overloaded, starting or out of reach.
        timeout: seconds without a byte of the answer after which a request has failed.
    """

    def __init__(
        self, url: str = DEFAULT_URL, *, key: str | None = None, retries: int = RETRIES, timeout: float = 60.0
    ) -> None:
        super().__init__(key, retries)
        self._http = httpx.Client(base_url=url, headers=self._headers, timeout=timeout)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, method: str, place: str, *, body: Any = None, params: Mapping[str, Any] | None = None) -> Any:
        content = None if body is None else _json(body)
        return self._send(method, place, content, "application/json", params)

    def _send(
        self, method: str, place: str, content: bytes | None, media_type: str, params: Mapping[str, Any] | None
    ) -> Any:
        headers = {} if content is None else {"content-type": media_type}
        attempt = 0
        while True:
            try:
                return _answer(self._http.request(method, place, content=content, headers=headers, params=params))
            except httpx.TransportError as cause:
                error: ClientError = UnreachableError(f"the service cannot be reached: {cause or type(cause).__name__}")
                error.__cause__ = cause
            except ApiError as told:
                error = told
            wait = self._wait(attempt, error)
            if wait is None:
                raise error
            attempt += 1
            time.sleep(wait)

    # Collections

    def collections(self) -> list[CollectionSummary]:
        """All collections that the key opens."""
        return [collection_summary(each) for each in self._ask("GET", "/v1/collections")["collections"]]

    def create_collection(
        self, name: str, *, encoder: str = "bm25", settings: Mapping[str, Any] | None = None
    ) -> CollectionInfo:
        """Make an empty collection."""
        body = {"name": name, "encoder": encoder} | ({} if settings is None else {"settings": dict(settings)})
        return collection_info(self._ask("POST", "/v1/collections", body=body))

    def collection(self, name: str) -> CollectionInfo:
        """The figures of a collection."""
        return collection_info(self._ask("GET", _place(name)))

    def delete_collection(self, name: str) -> None:
        """Remove a collection with all its documents."""
        self._ask("DELETE", _place(name))

    def backup(self, name: str, backup: str | None = None) -> dict[str, Any]:
        """Make a verified copy in the service's folder of backups, called `backup` or by the time; returns its figures.

        Where the connection breaks, it may have been made all the same: give a name, and a second one is refused (409).
        """
        body = {} if backup is None else {"name": backup}
        found: dict[str, Any] = self._ask("POST", _place(name, "/backup"), body=body)
        return found

    def compact(self, name: str) -> None:
        """Begin a compaction in the background."""
        self._ask("POST", _place(name, "/compact"))

    def discard_unfinished(self, name: str) -> int:
        """Drop what a run that was cut short holds; returns how many documents that was."""
        return int(self._ask("POST", _place(name, "/discard-unfinished"))["discarded"])

    # Documents

    def put(
        self,
        collection: str,
        documents: Iterable[DocumentLike],
        *,
        refresh: bool = False,
        progress: Progress | None = None,
    ) -> BulkResult:
        """Insert or replace documents, in any number: sent in chunks, each durable before the next.

        A document is a mapping with `id`, `text` and perhaps `title` and `metadata`; other fields are metadata.
        Documents that cannot be stored are in `BulkResult.rejected`, counted from the first of all.

        Args:
            refresh: make all of them searchable before this returns.
            progress: called after every chunk with the result so far.
        """
        result = BulkResult()
        chunks = _Chunks()
        for document in documents:
            if chunks.add(document):
                result = self._put(collection, chunks.take(), result, refresh=False)
                if progress is not None:
                    progress(result)
        if chunks.lines or refresh:
            result = self._put(collection, chunks.take(), result, refresh=refresh)
            if progress is not None:
                progress(result)
        return result

    def _put(self, collection: str, body: bytes, before: BulkResult, *, refresh: bool) -> BulkResult:
        params = {"items": "errors", "refresh": str(refresh).lower()}
        place = _place(collection, "/documents")
        return bulk_result(self._send("POST", place, body, "application/x-ndjson", params), before)

    def get(self, collection: str, identifier: str) -> Document | None:
        """A document, or None."""
        try:
            return document_of(self._ask("GET", _place(collection, f"/documents/{_quoted(identifier)}")))
        except ApiError as error:
            if error.code == "unknown_document":
                return None
            raise

    def delete(self, collection: str, ids: Sequence[str], *, refresh: bool = False) -> Deletion:
        """Delete documents by id."""
        return self._delete(collection, {"ids": list(ids)}, refresh=refresh)

    def delete_where(self, collection: str, filter: str, *, refresh: bool = False) -> Deletion:
        """Delete the documents that pass a filter expression."""
        return self._delete(collection, {"filter": filter}, refresh=refresh)

    def _delete(self, collection: str, body: dict[str, Any], *, refresh: bool) -> Deletion:
        params = {"refresh": str(refresh).lower()}
        answer = self._ask("POST", _place(collection, "/documents/delete"), body=body, params=params)
        return Deletion(answer["deleted"], tuple(answer["missing"]))

    # Searching

    def search(
        self,
        collection: str,
        query: Query,
        *,
        k: int | None = None,
        offset: int | None = None,
        mode: Mode | None = None,
        fusion: Mapping[str, Any] | None = None,
        filter: str | None = None,
        explain: bool | None = None,
        highlight: bool | None = None,
        fields: Sequence[str] | None = None,
        stats: bool | None = None,
        recall: float | None = None,
    ) -> SearchResult:
        """The best documents for a text, or for term weights; `fusion` is for mode hybrid (docs/hybrid.md)."""
        options = {name: value for name, value in locals().items() if name not in {"self", "collection", "query"}}
        return search_result(self._ask("POST", _place(collection, "/search"), body=_search_body(query, options)))

    def search_many(
        self,
        collection: str,
        queries: Sequence[str],
        *,
        k: int = 10,
        filter: str | None = None,
        mode: Mode = "auto",
        fusion: Mapping[str, Any] | None = None,
        recall: float | None = None,
    ) -> list[list[tuple[str, float]]]:
        """(id, score) of the best documents for each query."""
        body = {"queries": list(queries), "k": k, "filter": filter, "mode": mode, "fusion": fusion, "recall": recall}
        answer = self._ask("POST", _place(collection, "/search/batch"), body=body)
        return [[(hit["id"], hit["score"]) for hit in each["hits"]] for each in answer["results"]]

    def count(self, collection: str, filter: str | None = None) -> int:
        """How many documents there are, or pass a filter."""
        return int(self._ask("POST", _place(collection, "/count"), body={"filter": filter})["count"])

    def facets(self, collection: str, fields: Sequence[str] = (), *, limit: int = 20) -> list[Facet]:
        """The values of metadata fields; of all fields unless named."""
        params = {"field": list(fields), "limit": limit}
        return [facet_of(each) for each in self._ask("GET", _place(collection, "/facets"), params=params)["fields"]]

    # The service

    def is_ready(self) -> bool:
        """Whether searches are answered now; false where the service cannot be reached."""
        try:
            return self._http.get("/readyz").is_success
        except httpx.TransportError:
            return False

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Wait for the service.

        Raises:
            UnreachableError: it is not ready after `timeout` seconds.
        """
        end = time.monotonic() + timeout
        while not self.is_ready():
            if time.monotonic() > end:
                raise UnreachableError(f"the service is not ready after {timeout:g} seconds")
            time.sleep(0.05)


class AsyncClient(_Requests):
    """The same for asyncio; see `Client` for arguments and methods."""

    def __init__(
        self, url: str = DEFAULT_URL, *, key: str | None = None, retries: int = RETRIES, timeout: float = 60.0
    ) -> None:
        super().__init__(key, retries)
        self._http = httpx.AsyncClient(base_url=url, headers=self._headers, timeout=timeout)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _ask(self, method: str, place: str, *, body: Any = None, params: Mapping[str, Any] | None = None) -> Any:
        content = None if body is None else _json(body)
        return await self._send(method, place, content, "application/json", params)

    async def _send(
        self, method: str, place: str, content: bytes | None, media_type: str, params: Mapping[str, Any] | None
    ) -> Any:
        headers = {} if content is None else {"content-type": media_type}
        attempt = 0
        while True:
            try:
                return _answer(await self._http.request(method, place, content=content, headers=headers, params=params))
            except httpx.TransportError as cause:
                error: ClientError = UnreachableError(f"the service cannot be reached: {cause or type(cause).__name__}")
                error.__cause__ = cause
            except ApiError as told:
                error = told
            wait = self._wait(attempt, error)
            if wait is None:
                raise error
            attempt += 1
            await asyncio.sleep(wait)

    async def collections(self) -> list[CollectionSummary]:
        """All collections that the key opens."""
        return [collection_summary(each) for each in (await self._ask("GET", "/v1/collections"))["collections"]]

    async def create_collection(
        self, name: str, *, encoder: str = "bm25", settings: Mapping[str, Any] | None = None
    ) -> CollectionInfo:
        """Make an empty collection."""
        body = {"name": name, "encoder": encoder} | ({} if settings is None else {"settings": dict(settings)})
        return collection_info(await self._ask("POST", "/v1/collections", body=body))

    async def collection(self, name: str) -> CollectionInfo:
        """The figures of a collection."""
        return collection_info(await self._ask("GET", _place(name)))

    async def delete_collection(self, name: str) -> None:
        """Remove a collection with all its documents."""
        await self._ask("DELETE", _place(name))

    async def backup(self, name: str, backup: str | None = None) -> dict[str, Any]:
        """The same as `Client.backup`."""
        body = {} if backup is None else {"name": backup}
        found: dict[str, Any] = await self._ask("POST", _place(name, "/backup"), body=body)
        return found

    async def compact(self, name: str) -> None:
        """Begin a compaction in the background."""
        await self._ask("POST", _place(name, "/compact"))

    async def discard_unfinished(self, name: str) -> int:
        """Drop what a run that was cut short holds; returns how many documents that was."""
        return int((await self._ask("POST", _place(name, "/discard-unfinished")))["discarded"])

    async def put(
        self,
        collection: str,
        documents: Iterable[DocumentLike] | AsyncIterable[DocumentLike],
        *,
        refresh: bool = False,
        progress: Progress | None = None,
    ) -> BulkResult:
        """Insert or replace documents, from an iterable or an asynchronous one; see `Client.put`."""
        result = BulkResult()
        chunks = _Chunks()
        async for document in _each(documents):
            if chunks.add(document):
                result = await self._put(collection, chunks.take(), result, refresh=False)
                if progress is not None:
                    progress(result)
        if chunks.lines or refresh:
            result = await self._put(collection, chunks.take(), result, refresh=refresh)
            if progress is not None:
                progress(result)
        return result

    async def _put(self, collection: str, body: bytes, before: BulkResult, *, refresh: bool) -> BulkResult:
        params = {"items": "errors", "refresh": str(refresh).lower()}
        place = _place(collection, "/documents")
        return bulk_result(await self._send("POST", place, body, "application/x-ndjson", params), before)

    async def get(self, collection: str, identifier: str) -> Document | None:
        """A document, or None."""
        try:
            return document_of(await self._ask("GET", _place(collection, f"/documents/{_quoted(identifier)}")))
        except ApiError as error:
            if error.code == "unknown_document":
                return None
            raise

    async def delete(self, collection: str, ids: Sequence[str], *, refresh: bool = False) -> Deletion:
        """Delete documents by id."""
        return await self._delete(collection, {"ids": list(ids)}, refresh=refresh)

    async def delete_where(self, collection: str, filter: str, *, refresh: bool = False) -> Deletion:
        """Delete the documents that pass a filter expression."""
        return await self._delete(collection, {"filter": filter}, refresh=refresh)

    async def _delete(self, collection: str, body: dict[str, Any], *, refresh: bool) -> Deletion:
        params = {"refresh": str(refresh).lower()}
        answer = await self._ask("POST", _place(collection, "/documents/delete"), body=body, params=params)
        return Deletion(answer["deleted"], tuple(answer["missing"]))

    async def search(
        self,
        collection: str,
        query: Query,
        *,
        k: int | None = None,
        offset: int | None = None,
        mode: Mode | None = None,
        fusion: Mapping[str, Any] | None = None,
        filter: str | None = None,
        explain: bool | None = None,
        highlight: bool | None = None,
        fields: Sequence[str] | None = None,
        stats: bool | None = None,
        recall: float | None = None,
    ) -> SearchResult:
        """The best documents for a text, or for term weights; `fusion` is for mode hybrid (docs/hybrid.md)."""
        options = {name: value for name, value in locals().items() if name not in {"self", "collection", "query"}}
        answer = await self._ask("POST", _place(collection, "/search"), body=_search_body(query, options))
        return search_result(answer)

    async def search_many(
        self,
        collection: str,
        queries: Sequence[str],
        *,
        k: int = 10,
        filter: str | None = None,
        mode: Mode = "auto",
        fusion: Mapping[str, Any] | None = None,
        recall: float | None = None,
    ) -> list[list[tuple[str, float]]]:
        """(id, score) of the best documents for each query."""
        body = {"queries": list(queries), "k": k, "filter": filter, "mode": mode, "fusion": fusion, "recall": recall}
        answer = await self._ask("POST", _place(collection, "/search/batch"), body=body)
        return [[(hit["id"], hit["score"]) for hit in each["hits"]] for each in answer["results"]]

    async def count(self, collection: str, filter: str | None = None) -> int:
        """How many documents there are, or pass a filter."""
        return int((await self._ask("POST", _place(collection, "/count"), body={"filter": filter}))["count"])

    async def facets(self, collection: str, fields: Sequence[str] = (), *, limit: int = 20) -> list[Facet]:
        """The values of metadata fields; of all fields unless named."""
        params = {"field": list(fields), "limit": limit}
        answer = await self._ask("GET", _place(collection, "/facets"), params=params)
        return [facet_of(each) for each in answer["fields"]]

    async def is_ready(self) -> bool:
        """Whether searches are answered now; false where the service cannot be reached."""
        try:
            return (await self._http.get("/readyz")).is_success
        except httpx.TransportError:
            return False


async def _each(documents: Iterable[DocumentLike] | AsyncIterable[DocumentLike]) -> AsyncIterator[DocumentLike]:
    if isinstance(documents, AsyncIterable):
        async for document in documents:
            yield document
    else:
        iterator: Iterator[DocumentLike] = iter(documents)
        for document in iterator:
            yield document
