"""What small requests that cost much do to a plain search beside them: its latency, alone and beside each of them.

    python bench/run_stalls.py                    # 60,000 generated documents, two minutes
    python bench/run_stalls.py --documents 300000 --seconds 10

Every request has at most 10 KB. One or four connections send one kind of it over and over, while one more asks plain
searches, ten milliseconds apart.
"""

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from common.machine import describe_machine
from common.processes import lexhound

from lexhound.retrieval import Collection, Document

WORDS = ("heat", "transfer", "flow", "wing", "boundary", "layer", "shock", "tube", "pressure", "plate")
PLAIN = ("heat transfer", "boundary layer shock", "w3 w17 flow")
PLACE = "/v1/collections/stalls/"
CHARACTERS = 8192


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=60_000, help="how many (default: 60,000)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each load (default: 4)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _make(Path(folder) / "stalls.index", arguments.documents)
        with _serving(Path(folder)) as port:
            print(describe_machine())
            print("\n| beside it | connections | answers | plain searches | p50 ms | p99 ms | max ms |")
            print("|---|---|---|---|---|---|---|")
            _tell("nothing", 0, Counter(), _probe(port, arguments.seconds))
            for name, request in REQUESTS.items():
                for connections in (1, 4):
                    _tell(name, connections, *_beside(port, request, connections, arguments.seconds))
            _tell("nothing", 0, Counter(), _probe(port, arguments.seconds))


def _make(path: Path, documents: int) -> None:
    rng = np.random.default_rng(1)
    with Collection.create(path) as collection:
        for start in range(0, documents, 10_000):
            collection.add([_document(rng, number) for number in range(start, min(start + 10_000, documents))])


def _document(rng: np.random.Generator, number: int) -> Document:
    rare = np.minimum(rng.pareto(0.6, 30), 20_000).astype(int)
    common = rng.integers(0, len(WORDS), int(rng.integers(5, 15)))
    words = [*(f"w{each}" for each in rare), *(WORDS[each] for each in common)]
    metadata = {
        "n": number,
        "price": number / 7,
        "year": 1950 + number % 70,
        "tags": [f"t{number % 7}", f"t{number % 11}"],
        "author": {"name": f"A{number % 1000}"},
    }
    return Document(f"d{number}", " ".join(words), f"Report {number % 50}", metadata)


@contextmanager
def _serving(folder: Path) -> Iterator[int]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([lexhound(), "serve", str(folder), "--port", "0"], stderr=log)
    try:
        while not any(line["event"] == "ready" for line in _log(folder)):
            if process.poll() is not None:
                raise RuntimeError((folder / "log").read_text())
            time.sleep(0.1)
        listening = next(line for line in _log(folder) if line["event"] == "listening")
        yield int(listening["address"].rpartition(":")[2])
    finally:
        process.terminate()
        process.wait()


def _log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log").read_bytes().split(b"\n")[:-1]]


def _joined(word: str, clause: Callable[[int], str], count: int) -> str:
    """So many clauses, or as many as fit into a filter."""
    text = clause(0)
    for number in range(1, count):
        longer = f"{text} {word} {clause(number)}"
        if len(longer) > CHARACTERS:
            break
        text = longer
    return text


# From a number that is another each time to a route and its body; None for GET.
REQUESTS: dict[str, Callable[[int], tuple[str, Any]]] = {
    "60 clauses, or": lambda i: _search(filter=_joined("or", lambda j: f"n >= {j * 1000 + i}", 60)),
    "700 clauses, or": lambda i: _search(filter=_joined("or", lambda j: f"n>{j + i}", 700)),
    "700 clauses, and": lambda i: _search(filter=_joined("and", lambda j: f"n>{j + i}", 700)),
    "nested clauses, counted": lambda i: (
        "count",
        {"filter": _joined("and", lambda j: f'(not tags="t{j % 11}" or price<{j + i})', 250)},
    ),
    "a batch of 900": lambda i: ("search/batch", {"queries": [WORDS[j % 10] for j in range(900)], "k": 100}),
    "1,000 hits explained": lambda i: _search(k=1000, explain=True, fields=["title", "text", "metadata"]),
    "hits 9,001 to 10,000": lambda i: _search(k=1000, offset=9000),
    "a query of 8,000 characters": lambda i: _search(" ".join(f"w{j}" for j in range(1500))[:CHARACTERS]),
    "640 weights": lambda i: ("search", {"vector": {f"w{j}": 1.5 for j in range(640)}}),
    "facets": lambda i: ("facets?limit=1000", None),
    "deletion by filter": lambda i: ("documents/delete", {"filter": _joined("or", lambda j: f"n=-{i + j + 1}", 600)}),
    "description": lambda i: ("", None),
}


def _search(query: str = "heat transfer flow", **options: Any) -> tuple[str, Any]:
    return "search", {"query": query, **options}


def _ask(connection: http.client.HTTPConnection, route: str, body: Any) -> int:
    content = None if body is None else json.dumps(body)
    method = "GET" if body is None else "POST"
    connection.request(method, (PLACE + route).rstrip("/"), content, {"content-type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def _probe(port: int, seconds: float) -> list[float]:
    """Milliseconds of plain searches, one after the other."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    found: list[float] = []
    end = time.monotonic() + seconds
    while not found or time.monotonic() < end:
        started = time.perf_counter()
        status = _ask(connection, *_search(PLAIN[len(found) % len(PLAIN)]))
        found.append((time.perf_counter() - started) * 1000)
        if status != 200:
            raise RuntimeError(f"a plain search was answered {status}")
        time.sleep(0.01)
    connection.close()
    return found


def _beside(
    port: int, request: Callable[[int], tuple[str, Any]], connections: int, seconds: float
) -> tuple[Counter[int], list[float]]:
    stop = threading.Event()
    answers: Counter[int] = Counter()

    def go_on(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while True:
            number += 10
            answers[_ask(connection, *request(number))] += 1
            if stop.is_set():
                break
        connection.close()

    threads = [threading.Thread(target=go_on, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    try:
        return answers, _probe(port, seconds)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _tell(name: str, connections: int, answers: Counter[int], found: list[float]) -> None:
    told = ", ".join(f"{count} x {status}" for status, count in sorted(answers.items())) or "-"
    p50, p99 = np.percentile(found, (50, 99))
    print(f"| {name} | {connections} | {told} | {len(found)} | {p50:.1f} | {p99:.1f} | {max(found):.1f} |", flush=True)


if __name__ == "__main__":
    main()
