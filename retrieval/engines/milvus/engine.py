"""Milvus as an engine: one collection with a sparse and a dense field, searched exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lexhound.retrieval.collection.health import Health
from lexhound.retrieval.collection.store.manifest import Manifest
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.engines.address import Address
from lexhound.retrieval.engines.engine import (
    EVERYTHING,
    Ability,
    EngineDocument,
    Head,
    Ranked,
    Scope,
    Size,
    SparseVector,
    SplitsText,
    StoredDocument,
)
from lexhound.retrieval.engines.grouping import within
from lexhound.retrieval.engines.refusals import REFUSED
from lexhound.retrieval.errors import EngineError, NotACollectionError
from lexhound.retrieval.filters import Expression
from lexhound.retrieval.tenants.keys import tenant_of_key

from . import schema
from .client import Client
from .filters import FIELD, IS_CUT, WITH_VECTOR, tenant_key, tenant_of, translate
from .frequencies import Frequencies
from .rows import check, engine_document, rows_of, stored_document, vector_of

T = TypeVar("T")

MAX_HITS = 16_384
MAKE = "make one with: lexhound index CORPUS --into ADDRESS --encoder default"
# Rows read or deleted in one request, whose expression names all their keys or documents.
_KEYS_AT_ONCE = 1000
# Rows sent in one request; Milvus takes 64 MiB at a time.
_ROWS_AT_ONCE, _BYTES_AT_ONCE = 512, 16 * 2**20

# How often a document is read of which rows are missing, as it is being replaced.
_READS = 3

_STORED = ["id", "title", "text", "metadata"]
_OF_PASSAGES = ["passage", "passages", "start", "end"]


class MilvusEngine:
    """An open collection in Milvus; see `engine.Engine`."""

    abilities = frozenset({Ability.DENSE, Ability.FILTER, Ability.EXPLAIN, Ability.REPLACE, Ability.FREQUENCIES})
    max_hits = max_rows = MAX_HITS

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

    def check(self, documents: Sequence[Document], split: SplitsText) -> None:
        """Refuse documents that do not fit."""
        check(documents, self.layout.tenant_field, split)

    def upsert(self, documents: Sequence[EngineDocument]) -> None:
        """Write documents, the head of each when all its other rows are there; the counts of terms follow."""
        for chunk in _chunks(documents):
            names = [each.document.id for each in chunk]
            before = self.vectors(names)
            rows = [rows_of(each, self.layout) for each in chunk]
            for further in _slices([row for own in rows for row in own[1:]], _ROWS_AT_ONCE):
                self._client.write("upsert", self._name, further)
            self._client.write("upsert", self._name, [own[0] for own in rows])
            if self.layout.passages:
                self._delete_others(names, [each.internal_id for each in chunk])
            self._frequencies.change(
                [vector for each in chunk for vector in each.sparse],
                [vector for vectors in before.values() for vector in vectors],
            )

    def delete(self, ids: Sequence[str]) -> None:
        """Delete documents, their heads first; the counts of terms follow."""
        for chunk in _slices(ids, _KEYS_AT_ONCE):
            before = self.vectors(chunk)
            self._client.write("delete", self._name, filter=self._keys("key", chunk))
            if self.layout.passages:
                self._delete_others(chunk, [])
            self._frequencies.change([], [vector for vectors in before.values() for vector in vectors])

    def _delete_others(self, ids: Sequence[str], internal_ids: Sequence[int]) -> None:
        """Delete the rows of documents that are of other versions than these; also what a crash left of them."""
        others = f" and doc not in {list(internal_ids)}" if internal_ids else ""
        self._client.write("delete", self._name, filter=self._keys("owner", ids) + others)

    def finish(self) -> None:
        """Flush what was written, and make one of the counts."""
        self._client.write("flush", self._name)
        self._frequencies.merge(at=2)

    def maintain(self) -> bool:
        """Make one of the counts where they are many."""
        return self._frequencies.merge()

    def heads(self, ids: Sequence[str]) -> dict[str, Head]:
        """Return the heads of those documents that are there."""
        layout = self.layout
        fields = ["id", "digest", layout.document, *(["passages"] if layout.passages else [])]
        return {
            row["id"]: Head(int(row["digest"]), int(row[layout.document]), int(row.get("passages", 1)))
            for row in self._head_rows(ids, fields)
        }

    def documents(self, ids: Sequence[str]) -> dict[str, StoredDocument]:
        """Return those documents that are there.

        Raises:
            EngineError: rows of one are missing.
        """
        missing = ""
        for _ in range(_READS):
            found, missing = self._read_documents(ids)
            if not missing:
                return found
            # It was replaced while it was read.
        raise EngineError(
            f"rows of the document {missing!a} are missing", where=self.address, hint="put the document in again"
        )

    def _read_documents(self, ids: Sequence[str]) -> tuple[dict[str, StoredDocument], str]:
        """Return documents, and the id of one of which rows are missing."""
        layout = self.layout
        fields = [*_STORED, layout.document, *(_OF_PASSAGES if layout.passages else [])]
        heads = {row["id"]: row for row in self._head_rows(ids, fields)}
        split = {int(row["doc"]): int(row["passages"]) for row in heads.values() if row.get("passages", 1) > 1}
        further: dict[int, list[dict[str, Any]]] = {number: [] for number in split}
        for row in self._rows(split, ["doc", "passage", "text", "start", "end"], self._tenants(ids)):
            further[int(row["doc"])].append(row)
        found: dict[str, StoredDocument] = {}
        for name, head in heads.items():
            number = int(head[layout.document])
            rows = further.get(number, [])
            if len(rows) != split.get(number, 0):
                return found, name
            found[name] = stored_document(head, rows, layout)
        return found, ""

    def vectors(self, ids: Sequence[str]) -> dict[str, list[SparseVector]]:
        """Return the stored weights of the rows of documents."""
        heads = self.heads(ids)  # milvus-lite fails where vectors are asked for and there are none
        names = {head.internal_id: name for name, head in heads.items()}
        counts = {head.internal_id: head.rows for head in heads.values()}
        rows = self._rows(counts, [self.layout.document, "seq", "sparse"], self._tenants(ids))
        vectors: dict[str, list[SparseVector]] = {name: [] for name in heads}
        for row in sorted(rows, key=lambda row: int(row["seq"])):
            vectors[names[int(row[self.layout.document])]].append(vector_of(row["sparse"]))
        return vectors

    def search_sparse(self, queries: Sequence[SparseVector], limit: int, scope: Scope = EVERYTHING) -> list[Ranked]:
        """Return the best rows by the inverted index; exact."""
        data = [dict(zip(terms.tolist(), weights.tolist(), strict=True)) for terms, weights in queries]
        return self._search("sparse", data, limit, self._expression(scope), {"drop_ratio_search": 0.0})

    def search_dense(self, queries: NDArray[np.float32], limit: int, scope: Scope = EVERYTHING) -> list[Ranked]:
        """Return the best rows by dense vectors; exact with the index FLAT.

        Zeros, which stand for none, score 0: only where that is found are such rows excluded by name.
        """
        data, expression = list(queries), self._expression(scope)
        rankings = self._search("dense", data, limit, expression, {})
        doubtful = [query for query, ranked in enumerate(rankings) if (ranked.scores == 0).any()]
        if doubtful:
            expression = _all_of(expression, WITH_VECTOR)
            again = self._search("dense", [data[query] for query in doubtful], limit, expression, {})
            for query, ranked in zip(doubtful, again, strict=True):
                rankings[query] = ranked
        return rankings

    def _search(
        self, field: str, data: list[Any], limit: int, expression: str, parameters: dict[str, Any]
    ) -> list[Ranked]:
        document, split = self.layout.document, self.layout.passages
        answers = self._client(
            "search",
            self._name,
            data,
            filter=expression,
            limit=min(limit, MAX_HITS),
            output_fields=["id", "seq", *(["doc", "passages"] if split else [])],
            search_params={"metric_type": "IP", "params": parameters},
            anns_field=field,
            consistency_level=self._client.settings.consistency,
        )
        return [
            Ranked.of(
                (
                    row["id"],
                    int(row["seq"]),
                    float(hit["distance"]),
                    int(row[document]),
                    int(row["passages"]) if split else 1,
                )
                for hit, row in ((hit, hit["entity"]) for hit in hits)
            )
            for hits in answers
        ]

    def count(self, where: Expression | None = None) -> int:
        """Return how many documents there are, or pass a filter."""
        return self._count(_all_of(self._expression(Scope(where)), self.layout.heads))

    def count_rows(self, where: Expression | None = None) -> int:
        """Return how many rows there are, or pass a filter."""
        return self._count(self._expression(Scope(where)))

    def count_split(self, where: Expression | None = None) -> tuple[int, int]:
        """Return how many documents are split, and of how many an encoder left out a part."""
        heads = _all_of(self._expression(Scope(where)), self.layout.heads)
        split = self._count(_all_of(heads, "passages > 1")) if self.layout.passages else 0
        return split, self._count(_all_of(heads, IS_CUT))

    def _count(self, expression: str) -> int:
        return int(self._query(expression, ["count(*)"])[0]["count(*)"])

    def ids(self, where: Expression) -> list[str]:
        """Return the ids of the documents that pass a filter."""
        expression = _all_of(self._expression(Scope(where)), self.layout.heads)
        return [row["id"] for rows in self._pages(expression, ["id"], 1000) for row in rows]

    def document_frequencies(self, terms: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return how many rows hold each term, as far as this client has seen."""
        return self._frequencies.of(terms)

    def stored(self, batch: int) -> Iterator[list[EngineDocument]]:
        """Yield all documents in order of insertion; which they are is read first."""
        layout = self.layout
        fields = ["seq", *(["passages"] if layout.passages else [])]
        pages = self._pages(layout.heads or "seq >= 0", fields, 1000)
        heads = sorted((int(row["seq"]), int(row.get("passages", 1))) for page in pages for row in page)
        fields = [*_STORED, FIELD, "seq", "digest", "sparse", *(["dense"] if self.manifest.dense is not None else [])]
        fields += ["doc", *_OF_PASSAGES] if layout.passages else []
        for chunk in _slices(heads, batch):
            rows: dict[int, list[dict[str, Any]]] = {number: [] for number, _ in chunk}
            for row in self._rows(dict(chunk), fields):
                rows[int(row[layout.document])].append(row)
            yield [engine_document(own, layout) for own in rows.values() if own]

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
            raise NotACollectionError("the collection is gone", where=self.address, hint=MAKE)
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

    def _expression(self, scope: Scope) -> str:
        parts = [] if scope.where is None else [translate(scope.where)]
        if self.layout.tenant_field:
            tenant = tenant_of(scope.where, self.layout.tenant_field)
            parts += [] if tenant is None else [f'tenant == "{tenant}"']
        parts += [] if scope.documents is None else [f"{self.layout.document} in {list(scope.documents)}"]
        parts += [] if scope.rows is None else [f"seq in {list(scope.rows)}"]
        parts += [f"{self.layout.document} not in {list(scope.without)}"] if scope.without else []
        return " and ".join(parts)

    def _keys(self, field: str, ids: Sequence[str]) -> str:
        """Return the expression that holds of rows with one of some ids, in the partitions of their tenants."""
        marks = ", ".join(f'"{schema.key_of(identifier)}"' for identifier in ids)
        return _all_of(self._tenants(ids), f"{field} in [{marks}]")

    def _tenants(self, ids: Sequence[str]) -> str:
        """Return the expression that holds in the partitions of some documents' tenants; empty where there are none."""
        tenant_field = self.manifest.tenant_field
        if not self.layout.tenant_field or tenant_field is None:
            return ""
        tenants = {tenant_key({tenant_field: tenant_of_key(identifier)}, tenant_field) for identifier in ids}
        return "tenant in [{}]".format(", ".join(f'"{key}"' for key in sorted(tenants)))

    def _head_rows(self, ids: Sequence[str], fields: list[str]) -> Iterator[dict[str, Any]]:
        for chunk in _slices(ids, _KEYS_AT_ONCE):
            yield from self._query(self._keys("key", chunk), fields)

    def _rows(self, documents: Mapping[int, int], fields: list[str], tenants: str = "") -> Iterator[dict[str, Any]]:
        """Yield all rows of documents, given by internal id and number of rows, in any order; of some `_tenants`."""
        field = self.layout.document
        for chunk, _ in within(list(documents), list(documents.values()), _KEYS_AT_ONCE):
            count = documents[chunk[0]]
            if count <= _KEYS_AT_ONCE:
                yield from self._query(_all_of(tenants, f"{field} in {chunk}"), fields)
                continue
            for start in range(0, count, _KEYS_AT_ONCE):  # one document
                part = f"passage >= {start} and passage < {start + _KEYS_AT_ONCE}"
                yield from self._query(_all_of(tenants, f"{field} == {chunk[0]}", part), fields)

    def _query(self, expression: str, fields: list[str]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._client(
            "query",
            self._name,
            filter=expression,
            output_fields=fields,
            consistency_level=self._client.settings.consistency,
        )
        return rows


def _slices(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _all_of(*expressions: str) -> str:
    """Return the expression that holds where all of some hold; empty ones hold of everything."""
    return " and ".join(each for each in expressions if each)


def _chunks(documents: Sequence[EngineDocument]) -> Iterator[list[EngineDocument]]:
    """Yield documents whose rows make requests that are not too large."""
    chunk: list[EngineDocument] = []
    rows = size = 0
    for each in documents:
        document = each.document
        row_bytes = 4 * (len(document.text) + len(document.title)) + 16 * sum(len(terms) for terms, _ in each.sparse)
        row_bytes += 0 if each.dense is None else each.dense.nbytes
        if chunk and (rows + len(each.sparse) > _ROWS_AT_ONCE or size + row_bytes > _BYTES_AT_ONCE):
            yield chunk
            chunk, rows, size = [], 0, 0
        chunk.append(each)
        rows += len(each.sparse)
        size += row_bytes
    if chunk:
        yield chunk
