"""The dense benchmark: the clustered index beside faiss IVF-Flat, faiss HNSW, hnswlib and DiskANN, on one thread.

    python bench/run_dense.py --vectors passages.npy --queries questions.npy --count 200000 --out dense.json

See README.md beside this file for what is measured and how.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, perf_counter_ns, process_time, thread_time_ns
from typing import Any

import numpy as np
import orjson
from common.machine import describe_machine
from common.timing import no_collection
from numpy.typing import NDArray
from resample import resampled

from lexhound.index.spann import ClusteredIndex, SpannOptions, build_clustered

K = 10
RECALLS = (0.9, 0.95, 0.99)
EFFORTS = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384)
PROBES = (2, 4, 8, 12, 16, 24, 32, 48, 64, 96)


def main() -> None:
    arguments = _arguments()
    if arguments.memory is not None:
        print(json.dumps(_memory(arguments.memory, arguments.at, np.load(arguments.queries))))
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    if arguments.keep is not None:
        arguments.keep.mkdir(parents=True, exist_ok=True)
        results = _measure(arguments, arguments.keep)
    else:
        with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
            results = _measure(arguments, Path(folder))
    if arguments.build:
        return
    if arguments.out is not None:
        arguments.out.write_bytes(orjson.dumps(results, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY))
    print(_report(results))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vectors", type=Path, help="unit vectors, .npy, float32 [n, d]")
    parser.add_argument("--queries", type=Path, required=True, help="unit queries, .npy, float32 [m, d]")
    parser.add_argument("--count", type=int, default=200_000, help="vectors to index; resampled where there are fewer")
    parser.add_argument("--asked", type=int, default=300, help="queries that are measured (default: 300)")
    parser.add_argument("--only", nargs="*", default=[], help="systems by name (default: all)")
    parser.add_argument("--work", type=Path, help="where indexes are made and dropped again")
    parser.add_argument("--keep", type=Path, help="keep indexes there, and use those that are there already")
    parser.add_argument("--build", action="store_true", help="with --keep: build only, for a measurement afterwards")
    parser.add_argument("--out", type=Path, help="write all figures there as JSON")
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    parser.add_argument("--at", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.build and arguments.keep is None:
        parser.error("--build: where to? name a folder with --keep")
    if arguments.memory is None and arguments.vectors is None:
        parser.error("--vectors: which vectors?")
    return arguments


@dataclass(frozen=True, slots=True)
class Row:
    """A system at one setting: recall, and microseconds a query."""

    system: str
    setting: str
    recall: float
    p50: float
    p99: float
    processor_p50: float
    processor_mean: float


Search = Callable[[NDArray[np.float32]], NDArray[np.int64]]


def _measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    import faiss

    faiss.omp_set_num_threads(1)
    base = np.load(arguments.vectors)
    queries = np.load(arguments.queries)
    vectors = resampled(base, arguments.count)
    asked = queries[: arguments.asked]
    rest = queries[arguments.asked :]
    truth = np.array([np.argsort(-(vectors @ query), kind="stable")[:K] for query in asked])
    results: dict[str, Any] = {
        "machine": describe_machine(),
        "vectors": {"count": len(vectors), "real": min(len(base), len(vectors)), "dimensions": vectors.shape[1]},
        "systems": {},
        "missing": {},
    }
    ways: dict[tuple[str, str], Search] = {}
    for name, build in _BUILDS.items():
        if arguments.only and name not in arguments.only:
            continue
        built = folder / f"{name}.json"
        if not built.exists():
            wall, processor = perf_counter(), process_time()
            try:
                build(vectors, rest, folder / name)
            except ImportError as error:
                results["missing"][name] = str(error)
                print(name, error, file=sys.stderr, flush=True)
                continue
            times = {"build_seconds": perf_counter() - wall, "build_processor_seconds": process_time() - processor}
            built.write_text(json.dumps(times))
        if arguments.build:
            print(name, built.read_text(), file=sys.stderr, flush=True)
            continue
        results["systems"][name] = {
            **json.loads(built.read_text()),
            "disk_bytes": _size(folder / name),
        } | _in_a_process(name, folder / name, arguments.queries)
        ways |= {(name, setting): way for setting, way in _OPENS[name](folder / name).items()}
        print(name, results["systems"][name], file=sys.stderr, flush=True)
    if arguments.build:
        return results
    results["load"] = {"start": results["machine"]["load"], "before queries": os.getloadavg()[0]}
    results["rows"] = [asdict(row) for row in _alternate(ways, asked, truth)]
    ways.clear()  # pages that another opening of the index has mapped are not dropped
    results["cold"] = _cold(folder / "lexhound", asked) if "lexhound" in results["systems"] else {}
    results["load"]["end"] = os.getloadavg()[0]
    return results


def _alternate(
    ways: dict[tuple[str, str], Search], queries: NDArray[np.float32], truth: NDArray[np.int64]
) -> list[Row]:
    """Every way answers a query, each another one, in turn; two rounds, of which the faster time counts."""
    wall = np.full((2, len(ways), len(queries)), np.inf)
    processor = wall.copy()
    hits = np.zeros(len(ways))
    stride = max(1, len(queries) // len(ways))
    for way in ways.values():
        for query in queries[:20]:
            way(query)
    with no_collection():
        for turn in range(2):
            for number in range(len(queries)):
                for place, way in enumerate(ways.values()):
                    which = (number + place * stride) % len(queries)
                    started, used = perf_counter_ns(), thread_time_ns()
                    found = way(queries[which])
                    processor[turn, place, which] = thread_time_ns() - used
                    wall[turn, place, which] = perf_counter_ns() - started
                    if turn == 0:
                        hits[place] += len(np.intersect1d(found, truth[which]))
    wall, processor = wall.min(axis=0) / 1000, processor.min(axis=0) / 1000
    return [
        Row(
            system,
            setting,
            float(hits[place] / truth.size),
            float(np.median(wall[place])),
            float(np.percentile(wall[place], 99)),
            float(np.median(processor[place])),
            float(processor[place].mean()),
        )
        for place, (system, setting) in enumerate(ways)
    ]


def _cold(path: Path, queries: NDArray[np.float32]) -> dict[str, float]:
    """Each query after the system was told to drop the data files from its page cache: microseconds."""
    times = []
    for query in queries[:60]:
        for name in ("postings.bin", "vectors.bin"):
            with (path / name).open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        index = ClusteredIndex.open(path)  # anew, as pages that are mapped are not dropped
        started = perf_counter_ns()
        index.search(query, K)
        times.append((perf_counter_ns() - started) / 1000)
        del index
    return {"p50": float(np.median(times)), "p99": float(np.percentile(times, 99))}


# Each system: how it is built into a folder, and how it answers from there at its settings.


def _build_ours(vectors: NDArray[np.float32], others: NDArray[np.float32], path: Path) -> None:
    build_clustered(path, vectors, SpannOptions(calibration_queries=150), queries=others[:300])


def _open_ours(path: Path) -> dict[str, Search]:
    index = ClusteredIndex.open(path)

    def way(recall: float) -> Search:
        return lambda query: index.search(query, K, recall=recall).rows

    return {f"recall={recall}": way(recall) for recall in RECALLS}


def _build_faiss(kind: str) -> Callable[[NDArray[np.float32], NDArray[np.float32], Path], None]:
    def build(vectors: NDArray[np.float32], _: NDArray[np.float32], path: Path) -> None:
        import faiss

        path.mkdir()
        d = vectors.shape[1]
        if kind == "ivf":
            lists = int(4 * np.sqrt(len(vectors)))
            index = faiss.IndexIVFFlat(faiss.IndexFlatIP(d), d, lists, faiss.METRIC_INNER_PRODUCT)
            index.train(vectors)
        else:
            index = faiss.IndexHNSWFlat(d, 16, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = 100
        index.add(vectors)
        faiss.write_index(index, str(path / "index"))

    return build


def _open_faiss(kind: str) -> Callable[[Path], dict[str, Search]]:
    def opened(path: Path) -> dict[str, Search]:
        import faiss

        index = faiss.read_index(str(path / "index"))

        def way(knob: int) -> Search:
            parameters = (
                faiss.SearchParametersIVF(nprobe=knob) if kind == "ivf" else faiss.SearchParametersHNSW(efSearch=knob)
            )
            return lambda query: index.search(query[None], K, params=parameters)[1][0]

        name, knobs = ("nprobe", PROBES) if kind == "ivf" else ("ef", EFFORTS)
        return {f"{name}={knob}": way(knob) for knob in knobs}

    return opened


def _build_hnswlib(vectors: NDArray[np.float32], _: NDArray[np.float32], path: Path) -> None:
    import hnswlib

    path.mkdir()
    index = hnswlib.Index("ip", vectors.shape[1])
    index.init_index(len(vectors), M=16, ef_construction=100, random_seed=1)
    index.add_items(vectors, num_threads=1)
    index.save_index(str(path / "index"))
    (path / "dimensions").write_text(str(vectors.shape[1]))


def _open_hnswlib(path: Path) -> dict[str, Search]:
    import hnswlib

    index = hnswlib.Index("ip", int((path / "dimensions").read_text()))
    index.load_index(str(path / "index"))

    def way(knob: int) -> Search:
        def search(query: NDArray[np.float32]) -> NDArray[np.int64]:
            index.set_ef(knob)
            labels: NDArray[np.int64] = index.knn_query(query, K, num_threads=1)[0][0].astype(np.int64)
            return labels

        return search

    return {f"ef={knob}": way(knob) for knob in EFFORTS}


def _build_diskann(vectors: NDArray[np.float32], _: NDArray[np.float32], path: Path) -> None:
    import diskannpy

    path.mkdir()
    # Of unit vectors the nearest have the greatest inner products.
    diskannpy.build_memory_index(
        data=vectors, distance_metric="l2", index_directory=str(path), complexity=100, graph_degree=32, num_threads=1
    )


def _open_diskann(path: Path) -> dict[str, Search]:
    import diskannpy

    index = diskannpy.StaticMemoryIndex(index_directory=str(path), num_threads=1, initial_search_complexity=512)

    def way(knob: int) -> Search:
        def search(query: NDArray[np.float32]) -> NDArray[np.int64]:
            found = index.search(query, K, knob).identifiers
            if found.strides == (0,):  # what its binding says under NumPy 2
                found = np.lib.stride_tricks.as_strided(found, strides=(found.itemsize,))
            return found.astype(np.int64)

        return search

    return {f"complexity={knob}": way(knob) for knob in EFFORTS}


_BUILDS = {
    "lexhound": _build_ours,
    "faiss-ivf": _build_faiss("ivf"),
    "faiss-hnsw": _build_faiss("hnsw"),
    "hnswlib": _build_hnswlib,
    "diskann": _build_diskann,
}
_OPENS = {
    "lexhound": _open_ours,
    "faiss-ivf": _open_faiss("ivf"),
    "faiss-hnsw": _open_faiss("hnsw"),
    "hnswlib": _open_hnswlib,
    "diskann": _open_diskann,
}


def _size(path: Path) -> int:
    """Bytes on disk: holes do not count."""
    return sum(file.stat().st_blocks * 512 for file in path.rglob("*") if file.is_file())


def _in_a_process(name: str, path: Path, queries: Path) -> dict[str, int]:
    """What a process of its own holds more of after it opened the index and answered a hundred queries."""
    command = [sys.executable, __file__, "--memory", name, "--at", str(path), "--queries", str(queries)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])  # DiskANN talks before it
    return found


def _memory(name: str, path: Path, queries: NDArray[np.float32]) -> dict[str, int]:
    import faiss  # noqa: F401 - before the first look, for all alike

    if name in ("hnswlib", "diskann"):
        __import__({"diskann": "diskannpy"}.get(name, name))
    if name == "lexhound":  # kernels, on a small index
        with tempfile.TemporaryDirectory() as folder:
            draw = np.random.default_rng(0).standard_normal((3000, queries.shape[1]), np.float32)
            build_clustered(Path(folder) / "small", draw, SpannOptions(calibration_queries=4)).search(queries[0], K)
    before = _resident()
    ways = _OPENS[name](path)
    setting = {"lexhound": "recall=0.95", "faiss-ivf": "nprobe=16", "diskann": "complexity=64"}.get(name, "ef=64")
    for query in queries[:100]:
        ways[setting](query)
    after = _resident()
    found = {
        "resident_bytes": after["VmRSS"] - before["VmRSS"],
        "anonymous_bytes": after["RssAnon"] - before["RssAnon"],
        "mapped_bytes": after["RssFile"] - before["RssFile"],
        "process_bytes": after["VmRSS"],
    }
    if name == "lexhound":  # a small index takes pages that the process held already
        found["tables_bytes"] = ClusteredIndex.open(path).resident_bytes
    return found


def _resident() -> dict[str, int]:
    """Bytes that the process holds: all (VmRSS), its own (RssAnon), and pages of files that it has mapped (RssFile)."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "RssAnon", "RssFile")}


def _report(results: dict[str, Any]) -> str:
    vectors = results["vectors"]
    lines = [
        f"{vectors['count']:,} vectors of {vectors['dimensions']} dimensions, {vectors['real']:,} of them real. "
        f"Load {results['load']}.",
        "",
        "| system | own memory MiB | mapped MiB, which can be taken back | disk MiB | build s | build processor s |",
        "|---|---|---|---|---|---|",
    ]
    for name, system in results["systems"].items():
        own = max(system["anonymous_bytes"], system.get("tables_bytes", 0)) / 2**20
        mapped = system["mapped_bytes"] / 2**20
        lines.append(
            f"| {name} | {own:.1f} | {mapped:.1f} | {system['disk_bytes'] / 2**20:.0f} | {system['build_seconds']:.0f} "
            f"| {system['build_processor_seconds']:.0f} |"
        )
    lines += ["", "| system | setting | recall@10 | p50 µs | p99 µs | processor p50 µs |", "|---|---|---|---|---|---|"]
    for row in results["rows"]:
        lines.append(
            f"| {row['system']} | {row['setting']} | {row['recall']:.3f} | {row['p50']:.0f} | {row['p99']:.0f} "
            f"| {row['processor_p50']:.0f} |"
        )
    lines += ["", *(f"Missing: {name} ({why})." for name, why in results["missing"].items())]
    if results["cold"]:
        lines += [
            "",
            f"Cold page cache, recall=0.95: p50 {results['cold']['p50']:.0f} µs, p99 {results['cold']['p99']:.0f} µs.",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
