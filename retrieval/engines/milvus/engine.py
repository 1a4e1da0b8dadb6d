"""Milvus as an engine: one collection with a sparse and a dense field, searched exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.retrieval.collection.health import Health
from lexhound.retrieval.collection.store.manifest import Manifest
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.engines.address import Address
from lexhound.retrieval.engines.engine import Ability, EngineRow, Ranked, Size, SparseVector
from lexhound.retrieval.engines.refusals import REFUSED
from lexhound.retrieval.engines.settings import MilvusSettings
from lexhound.retrieval.errors import CollectionExistsError, EngineError, NotACollectionError, UnsupportedError
from lexhound.retrieval.filters import Expression

from . import schema
from .client import Client
from .filters import WITH_VECTOR, tenant_of, translate
from .frequencies import SUFFIX, Frequencies

MAX_HITS = 16_384
# Rows read or deleted in one request: their expression names all their keys.
_KEYS_AT_ONCE = 1000
# Rows sent in one request; Milvus takes 64 MiB at a time.
_ROWS_AT_ONCE, _BYTES_AT_ONCE = 512, 16 * 2**20

_STORED = ["id", "title", "text", "metadata"]


def open_milvus(address: Address, create: Manifest | None, settings: MilvusSettings) -> MilvusEngine:
    """Open the collection at an address, or with a manifest make it.

    Raises:
        MissingEngineError, EngineUnreachableError, EngineError: see `client`.
        NotACollectionError, NewerFormatError: nothing is there, or nothing that this version reads.
        CollectionExistsError: a collection is to be made where one is.
        UnsupportedError: milvus-lite lacks what the settings ask for.
    """
    if address.path is not None and create is None and not address.path.exists():
        raise NotACollectionError("no such collection", where=str(address), hint=_MAKE)
    client = Client(address, settings)
    try:
        if create is None:
            return MilvusEngine(address, client, _read(client, address))
        _create(client, address, create)
        return MilvusEngine(address, client, _read(client, address))
    except BaseException:
        client.close()
        raise


_MAKE = "make one with: lexhound index CORPUS --into ADDRESS --encoder default"


def _read(client: Client, address: Address) -> tuple[Manifest, schema.Layout]:
    if not client("has_collection", address.name):
        raise NotACollectionError("no such collection", where=str(address), hint=_MAKE)
    description = schema.read_description(
        client("describe_collection", address.name).get("description", ""), str(address)
    )
    client("load_collection", address.name)
    client("load_collection", address.name + SUFFIX)
    return description


def _create(client: Client, address: Address, manifest: Manifest) -> None:
    settings = client.settings
    if client("has_collection", address.name):
        raise CollectionExistsError(
            "a collection is here already",
            where=str(address),
            hint="give another name, or add to it with `lexhound add`",
        )
    if client.lite and settings.dense_index not in ("FLAT", "IVF_FLAT"):
        raise UnsupportedError(
            f"milvus-lite has no dense index {settings.dense_index}", where=str(address), hint="FLAT"
        )
    if client.lite and settings.tenant_field:
        raise UnsupportedError(
            "milvus-lite has no partition keys", where=str(address), hint="leave the tenant field out"
        )
    if manifest.tenant_field and settings.tenant_field not in ("", manifest.tenant_field):
        raise UnsupportedError(
            f"the tenant field is {manifest.tenant_field!r}, and Milvus is to partition by {settings.tenant_field!r}",
            where=str(address),
            hint="leave the setting of Milvus out",
        )
    if manifest.tenant_field and not client.lite:
        settings = replace(settings, tenant_field=manifest.tenant_field)
    # The counts first: a collection that is there has them.
    counts = Frequencies(client, address.name)
    if client("has_collection", address.name + SUFFIX):
        counts.drop()
    counts.create()
    schema.make(client, address.name, manifest, settings)


class MilvusEngine:
    """An open collection in Milvus; see `engine.Engine`."""

    abilities = frozenset({Ability.DENSE, Ability.FILTER, Ability.EXPLAIN, Ability.REPLACE, Ability.FREQUENCIES})
    max_hits = MAX_HITS

    def __init__(self, address: Address, client: Client, stored: tuple[Manifest, schema.Layout]) -> None:
        """Internal: use `open_milvus`."""
        self.address = str(address)
        self.manifest, self.layout = stored
        self.refused = REFUSED[address.engine]
        self._address = address
        self._name = address.name
        self._client = client
        self._frequencies = Frequencies(client, address.name)
        self._frequencies.load()
        self._known = self._identity()

    def check(self, documents: Sequence[Document]) -> None:
        """Refuse documents that do not fit."""
        schema.check(documents, self.layout.tenant_field)

    def upsert(self, rows: Sequence[EngineRow]) -> None:
        """Write rows; the counts of terms follow."""
        for chunk in _chunks(rows):
            before = self.vectors([row.document.id for row in chunk])
            self._client.write("upsert", self._name, [schema.values_of(row, self.layout) for row in chunk])
            self._frequencies.change([row.sparse for row in chunk], before.values())

    def delete(self, ids: Sequence[str]) -> None:
        """Delete documents; the counts of terms follow."""
        for chunk in _slices(ids):
            before = self.vectors(chunk)
            self._client.write("delete", self._name, filter=_keys(chunk))
            self._frequencies.change([], before.values())

    def finish(self) -> None:
        """Flush what was written, and make one of the counts."""
        self._client.write("flush", self._name)
        self._frequencies.merge(at=2)

    def maintain(self) -> bool:
        """Make one of the counts where they are many."""
        return self._frequencies.merge()

    def digests(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the digests of those documents that are there."""
        return {row["id"]: int(row["digest"]) for row in self._rows_of(ids, ["id", "digest"])}

    def documents(self, ids: Sequence[str]) -> dict[str, Document]:
        """Return those documents that are there."""
        return {row["id"]: _document(row) for row in self._rows_of(ids, _STORED)}

    def vectors(self, ids: Sequence[str]) -> dict[str, SparseVector]:
        """Return the stored weights of documents."""
        stored_ids = list(self.digests(ids))  # milvus-lite fails where vectors are asked for and there are none
        return {row["id"]: _vector(row["sparse"]) for row in self._rows_of(stored_ids, ["id", "sparse"])}

    def search_sparse(
        self, queries: Sequence[SparseVector], limit: int, where: Expression | None, among: Sequence[int] | None = None
    ) -> list[Ranked]:
        """Return the best documents by the inverted index; exact."""
        data = [dict(zip(terms.tolist(), weights.tolist(), strict=True)) for terms, weights in queries]
        return self._search("sparse", data, limit, where, among, {"drop_ratio_search": 0.0})

    def search_dense(
        self, queries: NDArray[np.float32], limit: int, where: Expression | None, among: Sequence[int] | None = None
    ) -> list[Ranked]:
        """Return the best documents by dense vectors; exact with the index FLAT.

        Zeros, which stand for none, score 0: only where that is found are such documents excluded by name.
        """
        data = list(queries)
        rankings = self._search("dense", data, limit, where, among, {})
        doubtful = [query for query, ranked in enumerate(rankings) if (ranked.scores == 0).any()]
        if doubtful:
            again = self._search("dense", [data[query] for query in doubtful], limit, where, among, {}, WITH_VECTOR)
            for query, ranked in zip(doubtful, again, strict=True):
                rankings[query] = ranked
        return rankings

    def _search(
        self,
        field: str,
        data: list[Any],
        limit: int,
        where: Expression | None,
        among: Sequence[int] | None,
        parameters: dict[str, Any],
        also: str = "",
    ) -> list[Ranked]:
        answers = self._client(
            "search",
            self._name,
            data,
            filter=" and ".join(part for part in (self._expression(where, among), also) if part),
            limit=min(limit, MAX_HITS),
            output_fields=["id", "seq"],
            search_params={"metric_type": "IP", "params": parameters},
            anns_field=field,
            consistency_level=self._client.settings.consistency,
        )
        return [
            Ranked.of((hit["entity"]["id"], int(hit["entity"]["seq"]), float(hit["distance"])) for hit in hits)
            for hits in answers
        ]

    def count(self, where: Expression | None = None) -> int:
        """Return how many documents there are, or pass a filter."""
        return int(self._query(self._expression(where, None), ["count(*)"])[0]["count(*)"])

    def ids(self, where: Expression) -> list[str]:
        """Return the ids of the documents that pass a filter."""
        return [row["id"] for rows in self._pages(self._expression(where, None), ["id"], 1000) for row in rows]

    def document_frequencies(self, terms: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return how many documents hold each term, as far as this client has seen."""
        return self._frequencies.of(terms)

    def rows(self, batch: int) -> Iterator[list[EngineRow]]:
        """Yield all rows, in no order."""
        fields = [*_STORED, "seq", "digest", "sparse", *(["dense"] if self.manifest.dense is not None else [])]
        for page in self._pages("seq >= 0", fields, min(batch, 1000)):
            yield [_row(values) for values in page]

    def _pages(self, expression: str, fields: list[str], batch: int) -> Iterator[list[dict[str, Any]]]:
        iterator = self._client(
            "query_iterator",
            self._name,
            batch_size=batch,
            filter=expression,
            output_fields=fields,
            consistency_level=self._client.settings.consistency,
        )
        ask: Callable[[], list[dict[str, Any]]] = iterator.next
        try:
            while page := self._client.call(ask):
                yield page
        finally:
            iterator.close()

    def refresh(self) -> bool:
        """Count the terms that others have written. What they wrote is found as the consistency level says."""
        if not self._client("has_collection", self._name):
            raise NotACollectionError("the collection is gone", where=self.address, hint=_MAKE)
        if self._identity() != self._known:
            raise NotACollectionError(
                "another collection has taken its place", where=self.address, hint="open the collection again"
            )
        return self._frequencies.load()

    def _identity(self) -> tuple[object, object]:
        """Return what tells the collection from one that is made after it is dropped.

        milvus-lite gives no ids; there only one with other encoders is told from it, and one with the same will do.
        """
        description = self._client("describe_collection", self._name)
        return description.get("collection_id"), description.get("description")

    def size(self) -> Size:
        """Return the bytes of the file of milvus-lite; a server does not tell."""
        settings: dict[str, Any] = {"consistency": self._client.settings.consistency}
        if self.manifest.dense is not None:
            settings["dense index"] = self.layout.dense_index
        if self.layout.tenant_field:
            settings["tenant field"] = self.layout.tenant_field
        path = self._address.path
        return Size(None if path is None else path.stat().st_size, None, settings)

    def health(self) -> Health:
        """Return whether it answers."""
        try:
            self._client("has_collection", self._name)
        except EngineError as error:
            return Health(False, self._client.version, error.message)
        return Health(True, self._client.version)

    def close(self) -> None:
        """Give back the connection."""
        self._client.close()

    def _expression(self, where: Expression | None, among: Sequence[int] | None) -> str:
        parts = [] if where is None else [translate(where)]
        if self.layout.tenant_field:
            tenant = tenant_of(where, self.layout.tenant_field)
            parts += [] if tenant is None else [f'tenant == "{tenant}"']
        if among is not None:
            parts.append(f"seq in [{', '.join(map(str, among))}]")
        return " and ".join(parts)

    def _rows_of(self, ids: Sequence[str], fields: list[str]) -> Iterator[dict[str, Any]]:
        for chunk in _slices(ids):
            yield from self._query(_keys(chunk), fields)

    def _query(self, expression: str, fields: list[str]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._client(
            "query",
            self._name,
            filter=expression,
            output_fields=fields,
            consistency_level=self._client.settings.consistency,
        )
        return rows


def _slices(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _KEYS_AT_ONCE):
        yield ids[start : start + _KEYS_AT_ONCE]


def _keys(ids: Sequence[str]) -> str:
    marks = ", ".join(f'"{schema.key_of(identifier)}"' for identifier in ids)
    return f"key in [{marks}]"


def _chunks(rows: Sequence[EngineRow]) -> Iterator[list[EngineRow]]:
    """Yield rows in requests that are not too large."""
    chunk: list[EngineRow] = []
    size = 0
    for row in rows:
        document = row.document
        row_bytes = 4 * (len(document.text) + len(document.title)) + 16 * len(row.sparse[0])
        row_bytes += 0 if row.dense is None else row.dense.nbytes
        if chunk and (len(chunk) == _ROWS_AT_ONCE or size + row_bytes > _BYTES_AT_ONCE):
            yield chunk
            chunk, size = [], 0
        chunk.append(row)
        size += row_bytes
    if chunk:
        yield chunk


def _document(values: dict[str, Any]) -> Document:
    return Document(values["id"], values["text"], values["title"], values["metadata"] or {})


def _vector(weights: dict[int, float]) -> SparseVector:
    terms = np.array(sorted(weights), np.int32)
    return terms, np.array([weights[term] for term in terms.tolist()], np.float32)


def _row(values: dict[str, Any]) -> EngineRow:
    dense = values.get("dense")
    return EngineRow(
        int(values["seq"]),
        int(values["digest"]),
        _document(values),
        _vector(values["sparse"]),
        None if dense is None else np.asarray(dense, np.float32),
    )
