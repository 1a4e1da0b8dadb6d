"""How our sparse index grows: time, bytes and building at several sizes, and the first search of a fresh process.

    python bench/run_growth.py --vectors passages.npz --queries free=queries.npz --sizes 50000 100000 --cold

Sizes are the first so many vectors, and where there are not as many, more of them made by `resample_sparse.py`. One
thread, the index exact (and at `--recall`), k = 10, and all sizes asked in turn, query by query.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
from common.machine import describe_machine
from common.timing import Latency, alternate
from common.whole_numbers import read
from resample_sparse import resampled
from scipy.sparse import csr_array

from lexhound.index import InvertedIndex, Query, build_inverted, warm

_FIRST = """
import sys, time
started = time.perf_counter()
import numpy as np
from lexhound.index import InvertedIndex, Query
imported = time.perf_counter()
index = InvertedIndex.open(sys.argv[1])
opened = time.perf_counter()
query = Query.from_weights(np.array(sys.argv[2].split(","), np.int32), np.array(sys.argv[3].split(","), np.float32))
index.search(query, 10)
first = time.perf_counter()
index.search(query, 10)
second = time.perf_counter()
print(imported - started, opened - imported, first - opened, second - first)
"""


def main() -> None:
    """Measure and print tables in Markdown."""
    options = _options()
    work = Path(tempfile.mkdtemp(dir=options.work))
    print(describe_machine())
    try:
        for line in _measured(options, work):
            print(line, flush=True)
    finally:
        shutil.rmtree(work)


def _measured(options: argparse.Namespace, work: Path) -> Iterator[str]:
    vectors = resampled(read(options.vectors, None), max(options.sizes))
    queries = {name: _queries(path, options.n_queries) for name, path in (q.split("=", 1) for q in options.queries)}
    warm()
    InvertedIndex.from_csr(csr_array(np.ones((1, 1), np.float32)), 1.0)  # compiles what builds
    indexes: dict[int, InvertedIndex] = {}
    yield "\n| rows | build, s | processor, s | rows a processor second | bytes a row | of which |"
    yield "|---|---|---|---|---|---|"
    for size in options.sizes:
        weights = vectors.first(size)
        started, used = perf_counter(), process_time()
        index = indexes[size] = build_inverted(work / str(size), weights, scale=1.0)
        wall, used = perf_counter() - started, process_time() - used
        files = {path.name: path.stat().st_size / size for path in sorted((work / str(size)).iterdir())}
        split = ", ".join(f"{name} {each:.2f}" for name, each in files.items())
        yield f"| {size:,} | {wall:.1f} | {used:.1f} | {size / used:,.0f} | {index.nbytes / size:.1f} | {split} |"
    yield "\n| queries | rows | p50 µs | p99 µs | mean µs |\n|---|---|---|---|---|"
    settings = [(name, recall) for name in queries for recall in (None, *options.recall)]
    for name, recall in settings:
        asked = queries[name]
        label = name if recall is None else f"{name}, recall {recall}"
        ways = {str(size): _way(index, asked, recall) for size, index in indexes.items()}
        times = alternate(ways, len(asked), warm_up=range(10), rounds=options.rounds)
        middle = []
        for size in indexes:
            latency = Latency.of(times[str(size)].min(axis=0))
            middle.append(latency.p50)
            yield f"| {label} | {size:,} | {latency.p50:,.0f} | {latency.p99:,.0f} | {latency.mean:,.0f} |"
        if len(middle) > 1:
            slope = np.polyfit(np.log(list(indexes)), np.log(middle), 1)[0]
            yield f"| {label} | slope of log p50 over log rows | {slope:.2f} | | |"
    if options.cold:
        largest = next(reversed(indexes))
        yield from _first_search(work, work / str(largest), next(iter(queries.values()))[0])


def _way(index: InvertedIndex, asked: list[Query], recall: float | None) -> Callable[[int], object]:
    bound_factor = index.recall_calibration.factor_for(recall)
    return lambda i: index.search(asked[i], 10, bound_factor=bound_factor)


def _first_search(work: Path, folder: Path, query: Query) -> Iterator[str]:
    """The first search of a fresh process, with an empty cache of compiled kernels and with a full one."""
    yield "\n| cache of kernels | imports, ms | open, ms | first search, ms | second, ms |\n|---|---|---|---|---|"
    texts = [",".join(map(str, array.tolist())) for array in (query.terms, query.weights)]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(work / "cache")}
    for cache in ("empty", "full", "full"):
        command = [sys.executable, "-c", _FIRST, str(folder), *texts]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        yield f"| {cache} | " + " | ".join(f"{float(each) * 1000:,.2f}" for each in done.stdout.split()) + " |"


def _queries(path: str, count: int) -> list[Query]:
    vectors = read(path, count)
    bounds = zip(vectors.indptr[:-1].tolist(), vectors.indptr[1:].tolist(), strict=True)
    return [Query.from_weights(vectors.indices[a:b], vectors.data[a:b]) for a, b in bounds]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", required=True, help="documents, .npz as `lexhound encode` writes it")
    parser.add_argument("--queries", required=True, action="append", metavar="NAME=FILE", help="queries, likewise")
    parser.add_argument("--sizes", type=int, nargs="+", required=True)
    parser.add_argument("--n-queries", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--recall", type=float, nargs="+", default=[], help="approximate settings too, such as .95")
    parser.add_argument("--cold", action="store_true", help="time the first search of fresh processes too")
    parser.add_argument("--work", help="where indexes are made and dropped again")
    return parser.parse_args()


if __name__ == "__main__":
    main()
