"""One engine in a process of its own, with its own Python: builds an index of vectors and answers rounds of queries.

Started by run_sparse.py; needs NumPy and the engine. Reads requests as JSON lines on standard input and writes one line
of JSON for each: `build` makes (or finds) the index, others answer queries one by one on one thread and tell the
nanoseconds and the rows of each. Vectors and queries are `.npz` files as `lexhound encode` writes them.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from time import perf_counter, perf_counter_ns
from typing import Any, Protocol

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAYON_NUM_THREADS", "1")

import numpy as np


class Engine(Protocol):
    """What an adapter does. A prepared query is whatever its `search` takes."""

    def build(self, vectors: Any, folder: Path) -> None: ...

    def prepare(self, terms: Any, weights: Any) -> Any: ...

    def search(self, query: Any, k: int, setting: dict[str, Any]) -> Any: ...


class Lexhound:
    """Ours: settings `recall` (through the dial) or `slack`."""

    def __init__(self) -> None:
        from lexhound.index import warm

        warm()  # so that the time of building is not the compiler's

    def build(self, vectors: Any, folder: Path) -> None:
        from lexhound.index import InvertedIndex, build_inverted

        if (folder / "arrays.json").exists():
            self.index = InvertedIndex.open(folder)
        else:
            folder.rmdir()
            self.index = build_inverted(folder, vectors, scale=float(vectors.data.max()) / 255)

    def prepare(self, terms: Any, weights: Any) -> Any:
        from lexhound.index import Query

        return Query.from_weights(terms, weights)

    def search(self, query: Any, k: int, setting: dict[str, Any]) -> Any:
        slack = setting.get("slack", self.index.dial.slack_for(setting.get("recall")))
        return self.index.search(query, k, slack=slack).rows


class Seismic:
    """pyseismic-lsr; settings `query_cut` and `heap_factor`."""

    def build(self, vectors: Any, folder: Path) -> None:
        from seismic import SeismicDataset, SeismicIndex, get_seismic_string

        self.type = get_seismic_string()
        self.names = np.arange(vectors.shape[1]).astype(self.type)
        stored = folder / "index.index.seismic"
        if stored.exists():
            self.index = SeismicIndex.load(str(stored))
            return
        dataset = SeismicDataset()
        for row, (terms, weights) in enumerate(vectors.rows()):
            dataset.add_document(str(row), self.names[terms], weights)
        options = json.loads(os.environ.get("SEISMIC_BUILD", "{}"))
        self.index = SeismicIndex.build_from_dataset(dataset, num_threads=2, **options)
        self.index.save(str(folder / "index"))

    def prepare(self, terms: Any, weights: Any) -> Any:
        return self.names[terms], weights

    def search(self, query: Any, k: int, setting: dict[str, Any]) -> Any:
        cut, factor = setting.get("query_cut", 10), setting.get("heap_factor", 0.8)
        found = self.index.search("0", *query, k=k, query_cut=cut, heap_factor=factor)
        return [int(hit[2]) for hit in found]


class Bmp:
    """bmp (block-max pruning) over 8-bit impacts; settings `alpha` and `beta`."""

    def build(self, vectors: Any, folder: Path) -> None:
        from bmp import Indexer, Searcher

        stored = folder / "index.bmp"
        if not stored.exists():
            indexer = Indexer(str(stored), bsize=int(os.environ.get("BMP_BLOCK", "8")), compress_range=False)
            scale = 255 / float(vectors.data.max())
            for row, (terms, weights) in enumerate(vectors.rows()):
                impacts = np.clip(np.rint(weights * scale), 1, 255).astype(int).tolist()
                indexer.add_document(str(row), dict(zip(map(str, terms.tolist()), impacts, strict=True)))
            indexer.finish()
        self.searcher = Searcher(str(stored))

    def prepare(self, terms: Any, weights: Any) -> Any:
        return dict(zip(map(str, terms.tolist()), weights.tolist(), strict=True))

    def search(self, query: Any, k: int, setting: dict[str, Any]) -> Any:
        ids, _ = self.searcher.search(query, k=k, alpha=setting.get("alpha", 1.0), beta=setting.get("beta", 1.0))
        return [int(each) for each in ids]


class Qdrant:
    """qdrant-edge-py: sparse vectors in float32, exact."""

    def build(self, vectors: Any, folder: Path) -> None:
        import qdrant_edge as qe

        self.qe = qe
        if any(folder.iterdir()):
            self.shard = qe.EdgeShard.load(str(folder))
            return
        config = qe.EdgeConfig(sparse_vectors={"s": qe.EdgeSparseVectorParams()})
        self.shard = qe.EdgeShard.create(str(folder), config)
        points = []
        for row, (terms, weights) in enumerate(vectors.rows()):
            points.append(qe.Point(row, {"s": qe.SparseVector(terms.tolist(), weights.tolist())}, {}))
            if len(points) == 500:
                self.shard.update(qe.UpdateOperation.upsert_points(points))
                points = []
        if points:
            self.shard.update(qe.UpdateOperation.upsert_points(points))
        self.shard.optimize()

    def prepare(self, terms: Any, weights: Any) -> Any:
        return self.qe.Query.Nearest(self.qe.SparseVector(terms.tolist(), weights.tolist()), using="s")

    def search(self, query: Any, k: int, setting: dict[str, Any]) -> Any:
        return [point.id for point in self.shard.query(self.qe.QueryRequest(limit=k, query=query))]


ENGINES: dict[str, type[Engine]] = {"lexhound": Lexhound, "seismic": Seismic, "bmp": Bmp, "qdrant": Qdrant}


class Vectors:
    """A CSR matrix from a file: `shape`, `indptr`, `indices` and `data`, as our builder takes it."""

    def __init__(self, path: str, limit: int | None) -> None:
        with np.load(path) as file:
            indptr = file["indptr"].astype(np.int64)[: None if limit is None else limit + 1]
            self.indptr = indptr
            self.indices = file["indices"].astype(np.int32)[: indptr[-1]]
            self.data = file["data"].astype(np.float32)[: indptr[-1]]
        self.shape = (len(indptr) - 1, int(self.indices.max()) + 1)

    def rows(self) -> Any:
        for start, stop in zip(self.indptr[:-1].tolist(), self.indptr[1:].tolist(), strict=True):
            yield self.indices[start:stop], self.data[start:stop]


def main() -> None:
    """Answer requests until standard input ends."""
    engine = ENGINES[sys.argv[1]]()
    queries: list[Any] = []
    for line in sys.stdin:
        request = json.loads(line)
        if "build" in request:
            vectors = Vectors(request["build"], request["limit"])
            folder = Path(request["folder"])
            folder.mkdir(parents=True, exist_ok=True)
            started = perf_counter()
            engine.build(vectors, folder)
            seconds = perf_counter() - started
            asked = Vectors(request["queries"], request["n_queries"])
            vocabulary = vectors.shape[1]
            queries = [engine.prepare(t[t < vocabulary], w[t < vocabulary]) for t, w in asked.rows()]
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            answer: dict[str, Any] = {"seconds": seconds, "bytes": size, "rows": vectors.shape[0]}
        else:
            times, hits = [], []
            for query in queries[request["first"] : request["last"]]:
                started_ns = perf_counter_ns()
                found = engine.search(query, request["k"], request["setting"])
                times.append(perf_counter_ns() - started_ns)
                hits.append([int(row) for row in found])
            answer = {"ns": times, "hits": hits}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
