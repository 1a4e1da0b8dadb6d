"""One index of many tenants beside an index of one of them: time of a query, bytes on disk, and what is read.

Made-up passages: tenant sizes by Zipf's law (the n-th of N has a share of 1/n), words by another over 30,000 words (40
a passage, 8 a query) with random weights, dense vectors of unit length around 64 centres. Segments as collections have
them hold the vectors three times: with tenants, without (for bytes), and alone for each of the tenants that are timed.
Queries go to the snapshots as vectors, so encoding is left out, and documents are not read: what both sides do alike
would hide the difference. `shared` is the time of a tenant that was asked for lately, whose part of the snapshot is
kept, and `first` that of another, whose part is made within the search. Each time is the median over queries of the
least of three runs, the sides in turn.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lexhound.index.inverted.builder import build_inverted
from lexhound.index.inverted.quantization import Query
from lexhound.retrieval.collection.query.confined import ConfinedSnapshot, ConfinedSnapshots
from lexhound.retrieval.collection.query.hybrid import rank_dense, rank_hybrid
from lexhound.retrieval.collection.query.ranking import rank
from lexhound.retrieval.collection.query.snapshot import SegmentView, Snapshot
from lexhound.retrieval.collection.request import Fusion
from lexhound.retrieval.collection.store.average_length import AverageLengths
from lexhound.retrieval.collection.store.dense_index import build_dense
from lexhound.retrieval.collection.store.segment import Segment, open_segment, write_segment
from lexhound.retrieval.collection.store.tenant_order import OWN_SEGMENT_FROM
from lexhound.retrieval.filters import ColumnCache

WORDS, LENGTH, ASKED, CENTRES = 30_000, 40, 8, 64


def sizes_of(tenants: int, passages: int) -> NDArray[np.int64]:
    """How many passages each tenant has, the largest first; at least one each."""
    share = 1 / np.arange(1, tenants + 1)
    sizes = np.maximum(1, (share / share.sum() * passages).astype(np.int64))
    sizes[0] += passages - sizes.sum()
    return sizes


def made_up(draw: np.random.Generator, passages: int, width: int) -> tuple[csr_array, NDArray[np.float32]]:
    """Sparse and dense vectors of passages."""
    chances = 1 / np.arange(1, WORDS + 1)
    words = draw.choice(WORDS, (passages, LENGTH), p=chances / chances.sum()).astype(np.int32)
    words.sort(axis=1)
    first = np.ones(words.shape, np.bool_)
    first[:, 1:] = words[:, 1:] != words[:, :-1]
    ends = np.concatenate([[0], np.cumsum(first.sum(axis=1))])
    weights = (draw.random(int(ends[-1])) * 2 + 0.05).astype(np.float32)
    sparse = csr_array((weights, words[first], ends), shape=(passages, WORDS))
    centres = draw.standard_normal((CENTRES, width)).astype(np.float32)
    dense = centres[draw.integers(0, CENTRES, passages)] + draw.standard_normal((passages, width)).astype(np.float32)
    return sparse, dense / np.linalg.norm(dense, axis=1, keepdims=True)


def segment(directory: Path, name: str, keys: list[str], numbers: NDArray[np.int64], vectors: tuple) -> Segment:
    """Write and open a segment of the form that collections have."""
    sparse, dense, kind = vectors
    found = dict(zip(numbers.tolist(), keys, strict=True))
    indexes = {
        "sparse": lambda folder: build_inverted(folder, weights=sparse, scale=1 / 64),
        "dense": lambda folder: build_dense(folder, np.ascontiguousarray(dense), kind),
    }
    write_segment(directory, name, numbers, lambda some: [found[number] for number in some.tolist()], indexes)
    return open_segment(directory, name, "sparse", dense.shape[1])


def snapshot_of(segments: list[Segment]) -> Snapshot:
    """A snapshot of segments, as far as ranking needs one."""
    views = [SegmentView(each, None) for each in segments]
    return Snapshot(None, None, 0, AverageLengths(None, None), views, ColumnCache())  # type: ignore[arg-type]


def least(work, runs: int = 3) -> float:
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passages", type=int, default=1_000_000)
    parser.add_argument("--tenants", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--queries", type=int, default=100)
    options = parser.parse_args()
    draw = np.random.default_rng(0)
    sizes = sizes_of(options.tenants, options.passages)
    sparse, dense = made_up(draw, options.passages, options.width)
    owner = np.repeat(np.arange(options.tenants), sizes)
    prefixes = [f"t{number:05d}/" for number in range(options.tenants)]
    print(json.dumps({"passages": options.passages, "tenants": options.tenants, "largest": int(sizes[0])}))
    with TemporaryDirectory() as folder:
        root = Path(folder)
        large = int((sizes >= OWN_SEGMENT_FROM).sum())
        rest = int(sizes[:large].sum())
        parts = [(number, number + 1) for number in range(large)] + [(large, options.tenants)]
        ends = np.concatenate([[0], np.cumsum(sizes)])
        segments, bytes_shared = [], 0
        for number, (first, last) in enumerate(parts):
            rows = slice(int(ends[first]), int(ends[last]))
            keys = [f"{prefixes[owner[row]]}{row}" for row in range(rows.start, rows.stop)]
            kind = "auto" if last - first == 1 else "flat"
            numbers = np.arange(rows.start, rows.stop, dtype=np.int64)
            segments.append(segment(root, f"s{number}", keys, numbers, (sparse[rows], dense[rows], kind)))
            bytes_shared += segments[-1].nbytes
        shared = snapshot_of(segments)
        keys = [str(row) for row in range(options.passages)]
        numbers = draw.permutation(options.passages)
        order = np.argsort(numbers)
        plain = segment(root, "open", keys, np.arange(options.passages), (sparse[order], dense[order], "flat"))
        print(
            json.dumps(
                {
                    "own segments": large,
                    "rows in them": rest,
                    "bytes with tenants": bytes_shared,
                    "bytes without": plain.nbytes,
                    "ratio": round(bytes_shared / plain.nbytes, 4),
                }
            )
        )
        timed = [0, 1, 3, 9, 29, 99, 299, 999, 2999, options.tenants - 1]
        for tenant in [each for each in timed if each < options.tenants]:
            rows = slice(int(ends[tenant]), int(ends[tenant + 1]))
            numbers = np.arange(rows.start, rows.stop, dtype=np.int64)
            keys = [str(row) for row in range(rows.start, rows.stop)]
            alone = snapshot_of([segment(root, f"alone{tenant}", keys, numbers, (sparse[rows], dense[rows], "auto"))])
            report(shared, alone, prefixes[tenant], int(sizes[tenant]), draw, options)
    print(json.dumps({"cpu seconds": round(resource.getrusage(resource.RUSAGE_SELF).ru_utime, 1)}))


def answer(mode: str, make: Callable[[], Snapshot], query: Query, vector: NDArray[np.float32]) -> None:
    """Rank the best ten."""
    snapshot = make()
    allowed = [view.live for view in snapshot.segments]
    if mode == "sparse":
        rank(snapshot, query, 10, allowed)
    elif mode == "dense":
        rank_dense(snapshot, vector, 10, allowed)
    else:
        rank_hybrid(snapshot, query, vector, Fusion(), allowed)


def report(shared, alone, prefix: str, rows: int, draw, options) -> None:
    """Time one tenant's queries, the part of the snapshot found anew for each, beside those of a collection alone."""
    chances = 1 / np.arange(1, WORDS + 1)
    found: dict[str, list[tuple[float, float, float]]] = {"sparse": [], "dense": [], "hybrid": []}
    kept = ConfinedSnapshots()
    for _ in range(options.queries):
        terms = np.unique(draw.choice(WORDS, ASKED, p=chances / chances.sum())).astype(np.int32)
        query = Query.from_weights(terms, np.ones(len(terms), np.float32))
        vector = draw.standard_normal(options.width).astype(np.float32)
        vector /= np.linalg.norm(vector)

        for mode in found:
            first = partial(answer, mode, lambda: ConfinedSnapshot(shared, prefix), query, vector)
            mine = partial(answer, mode, lambda: kept.of(shared, prefix), query, vector)
            theirs = partial(answer, mode, lambda: alone, query, vector)
            found[mode].append((least(mine), least(first), least(theirs)))
    line = {"rows": rows}
    for mode, times in found.items():
        mine, first, theirs = np.median(np.array(times), axis=0).tolist()
        line[mode] = {"shared": round(mine), "first": round(first), "alone": round(theirs)}
        line[mode] |= {"ratio": round(mine / theirs, 2), "ratio of the first": round(first / theirs, 2)}
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
