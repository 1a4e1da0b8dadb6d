"""The client that waits for each answer. `make client` writes this file from `async_client.py`: edit that one."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, Unpack

import httpx

from lexhound.retrieval.collection.request import SearchRequest
from lexhound.retrieval.collection.result import Facet, SearchResult, Suggestions

from .answers import (
    BulkResult,
    CollectionInfo,
    CollectionSummary,
    Deletion,
    Document,
    bulk_result,
    collection_info,
    collection_summary,
    document_of,
    facet_of,
    search_result,
)
from .errors import ApiError, ClientError, UnreachableError
from .transport import (
    DEFAULT_URL,
    LISTED,
    RETRIES,
    BatchOptions,
    Documents,
    Mode,
    Progress,
    Query,
    SearchOptions,
    batch_body,
    bodies,
    collection_path,
    encode_json,
    facet_params,
    filter_body,
    quoted,
    read_answer,
    request_headers,
    retry_delay,
    search_body,
)


class Client:
    """A client that waits for each answer; safe to use from several threads.

    Args:
        url: where the service is; key: an API key, where it asks for one.
        tenant: whose documents every request is about, of collections with tenants (docs/tenants.md); a key that is
            bound to a tenant needs none.
        retries: how often a request is sent again when the service is overloaded, starting or out of reach.
        timeout: seconds without a byte of the answer after which a request has failed.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        key: str | None = None,
        tenant: str | None = None,
        retries: int = RETRIES,
        timeout: float = 60.0,
    ) -> None:
        self._retries = retries
        self._http = httpx.Client(base_url=url, headers=request_headers(key, tenant), timeout=timeout)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, method: str, path: str, *, body: Any = None, params: Mapping[str, Any] | None = None) -> Any:
        content = None if body is None else encode_json(body)
        return self._send(method, path, content, "application/json", params)

    def _send(
        self, method: str, path: str, content: bytes | None, media_type: str, params: Mapping[str, Any] | None
    ) -> Any:
        headers = {} if content is None else {"content-type": media_type}
        attempt = 0
        while True:
            try:
                return read_answer(self._http.request(method, path, content=content, headers=headers, params=params))
            except httpx.TransportError as cause:
                error: ClientError = UnreachableError(f"the service cannot be reached: {cause or type(cause).__name__}")
                error.__cause__ = cause
            except ApiError as answered:
                error = answered
            delay = retry_delay(attempt, self._retries, error)
            if delay is None:
                raise error
            attempt += 1
            time.sleep(delay)

    # Collections

    def collections(self) -> list[CollectionSummary]:
        """Return all collections that the key opens."""
        answer = self._ask("GET", "/v1/collections")
        return [collection_summary(each) for each in answer["collections"]]

    def create_collection(
        self,
        name: str,
        *,
        encoder: str | None = None,
        dense: str | None = None,
        settings: Mapping[str, Any] | None = None,
        passages: str | None = None,
        tenant_field: str | None = None,
        late: bool = False,
    ) -> CollectionInfo:
        """Make an empty collection.

        Args:
            encoder, dense: of those that the service offers; without an encoder the service's default with its dense
                vectors; `dense` may be "none".
            settings: of `bm25`.
            passages: how long texts are split, such as "256/32" (tokens, overlap), or "none".
            tenant_field: the metadata field that says whose a document is; None where documents are everybody's.
            late: keep vectors of tokens too, for `rerank="late"`.
        """
        bm25 = None if settings is None else dict(settings)
        named: dict[str, Any] = {"encoder": encoder, "dense": dense, "settings": bm25, "passages": passages}
        named |= {"tenant_field": tenant_field, "late": late or None}
        body = {"name": name} | {key: value for key, value in named.items() if value is not None}
        return collection_info(self._ask("POST", "/v1/collections", body=body))

    def collection(self, name: str) -> CollectionInfo:
        """Return the figures of a collection."""
        return collection_info(self._ask("GET", collection_path(name)))

    def delete_collection(self, name: str) -> None:
        """Remove a collection with all its documents."""
        self._ask("DELETE", collection_path(name))

    def aliases(self) -> dict[str, str]:
        """Return the collection that each alias leads to, for all aliases that the key opens."""
        return dict((self._ask("GET", "/v1/aliases"))["aliases"])

    def change_aliases(self, put: Mapping[str, str] | None = None, *, remove: Sequence[str] = ()) -> dict[str, str]:
        """Let aliases lead to collections (`put`: collection by alias) and remove others, all at once.

        Requests find the old or the new collection, and never none. Returns the aliases that there are then.
        """
        body = {"put": dict(put or {}), "remove": list(remove)}
        return dict((self._ask("POST", "/v1/aliases", body=body))["aliases"])

    def synonyms(self, name: str) -> list[str]:
        """Return the rules of synonyms that a collection of BM25 follows."""
        return list((self._ask("GET", collection_path(name, "/synonyms")))["rules"])

    def set_synonyms(self, name: str, rules: Sequence[str]) -> list[str]:
        """Set the rules, such as `car, automobile` and `tv => television`, in the place of those that were there."""
        body = {"rules": list(rules)}
        return list((self._ask("POST", collection_path(name, "/synonyms"), body=body))["rules"])

    def backup(self, name: str, backup: str | None = None) -> dict[str, Any]:
        """Make a verified copy in the service's folder of backups, named `backup` or by the time; return its figures.

        Where the connection breaks, it may have been made all the same: give a name, and a second one is refused (409).
        """
        body = {} if backup is None else {"name": backup}
        figures: dict[str, Any] = self._ask("POST", collection_path(name, "/backup"), body=body)
        return figures

    def backups(self, name: str) -> list[str]:
        """Return the names of a collection's backups, in ascending order."""
        return list((self._ask("GET", collection_path(name, "/backups")))["backups"])

    def restore(self, name: str, backup: str, into: str | None = None) -> dict[str, Any]:
        """Make a new collection of a backup of `name`: `into`, or `name` where that is gone. Return its figures."""
        body = {"backup": backup} | ({} if into is None else {"into": into})
        figures: dict[str, Any] = self._ask("POST", collection_path(name, "/restore"), body=body)
        return figures

    def compact(self, name: str) -> dict[str, Any]:
        """Begin a compaction in the background, or return how far one is: `status` and `progress`."""
        told: dict[str, Any] = self._ask("POST", collection_path(name, "/compact"))
        return told

    def discard_unfinished(self, name: str) -> int:
        """Drop the documents of an interrupted ingest job; return how many they were."""
        answer = self._ask("POST", collection_path(name, "/discard-unfinished"))
        return int(answer["discarded"])

    # Documents

    def put(
        self,
        collection: str,
        documents: Documents,
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
        for body, last in bodies(documents):
            if body or refresh:
                result = self._put(collection, body, result, refresh=refresh and last)
                if progress is not None:
                    progress(result)
        return result

    def _put(self, collection: str, body: bytes, before: BulkResult, *, refresh: bool) -> BulkResult:
        params = {"items": "errors", "refresh": str(refresh).lower()}
        path = collection_path(collection, "/documents")
        return bulk_result(self._send("POST", path, body, "application/x-ndjson", params), before)

    def get(self, collection: str, identifier: str) -> Document | None:
        """Return a document, or None where there is none of this id."""
        try:
            return document_of(self._ask("GET", collection_path(collection, f"/documents/{quoted(identifier)}")))
        except ApiError as error:
            if error.code == "unknown_document":
                return None
            raise

    def list_documents(
        self,
        collection: str,
        filter: str | None = None,
        *,
        limit: int | None = None,
        allow_unknown_fields: bool = False,
    ) -> list[Document]:
        """Return the documents that pass a filter, or all, in order of insertion; at most `limit`.

        They are asked for in pages, so a document that is written meanwhile may be missed.
        """
        found: list[Document] = []
        while limit is None or len(found) < limit:
            size = LISTED if limit is None else min(LISTED, limit - len(found))
            page = {"offset": len(found), "limit": size}
            body = filter_body(filter, allow_unknown_fields) | page
            answer = self._ask("POST", collection_path(collection, "/documents/list"), body=body)
            found += [document_of(each) for each in answer["documents"]]
            if len(answer["documents"]) < size:
                break
        return found

    def delete(self, collection: str, ids: Sequence[str], *, refresh: bool = False) -> Deletion:
        """Delete documents by id."""
        return self._delete(collection, {"ids": list(ids)}, refresh=refresh)

    def delete_where(
        self, collection: str, filter: str, *, allow_unknown_fields: bool = False, refresh: bool = False
    ) -> Deletion:
        """Delete the documents that pass a filter expression."""
        return self._delete(collection, filter_body(filter, allow_unknown_fields), refresh=refresh)

    def _delete(self, collection: str, body: dict[str, Any], *, refresh: bool) -> Deletion:
        params = {"refresh": str(refresh).lower()}
        answer = self._ask("POST", collection_path(collection, "/documents/delete"), body=body, params=params)
        return Deletion(answer["deleted"], tuple(answer["missing"]))

    # Searching

    def search(self, collection: str, query: Query | SearchRequest, **options: Unpack[SearchOptions]) -> SearchResult:
        """Return the best documents for a query.

        Args:
            collection: its name.
            query: a text, the weights of terms, or a whole request.
            options: the attributes of `SearchRequest`; what is left out, the service chooses. `fusion` is for mode
                hybrid (docs/hybrid.md).
        """
        body = search_body(query, options)
        return search_result(self._ask("POST", collection_path(collection, "/search"), body=body))

    def search_many(
        self, collection: str, queries: Sequence[str], **options: Unpack[BatchOptions]
    ) -> list[list[tuple[str, float]]]:
        """Return (id, score) of the best documents for each query; the options are those of `search`."""
        body = batch_body(queries, options)
        answer = self._ask("POST", collection_path(collection, "/search/batch"), body=body)
        return [[(hit["id"], hit["score"]) for hit in each["hits"]] for each in answer["results"]]

    def count(self, collection: str, filter: str | None = None, *, allow_unknown_fields: bool = False) -> int:
        """Return how many documents there are, or pass a filter."""
        body = filter_body(filter, allow_unknown_fields)
        answer = self._ask("POST", collection_path(collection, "/count"), body=body)
        return int(answer["count"])

    def facets(
        self,
        collection: str,
        fields: Sequence[str] = (),
        *,
        limit: int = 20,
        query: str | None = None,
        filter: str | None = None,
        mode: Mode | None = None,
        matching: bool = False,
        allow_unknown_fields: bool = False,
    ) -> list[Facet]:
        """Return the values of metadata fields, of all unless named.

        Args:
            query: count among its best hits, searched for in `mode`, or with `matching` all documents that match it;
                filter: of the documents that pass it.
        """
        more = {"q": query, "filter": filter, "mode": mode, "matching": matching or None}
        more["allow_unknown_fields"] = allow_unknown_fields or None
        params = facet_params(fields, limit, more)
        answer = self._ask("GET", collection_path(collection, "/facets"), params=params)
        return [facet_of(each) for each in answer["fields"]]

    def suggest(self, collection: str, query: str, k: int | None = None, *, filter: str | None = None) -> Suggestions:
        """Return a query's misspelt words put right, and its last word completed, by words of documents that pass."""
        params = {"q": query, "k": k, "filter": filter}
        sent = {name: value for name, value in params.items() if value is not None}
        answer = self._ask("GET", collection_path(collection, "/suggest"), params=sent)
        return Suggestions(answer["did_you_mean"], tuple(answer["completions"]))

    # The service

    def is_ready(self) -> bool:
        """Return whether searches are answered now; false where the service cannot be reached."""
        try:
            response = self._http.get("/readyz")
            return response.is_success
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
