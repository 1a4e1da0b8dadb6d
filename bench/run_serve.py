"""The service under load: latency by number of connections, with and without inserts; memory; what HTTP adds.

    python bench/run_serve.py                                      # the Cranfield sample, two minutes
    python bench/run_serve.py --corpus passages.jsonl.zst --questions questions.jsonl.zst --seconds 60 --out serve.json

Needs wrk (Debian: `apt-get install wrk`). See README.md beside this file for what is measured and how.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from common.inputs import first_passages, read_questions
from common.inserting import Inserting
from common.machine import describe_machine
from common.processes import lexhound, run_process
from common.timing import Latency, no_collection
from common.wrk import available, run_wrk

from lexhound.retrieval.collection.collection import Collection
from lexhound.retrieval.collection.request import SearchRequest
from lexhound.serve.api.schemas.answers import json_response, search_answer
from lexhound.serve.client.client import Client

K = 10
CONNECTIONS = (1, 8, 32)
SAMPLE = Path(__file__).resolve().parent.parent / "samples" / "cranfield"
NAME = "bench"
PATH = f"/v1/collections/{NAME}/search"


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        results = _measure(arguments, Path(folder))
    if arguments.out is not None:
        arguments.out.write_bytes(orjson.dumps(results, option=orjson.OPT_INDENT_2))
    print(_report(results))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, default=SAMPLE, help="what to index (default: the Cranfield sample)")
    parser.add_argument("--questions", type=Path, default=SAMPLE, help="JSON Lines with `query` or `text`, or BEIR")
    parser.add_argument("--passages", type=int, metavar="N", help="index only the first N rows (default: all)")
    parser.add_argument("--index", type=Path, metavar="DIR", help="copy this collection instead of indexing a corpus")
    parser.add_argument("--queries", type=int, default=1000, metavar="N", help="questions (default: 1000)")
    parser.add_argument("--seconds", type=int, default=10, help="length of each load (default: 10)")
    parser.add_argument("--rate", type=int, default=100, help="documents inserted a second (default: 100)")
    parser.add_argument("--workers", type=int, default=1, help="processes of the service (default: 1)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all figures there as JSON")
    parser.add_argument("--work", type=Path, metavar="DIR", help="where the collection is made and dropped again")
    arguments = parser.parse_args()
    if not available():
        parser.error("wrk is not installed (Debian: apt-get install wrk)")
    return arguments


def _measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    machine = describe_machine()
    place = folder / f"{NAME}.index"
    if arguments.index is not None:
        run_process(["cp", "-r", str(arguments.index), str(place)])
    else:
        corpus = first_passages(arguments.corpus, arguments.passages, folder)
        run_process([lexhound(), "index", str(corpus), "--into", str(place), "--encoder", "bm25"])
    questions, _ = read_questions(arguments.questions, arguments.queries)
    bodies = folder / "bodies"
    bodies.write_bytes(b"".join(orjson.dumps({"query": each, "k": K}) + b"\n" for each in questions))
    plain = folder / "plain"
    plain.write_bytes(b"".join(orjson.dumps({"query": each, "k": K, "highlight": False}) + b"\n" for each in questions))
    results: dict[str, Any] = {
        "machine": machine,
        "command": {name: str(value) for name, value in vars(arguments).items() if value is not None},
        "in_process": _in_process(place, questions),
        "loads": [],
    }
    with Collection.open(place) as collection:
        results["documents"] = collection.count()
        texts = [hit.document.text for each in questions[:50] for hit in collection.search(each, 20).hits]
    with _service(place, arguments.workers, folder / "log") as (url, pid):
        for name, file in (("plain", plain), ("snippets", bodies)):
            run_wrk(url, PATH, file, connections=1, seconds=max(2, arguments.seconds // 5))  # warm up
            lone = run_wrk(url, PATH, file, connections=1, seconds=arguments.seconds)
            results[f"lone_{name}"] = asdict(lone)
        for rate in (0, arguments.rate):
            for connections in CONNECTIONS:
                with _memory(pid) as memory:
                    inserting = Inserting(url, NAME, texts, rate)
                    load = run_wrk(url, PATH, bodies, connections=connections, seconds=arguments.seconds)
                    achieved = inserting.stop()
                lost = len(inserting.lost()) if rate else 0
                results["loads"].append(
                    asdict(load)
                    | {
                        "inserted_per_second": achieved,
                        "inserts_failed": inserting.failures,
                        "slowest_insert": inserting.slowest,
                        "lost": lost,
                        "memory_first": memory[0],
                        "memory_last": memory[-1],
                        "memory_most": max(memory),
                    }
                )
                if rate:  # the next load inserts the same ids again
                    with Client(url) as client:
                        for start in range(0, len(inserting.acknowledged), 1000):
                            client.delete(NAME, inserting.acknowledged[start : start + 1000])
    return results


def _in_process(place: Path, questions: list[str]) -> dict[str, Any]:
    """The same searches without HTTP: to hits, and to the very JSON that the service sends."""
    found: dict[str, Any] = {}
    with Collection.open(place) as collection:
        collection.warm()
        for name, highlight in (("plain", False), ("snippets", True)):
            times = np.empty(len(questions), np.int64)
            for measured in (False, True):
                with no_collection():
                    for number, question in enumerate(questions):
                        started = time.perf_counter_ns()
                        request = SearchRequest(question, k=K, highlight=highlight, fields=("title", "metadata"))
                        answer = search_answer(request, collection.search(request))
                        json_response(answer)
                        if measured:
                            times[number] = time.perf_counter_ns() - started
            found[name] = asdict(Latency.of(times))
    return found


@contextmanager
def _service(place: Path, workers: int, log: Path) -> Iterator[tuple[str, int]]:
    """The service as users start it, with its log in a file; its address and process id."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            [lexhound(), "serve", str(place), "--port", "0", "--workers", str(workers)],
            stdin=subprocess.DEVNULL,
            stderr=file,
        )
    try:
        while not (found := re.search(r'"address":"([^"]+)"', log.read_text())):
            time.sleep(0.05)
        with Client(found.group(1)) as client:
            client.wait_until_ready()
        yield found.group(1), process.pid
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _memory(pid: int) -> Iterator[list[int]]:
    """Resident bytes of a process and its children, every quarter of a second while the block runs."""
    readings = [_resident(pid)]
    end = threading.Event()

    def watch() -> None:
        while not end.wait(0.25):
            readings.append(_resident(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield readings
    finally:
        end.set()
        thread.join()


def _resident(pid: int) -> int:
    """Memory of its own: mapped index files, which the system may drop and read again, are not counted."""
    total = 0
    for each in [pid, *_children(pid)]:
        fields = Path(f"/proc/{each}/statm").read_text().split()
        total += (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")
    return total


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _report(results: dict[str, Any]) -> str:
    machine = results["machine"]
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}, load {machine['load']:.1f};"
        f" {results['documents']:,} documents, k = {K}",
        "",
        "| one connection | in process p50 | over HTTP p50 | HTTP adds | over HTTP p99 |",
        "|---|---|---|---|---|",
    ]
    for name in ("plain", "snippets"):
        own, lone = results["in_process"][name]["p50"] / 1000, results[f"lone_{name}"]
        lines.append(
            f"| {'with snippets' if name == 'snippets' else 'without'} | {own:.2f} ms | {lone['p50']:.2f} ms"
            f" | {lone['p50'] - own:.2f} ms | {lone['p99']:.2f} ms |"
        )
    lines += [
        "",
        "| connections | inserts/s | searches/s | p50 | p99 | failures | lost | slowest insert"
        " | memory first, last, most |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for load in results["loads"]:
        memory = ", ".join(f"{load[f'memory_{which}'] / 2**20:.0f}" for which in ("first", "last", "most"))
        lines.append(
            f"| {load['connections']} | {load['inserted_per_second']:.0f} | {load['per_second']:.0f}"
            f" | {load['p50']:.2f} ms | {load['p99']:.2f} ms | {load['failures'] + load['inserts_failed']}"
            f" | {load['lost']} | {load['slowest_insert'] * 1000:.0f} ms | {memory} MiB |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
