"""How many documents hold each term, kept beside a collection, because Milvus does not tell.

Query weights of some encoders follow these counts (`encoders.live_idf`). They are a collection of their own,
`<name>__frequencies`, to which every write adds a group of rows with what it changes: sums over all groups are the
counts. When groups are many, one takes the place of those that it names, so that a crash at any moment counts nothing
twice. A writer that dies between a write and its group leaves the counts off by one batch of documents.

One writer at a time is assumed; another's writes are counted when the collection is opened or refreshed.
"""

from __future__ import annotations

import base64
import uuid
import zlib
from collections import defaultdict
from collections.abc import Iterable
from threading import RLock
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from lexhound.retrieval.engines.engine import SparseVector

from .client import Client

SUFFIX = "__frequencies"
_TERMS_A_ROW = 4096  # whose bytes fit a text of Milvus however badly they compress
_MERGE_AT = 32
_MOST_BYTES = 65_535
_MOST_NAMED = 1500  # groups in the list of one row


class Frequencies:
    """The counts of an open collection."""

    def __init__(self, client: Client, collection: str) -> None:
        self._client = client
        self._name = collection + SUFFIX
        self._lock = RLock()
        self._counts: dict[int, int] = {}
        self._groups: set[str] = set()
        self._replaced: set[str] = set()  # still there, and counted no more
        self._changes = 0  # made here

    def create(self) -> None:
        """Make the collection."""
        types = self._client.types
        from pymilvus import MilvusClient

        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("key", types.VARCHAR, max_length=128, is_primary=True)
        schema.add_field("group", types.VARCHAR, max_length=64)
        schema.add_field("replaces", types.VARCHAR, max_length=_MOST_BYTES)
        schema.add_field("counts", types.VARCHAR, max_length=_MOST_BYTES)
        schema.add_field("unused", types.FLOAT_VECTOR, dim=2)  # Milvus wants a vector in every collection
        indexes = MilvusClient.prepare_index_params()
        indexes.add_index("unused", index_type="FLAT", metric_type="IP")
        self._client("create_collection", self._name, schema=schema, index_params=indexes, consistency_level="Strong")

    def drop(self) -> None:
        """Remove the collection."""
        self._client("drop_collection", self._name)

    def load(self) -> bool:
        """Read the counts; returns whether anything has changed."""
        while True:
            with self._lock:
                before = self._changes
            rows = self._rows()
            with self._lock:
                # What was counted here while the rows were read may be missing among them: read again.
                if self._changes == before:
                    return self._take(rows)

    def _take(self, rows: list[dict[str, Any]]) -> bool:
        replaced = {group for row in rows for group in orjson.loads(row["replaces"])}
        known_groups = {row["group"] for row in rows}
        groups = known_groups - replaced
        self._replaced = known_groups & replaced
        if groups == self._groups:
            return False
        counts: dict[int, int] = defaultdict(int)
        for row in rows:
            if row["group"] in groups:
                for term, count in zip(*_unpack(row["counts"]), strict=True):
                    counts[term] += count
        self._counts, self._groups = dict(counts), groups
        return True

    def of(self, terms: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return how many documents hold each term: int64, one a term."""
        with self._lock:
            return np.array([max(0, self._counts.get(term, 0)) for term in terms.tolist()], np.int64)

    def change(self, added: Iterable[SparseVector], removed: Iterable[SparseVector]) -> None:
        """Count vectors that were written, and those that they replaced or that were deleted."""
        change: dict[int, int] = defaultdict(int)
        for sign, vectors in ((1, added), (-1, removed)):
            for terms, _ in vectors:
                for term in terms.tolist():
                    change[term] += sign
        change = {term: count for term, count in change.items() if count}
        if not change:
            return
        with self._lock:
            self._changes += 1
            self._groups.add(self._insert(change, []))
            for term, count in change.items():
                self._counts[term] = self._counts.get(term, 0) + count

    def merge(self, *, at: int = _MERGE_AT) -> bool:
        """Make one group of all, if there are so many, and remove those that no longer count; whether there were."""
        with self._lock:
            many = len(self._groups) >= at
            if many:
                self.load()
                # Those that an interrupted merge left are named again: the group that named them goes too.
                old = sorted(self._groups | self._replaced)[:_MOST_NAMED]
                if len(old) < len(self._groups | self._replaced):
                    return False  # more than one row can name, which takes thousands of writers that never finish a run
                self._changes += 1
                group = self._insert({term: count for term, count in self._counts.items() if count}, old)
                self._client.write("flush", self._name)
                self._groups, self._replaced = {group}, set(old)
            if self._replaced:
                marks = ", ".join(f'"{name}"' for name in sorted(self._replaced))
                self._client.write("delete", self._name, filter=f"group in [{marks}]")
                self._replaced = set()
        return many

    def _insert(self, counts: dict[int, int], replaces: list[str]) -> str:
        group = uuid.uuid4().hex
        terms = sorted(counts)
        rows = []
        for part, start in enumerate(range(0, max(len(terms), 1), _TERMS_A_ROW)):
            chunk = terms[start : start + _TERMS_A_ROW]
            rows.append(
                {
                    "key": f"{group}:{part}",
                    "group": group,
                    "replaces": orjson.dumps(replaces if part == 0 else []).decode(),
                    "counts": _pack(chunk, [counts[term] for term in chunk]),
                    "unused": [0.0, 0.0],
                }
            )
        self._client.write("upsert", self._name, rows)
        return group

    def _rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        iterator = self._client(
            "query_iterator",
            self._name,
            batch_size=256,
            filter='key >= ""',
            output_fields=["group", "replaces", "counts"],
            consistency_level="Strong",
        )
        try:
            while batch := self._client.call(iterator.next):
                rows += batch
        finally:
            iterator.close()
        return rows


def _pack(terms: list[int], counts: list[int]) -> str:
    """Return terms (ascending) and counts as text: differences and counts as int32, deflated, in base64."""
    steps = np.diff(np.array(terms, np.int64), prepend=0).astype("<i4")
    return base64.b64encode(zlib.compress(steps.tobytes() + np.array(counts, "<i4").tobytes())).decode()


def _unpack(text: str) -> tuple[list[int], list[int]]:
    values = np.frombuffer(zlib.decompress(base64.b64decode(text)), "<i4").astype(np.int64)
    half = len(values) // 2
    return np.cumsum(values[:half]).tolist(), values[half:].tolist()
