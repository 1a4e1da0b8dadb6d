"""Qdrant Edge (`pip install qdrant-edge-py`): sparse vectors in float32, exact."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import qdrant_edge as qe

from . import Engine, Vectors

_BATCH = 500


class Qdrant:
    """A shard in the process."""

    version = f"qdrant-edge-py {version('qdrant-edge-py')}"

    def build(self, vectors: Vectors, folder: Path, options: dict[str, Any]) -> None:
        config = qe.EdgeConfig(sparse_vectors={"s": qe.EdgeSparseVectorParams()})
        self.shard = qe.EdgeShard.create(str(folder), config)
        points = []
        for row, (terms, weights) in enumerate(vectors.rows()):
            points.append(qe.Point(row, {"s": qe.SparseVector(terms.tolist(), weights.tolist())}, {}))
            if len(points) == _BATCH:
                self.shard.update(qe.UpdateOperation.upsert_points(points))
                points = []
        if points:
            self.shard.update(qe.UpdateOperation.upsert_points(points))
        self.shard.optimize()

    def open(self, folder: Path) -> None:
        if not hasattr(self, "shard"):
            self.shard = qe.EdgeShard.load(str(folder))

    def prepare(self, terms: Any, weights: Any) -> Any:
        return qe.Query.Nearest(qe.SparseVector(terms.tolist(), weights.tolist()), using="s")

    def search(self, query: Any, k: int, setting: dict[str, Any]) -> Any:
        return self.shard.query(qe.QueryRequest(limit=k, query=query))

    def rows(self, found: Any) -> list[int]:
        return [point.id for point in found]


def make() -> Engine:
    """The adapter."""
    return Qdrant()
