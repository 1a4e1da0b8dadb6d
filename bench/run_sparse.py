"""Learned sparse search beside its peers: the same vectors, the same queries, one thread, in short rounds in turn.

    python bench/run_sparse.py --vectors passages.npz --queries free=queries.npz --queries expanded=more.npz \\
        --peer pisa=/envs/pisa/bin/python --peer seismic=/envs/seismic/bin/python --peer bmp=/envs/bmp/bin/python

Every engine is a process with the Python that is given for it (README.md says what to install); one that is not given,
or fails, is named in the report. All get the same whole numbers, and recall is against brute force over them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from common.machine import describe_machine
from common.sparse_report import report
from common.whole_numbers import Truth, kept_by_rounding, narrowed, read, rounded, write
from numpy.typing import NDArray

KNOWN = ("lexhound", "pisa", "bmp", "qdrant", "lucene", "seismic")
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "lexhound": [{}, {"recall": 0.99}, {"recall": 0.97}, {"recall": 0.95}, {"recall": 0.9}],
    "pisa": [{"algorithm": name} for name in ("maxscore", "block_max_maxscore", "block_max_wand", "none")],
    "bmp": [{}],
    "qdrant": [{}],
    "lucene": [{}],
    "seismic": [
        {"query_cut": cut, "heap_factor": factor} for cut in (3, 5, 8, 12, 20) for factor in (0.6, 0.7, 0.8, 0.9)
    ],
}
DEPTHS = (10, 100)
ROUND = 25  # queries an engine answers before the next one takes its turn


@dataclass(slots=True)
class Peer:
    """An engine's process with one index, and what was measured of it."""

    name: str
    options: dict[str, Any]
    process: subprocess.Popen[str]
    built: dict[str, Any] = field(default_factory=dict)
    # By queries, setting and depth:
    times: dict[tuple[str, str, int], list[NDArray[np.int64]]] = field(default_factory=dict)
    hits: dict[tuple[str, str, int], list[list[int]]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Its name, and what its index was built with."""
        return " ".join([self.name, *(f"{name}={value}" for name, value in self.options.items())])

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request, one answer. Raises RuntimeError where the engine failed or the process has ended."""
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("the process has no pipes")
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise RuntimeError(f"it ended with {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise RuntimeError(answer["failed"])
        return answer


def main() -> None:
    """Measure and print a report in Markdown."""
    options = _options()
    with ExitStack() as processes:
        _run(options, processes)


def _run(options: argparse.Namespace, processes: ExitStack) -> None:
    work = Path(options.work or tempfile.mkdtemp())
    work.mkdir(parents=True, exist_ok=True)
    plain = read(options.vectors, options.limit)
    documents = rounded(plain, each=False)
    write(documents, work / "whole-documents.npz")
    queries = {}
    for pair in options.queries:
        name, path = pair.split("=", 1) if "=" in pair else ("queries", pair)
        asked = narrowed(read(path, options.n_queries), documents.shape[1])
        queries[name] = rounded(asked, each=True)
        write(queries[name], work / f"whole-{name}.npz")
    peers, failed = start(options, work, list(queries), processes)
    if options.build_only:
        for peer in peers:
            print(peer.label, json.dumps(peer.built))
        print(*(f"missing: {name} ({why})" for name, why in failed.items()), sep="\n")
        return
    machine = measure(peers, failed, {name: found.shape[0] for name, found in queries.items()}, options)
    truths = {name: Truth(documents, found, DEPTHS) for name, found in queries.items()}
    kept = {name: kept_by_rounding(plain, queries[name], truth, sample=200) for name, truth in truths.items()}
    for line in report(peers, failed, truths, kept, machine, options):
        print(line)


def start(
    options: argparse.Namespace, work: Path, queries: list[str], processes: ExitStack
) -> tuple[list[Peer], dict[str, str]]:
    """The engines' processes with their indexes and queries, and why others are missing; they end with `processes`."""
    pythons = {"lexhound": sys.executable} | dict(pair.split("=", 1) for pair in options.peer)
    variants: dict[str, list[dict[str, Any]]] = {}
    for pair in options.option:
        name, text = pair.split("=", 1)
        variants.setdefault(name, []).append(json.loads(text))
    failed = {name: "not given" for name in KNOWN if name not in pythons}
    peers: list[Peer] = []
    script = str(Path(__file__).with_name("sparse_peer.py"))
    for name in (name for name in KNOWN if name in pythons):
        for built_with in variants.get(name, [{}]):
            try:
                process = processes.enter_context(
                    subprocess.Popen(
                        [pythons[name], script, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                    )
                )
            except OSError as error:
                failed[name] = str(error)
                continue
            processes.callback(process.terminate)
            peer = Peer(name, built_with, process)
            folder = work / "-".join(peer.label.replace("=", "-").split())
            request = {"build": str(work / "whole-documents.npz"), "folder": str(folder), "options": built_with}
            try:
                peer.built = peer.ask(request)
                for each in queries:
                    peer.ask({"load": str(work / f"whole-{each}.npz"), "queries": each})
            except RuntimeError as error:
                failed[peer.label] = str(error)
                continue
            peers.append(peer)
            print(f"{peer.label}: {peer.built}", file=sys.stderr)
    return peers, failed


def ask_all(peers: list[Peer], failed: dict[str, str], queries: str, size: int, k: int) -> None:
    """Ask every engine all queries in every setting, a few at a time in turn; one that fails is taken out."""
    for peer in peers:
        for setting in SETTINGS[peer.name]:
            key = (queries, json.dumps(setting), k)
            peer.hits[key] = []
            peer.times.setdefault(key, []).append(np.zeros(size, np.int64))
    for first in range(0, size, ROUND):
        last = min(first + ROUND, size)
        for peer in list(peers):
            try:
                for setting in SETTINGS[peer.name]:
                    key = (queries, json.dumps(setting), k)
                    answer = peer.ask({"queries": queries, "first": first, "last": last, "k": k, "setting": setting})
                    peer.hits[key] += answer["hits"]
                    peer.times[key][-1][first:last] = answer["ns"]
            except RuntimeError as error:
                failed[peer.label] = f"{error}, asked for {k} hits"
                peers.remove(peer)


def measure(
    peers: list[Peer], failed: dict[str, str], sizes: dict[str, int], options: argparse.Namespace
) -> dict[str, Any]:
    """One round at the greater depth, which warms up, then rounds at the other; returns what the machine was like."""
    shallow, deep = DEPTHS
    marker = Path(options.marker) if options.marker else None
    try:
        if marker:
            marker.touch()
            _settle(options.settle)
        machine = describe_machine()
        started = time.perf_counter()
        for name, size in sizes.items():
            ask_all(peers, failed, name, size, deep)
        for number in range(options.rounds):
            before = time.perf_counter()
            for name, size in sizes.items():
                ask_all(peers, failed, name, size, shallow)
            now = time.perf_counter()
            print(f"round {number}: {now - before:.0f} s", file=sys.stderr)
            if now - started + (now - before) > options.seconds:
                break
        return machine | {"load_at_the_end": describe_machine()["load"]}
    finally:
        if marker:
            marker.unlink(missing_ok=True)


def _settle(seconds: float) -> None:
    """Wait until the processors have been nearly idle for a second, or so long."""
    until = time.monotonic() + seconds
    busy = 1.0
    while busy > 0.05 and time.monotonic() < until:
        before = _ticks()
        time.sleep(1)
        used, total = (after - first for after, first in zip(_ticks(), before, strict=True))
        busy = used / max(1, total)


def _ticks() -> tuple[int, int]:
    """Busy and all ticks of the processors since the system started (Linux)."""
    values = [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return sum(values) - values[3] - values[4], sum(values)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", required=True, help="documents, .npz as `lexhound encode` writes it")
    parser.add_argument("--queries", required=True, action="append", metavar="[NAME=]FILE", help="queries, likewise")
    parser.add_argument("--limit", type=int, help="only the first so many documents")
    parser.add_argument("--n-queries", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of timing, at most")
    parser.add_argument("--seconds", type=float, default=600, help="begin no round of timing that would end after it")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON", help="an engine and its Python")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=JSON", help="build an engine with this")
    parser.add_argument("--build-only", action="store_true", help="make the indexes and say what that took")
    parser.add_argument("--work", help="where indexes are kept between runs (default: a temporary folder)")
    parser.add_argument("--marker", help="a file that is there while the clock runs, for other work to wait")
    parser.add_argument("--settle", type=float, default=60, help="with --marker: wait so long for idle processors")
    parser.add_argument("--out", help="the figures as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
