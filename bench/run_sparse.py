"""Learned sparse search beside its peers: the same vectors, the same queries, one thread, in short rounds in turn.

    python bench/run_sparse.py --vectors passages.npz --queries queries.npz \\
        --peer seismic=/envs/seismic/bin/python --peer bmp=/envs/bmp/bin/python --peer qdrant=/envs/qdrant/bin/python

Every engine is a process with the Python that is given for it (README.md says what to install); one that is not given,
or fails, is named in the report. Recall is against brute force over the float32 weights: 8 bits count as a loss.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

KNOWN = ("lexhound", "seismic", "bmp", "qdrant", "pisa", "lucene")
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "lexhound": [{}, {"recall": 0.99}, {"recall": 0.97}, {"recall": 0.95}, {"recall": 0.9}],
    "seismic": [{"query_cut": cut, "heap_factor": factor} for cut in (3, 5, 8, 12, 40) for factor in (0.7, 0.9)],
    "bmp": [{}, {"alpha": 0.85}, {"alpha": 0.7}],
    "qdrant": [{}],
}
ROUND = 25  # queries an engine answers before the next one takes its turn


@dataclass(slots=True)
class Peer:
    """An engine's process, and what was measured of it."""

    name: str
    process: subprocess.Popen[str]
    built: dict[str, Any] = field(default_factory=dict)
    times: dict[str, list[NDArray[np.int64]]] = field(default_factory=dict)
    hits: dict[str, list[list[int]]] = field(default_factory=dict)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request, one answer. Raises RuntimeError where the process has ended."""
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("the process has no pipes")
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise RuntimeError(f"{self.name} ended with {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def main() -> None:
    """Measure and print a report in Markdown."""
    options = _options()
    pythons = {"lexhound": sys.executable} | dict(pair.split("=", 1) for pair in options.peer)
    work = Path(options.work or tempfile.mkdtemp())
    failed = {name: "not given" for name in KNOWN if name not in pythons}
    peers: list[Peer] = []
    for name, python in pythons.items():
        script = str(Path(__file__).with_name("sparse_peer.py"))
        process = subprocess.Popen(
            [python, script, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sys.stderr, text=True
        )
        peer = Peer(name, process)
        try:
            request = {"build": options.vectors, "limit": options.limit, "folder": str(work / name)}
            peer.built = peer.ask(request | {"queries": options.queries, "n_queries": options.n_queries})
        except (RuntimeError, ValueError) as error:
            failed[name] = str(error)
            continue
        peers.append(peer)
        print(f"{name} built: {peer.built}", file=sys.stderr)
    truth = brute_force(options.vectors, options.queries, options.limit, options.n_queries, options.k)
    measure(peers, len(truth), options.k, options.rounds)
    for line in report(peers, failed, truth, options):
        print(line)
    for peer in peers:
        peer.process.terminate()


def measure(peers: list[Peer], n_queries: int, k: int, rounds: int) -> None:
    """Ask every engine all queries in every setting, a few at a time in turn; round -1 warms up."""
    for number in range(-1, rounds):
        for peer in peers:
            for setting in SETTINGS[peer.name]:
                key = json.dumps(setting)
                peer.times.setdefault(key, [])
                if number >= 0:
                    peer.times[key].append(np.zeros(n_queries, np.int64))
                peer.hits[key] = []
        for first in range(0, n_queries, ROUND):
            last = min(first + ROUND, n_queries)
            for peer in peers:
                for setting in SETTINGS[peer.name]:
                    key = json.dumps(setting)
                    answer = peer.ask({"first": first, "last": last, "k": k, "setting": setting})
                    peer.hits[key] += answer["hits"]
                    if number >= 0:
                        peer.times[key][-1][first:last] = answer["ns"]


def brute_force(vectors: str, queries: str, limit: int | None, n_queries: int, k: int) -> list[list[int]]:
    """The best rows of each query over the weights as they are."""
    documents, asked = _load(vectors, limit), _load(queries, n_queries)
    columns = csc_array(documents)
    found = []
    for query in range(asked.shape[0]):
        scores = np.zeros(documents.shape[0])
        for at in range(asked.indptr[query], asked.indptr[query + 1]):
            term = asked.indices[at]
            if term < columns.shape[1]:
                own = slice(columns.indptr[term], columns.indptr[term + 1])
                scores[columns.indices[own]] += columns.data[own] * float(asked.data[at])
        best = np.argpartition(-scores, min(k, len(scores) - 1))[:k]
        found.append(best[np.lexsort((best, -scores[best]))].tolist())
    return found


def report(peers: list[Peer], failed: dict[str, str], truth: list[list[int]], options: argparse.Namespace) -> list[str]:
    """The figures as Markdown."""
    rows = peers[0].built["rows"] if peers else 0
    lines = [
        f"{rows:,} vectors, {len(truth):,} queries, k = {options.k}, one thread, best of {options.rounds} rounds",
        "",
    ]
    lines += [f"{json.dumps(describe_machine())}", ""]
    lines += ["| engine | setting | p50 µs | p99 µs | mean µs | recall | bytes a document | build, documents/s |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for peer in peers:
        for setting, times in peer.times.items():
            best = np.min(times, axis=0) / 1000
            pairs = list(zip(peer.hits[setting], truth, strict=True))
            recall = np.mean([len(set(own) & set(right)) / max(1, len(right)) for own, right in pairs])
            p50, p99 = np.percentile(best, (50, 99))
            size, speed = peer.built["bytes"] / rows, rows / peer.built["seconds"]
            lines.append(
                f"| {peer.name} | {setting} | {p50:,.0f} | {p99:,.0f} | {best.mean():,.0f} | {recall:.4f} | {size:,.0f}"
                f" | {speed:,.0f} |"
            )
    return [*lines, "", *(f"missing: {name} ({why})" for name, why in failed.items())]


def _load(path: str, limit: int | None) -> csr_array:
    with np.load(path) as file:
        indptr = file["indptr"][: None if limit is None else limit + 1]
        indices, data = file["indices"][: indptr[-1]], file["data"][: indptr[-1]]
    width = int(indices.max()) + 1 if len(indices) else 1
    return csr_array((data, indices, indptr), shape=(len(indptr) - 1, width))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", required=True, help="documents, .npz as `lexhound encode` writes it")
    parser.add_argument("--queries", required=True, help="queries, likewise")
    parser.add_argument("--limit", type=int, help="only the first so many documents")
    parser.add_argument("--n-queries", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON", help="an engine and its Python")
    parser.add_argument("--work", help="where indexes are kept between runs (default: a temporary folder)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
