"""One index of densified sparse vectors and dense ones, beside the two indexes of a hybrid search.

    python bench/run_densified.py --collection my.index --dataset my_folder --split test

The collection has a learned sparse encoder or BM25, and dense vectors. Its sparse vectors are read back from the
inverted index, so they are those of 8 bits that searches use. Both sides are mapped as the fusion `fixed` maps them.
Times are processor time of the searching thread, from encoded queries to ranked rows; set OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from time import thread_time_ns

import numpy as np
from numpy.typing import NDArray

from lexhound.eval.datasets import open_dataset
from lexhound.eval.measures import score_run
from lexhound.eval.runs import Run
from lexhound.index import Query
from lexhound.index.densified import DensifiedIndex, GatedQuery, SparseRows, build_densified
from lexhound.index.inverted.forward import forward_windows
from lexhound.retrieval import Collection, Fusion
from lexhound.retrieval.collection.query.hybrid import rank_dense_many, rank_hybrid_many
from lexhound.retrieval.collection.query.ranked_rows import named
from lexhound.retrieval.collection.query.ranking import rank_many
from lexhound.retrieval.collection.query.snapshot import Snapshot

K = 100
MEASURES = ["nDCG@10", "R@100"]
_LARGEST_IMPACT = 255

Pairs = list[tuple[str, float]]
Way = Callable[[int], Pairs]


def main() -> None:
    arguments = _arguments()
    dataset = open_dataset(str(arguments.dataset), split=arguments.split)[0]
    names = [name for name in dataset.queries if any(value > 0 for value in dataset.qrels[name].values())]
    texts = [dataset.queries[name] for name in names]
    qrels = {name: dict(dataset.qrels[name]) for name in names}
    with Collection.open(arguments.collection) as collection, tempfile.TemporaryDirectory() as folder:
        snapshot = collection.snapshot()
        queries = collection.encode_queries(texts)
        near = collection._encoders.dense.queries(texts)
        ids, rows, vectors = _read(snapshot)
        everything = [part.live for part in snapshot.segments]
        scale = max(part.segment.index.scale for part in snapshot.segments)
        sparse_bytes = sum(part.segment.index.nbytes for part in snapshot.segments)
        print(f"{len(ids):,} documents, {len(rows.terms) / len(ids):.1f} terms each; {len(names)} queries")
        print("| way | nDCG@10 | R@100 | bytes a document | µs a query, p50 |")
        print("|---|---|---|---|---|")

        def told(label: str, way: Way, size: float) -> None:
            rankings, times = {}, []
            for number, name in enumerate(names):
                started = thread_time_ns()
                found = way(number)
                times.append((thread_time_ns() - started) / 1000)
                rankings[name] = [pair for pair in found if pair[0] != name]
            figures = score_run(Run(label, rankings), qrels, MEASURES)
            quality = " | ".join(f"{each.mean:.3f}" for each in figures)
            print(f"| {label} | {quality} | {size / len(ids):,.0f} | {np.median(times):,.0f} |", flush=True)

        told("sparse", lambda i: rank_many(snapshot, queries[i : i + 1], K, everything, 1)[0], sparse_bytes)
        told(
            "dense",
            lambda i: named(snapshot, rank_dense_many(snapshot, near[i : i + 1], K, everything)[0]),
            vectors.nbytes,
        )
        for label, fusion in (
            ("two indexes, default", Fusion()),
            ("two indexes, fixed", Fusion(method="fixed", dense_weight=arguments.dense_weight)),
        ):
            for depth in arguments.depth:
                chosen = replace(fusion, depth=depth)
                told(
                    f"{label}, {depth} candidates a side",
                    lambda i, chosen=chosen: _fused(snapshot, queries[i], near[i], chosen, everything),
                    sparse_bytes + vectors.nbytes,
                )
        nothing = np.empty((len(ids), 0), np.float32)
        for width in arguments.width:
            for dense, weight in ((nothing, 0.0), (vectors, arguments.dense_weight)):
                asked = [
                    _gated(query, vector[: dense.shape[1]], weight, scale)
                    for query, vector in zip(queries, near, strict=True)
                ]
                for clustered in (False, True) if arguments.clustered else (False,):
                    place = Path(folder) / f"{width}-{dense.shape[1]}-{clustered}"
                    index = build_densified(place, rows, dense, width, clustered=clustered)
                    for depth in (*arguments.depth, len(ids)):
                        if depth == len(ids) and clustered:
                            continue
                        label = f"{width} slices{' + dense' if weight else ''}{', clustered' if clustered else ''}"
                        told(
                            f"{label}, {'all' if depth == len(ids) else depth} scored",
                            _way(index, asked, ids, depth),
                            index.nbytes,
                        )


def _fused(
    snapshot: Snapshot, query: Query, vector: NDArray[np.float32], fusion: Fusion, allowed: list[None]
) -> list[tuple[str, float]]:
    """The (id, score) pairs of one query, fused."""
    (rows,) = rank_hybrid_many(snapshot, [query], vector[None], fusion, allowed, 1)
    return named(snapshot, rows.cut(K))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--collection", type=Path, required=True)
    parser.add_argument("--dataset", type=Path, required=True, help="a BEIR folder of the collection's documents")
    parser.add_argument("--split", default="test")
    parser.add_argument("--width", type=int, nargs="*", default=[256, 768], help="slices")
    parser.add_argument("--depth", type=int, nargs="*", default=[100, 1000], help="candidates")
    parser.add_argument("--dense-weight", type=float, default=0.5)
    parser.add_argument("--clustered", action="store_true", help="through the clustered index too")
    return parser.parse_args()


def _read(snapshot: Snapshot) -> tuple[list[str], SparseRows, NDArray[np.float32]]:
    """Ids, sparse and dense vectors of all live documents."""
    ids: list[str] = []
    counts, terms, weights, vectors = [], [], [], []
    for part in snapshot.segments:
        segment = part.segment
        live = np.ones(segment.n_rows, np.bool_) if part.live is None else part.live
        for window in forward_windows(segment.index):
            own = live[window.first : window.first + len(window)]
            lengths = np.diff(window.indptr)
            entries = np.repeat(own, lengths)
            counts.append(lengths[own])
            terms.append(window.terms[entries].astype(np.int32))
            weights.append(window.impacts[entries].astype(np.float32) * np.float32(segment.index.scale))
        kept = np.flatnonzero(live)
        ids += [segment.ids[row] for row in kept.tolist()]
        vectors.append(segment.dense.vectors_of(kept))
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
    return ids, SparseRows(indptr, np.concatenate(terms), np.concatenate(weights)), np.concatenate(vectors)


def _gated(query: Query, vector: NDArray[np.float32], weight: float, scale: float) -> GatedQuery:
    """A query whose products are (1 - weight) x the sparse score, as `fixed` maps it, and weight x the dense one."""
    weights = query.weights.astype(np.float32) * np.float32(query.scale)
    ceiling = float(weights.sum()) * _LARGEST_IMPACT * scale
    share = np.float32((1 - weight) / ceiling) if ceiling else np.float32(0)
    return GatedQuery(query.terms.astype(np.int32), weights * share, vector * np.float32(weight))


def _way(index: DensifiedIndex, asked: Sequence[GatedQuery], ids: Sequence[str], depth: int) -> Way:
    def way(number: int) -> Pairs:
        found = index.search(asked[number], K, depth=depth)
        return [(ids[row], score) for row, score in zip(found.rows.tolist(), found.scores.tolist(), strict=True)]

    return way


if __name__ == "__main__":
    main()
