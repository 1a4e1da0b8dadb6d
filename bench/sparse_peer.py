"""One engine in a process of its own, with its own Python: makes or opens an index and answers rounds of queries.

Started by run_sparse.py as `sparse_peer.py NAME`; needs NumPy and the engine. Reads requests as JSON lines on standard
input and writes one line of JSON for each: `build` makes (or finds) the index, `load` reads a file of queries, others
answer queries one by one on one thread and tell the nanoseconds and the rows of each.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter, perf_counter_ns
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAYON_NUM_THREADS", "1")

import numpy as np
from peers import Engine, engine


class Vectors:
    """A matrix from a file of run_sparse.py: `shape`, `indptr`, `indices` and `data`, as our builder takes it."""

    def __init__(self, path: str) -> None:
        with np.load(path) as file:
            self.indptr = file["indptr"].astype(np.int64)
            self.indices = file["indices"].astype(np.int32)
            self.data = file["data"].astype(np.float32)
            self.shape = (len(self.indptr) - 1, int(file["width"]))

    def rows(self) -> Iterator[tuple[Any, Any]]:
        """The terms and weights of each row."""
        for start, stop in zip(self.indptr[:-1].tolist(), self.indptr[1:].tolist(), strict=True):
            yield self.indices[start:stop], self.data[start:stop]


def main() -> None:
    """Answer requests until standard input ends; a failure is an answer too."""
    # What engines print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        asked: Engine | None = engine(sys.argv[1])
    except Exception as error:  # noqa: BLE001 - whatever an engine's import raises, it is missing
        asked, failure = None, f"{type(error).__name__}: {error}"
    queries: dict[str, list[Any]] = {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = _answer(asked, request, queries) if asked else {"failed": failure}
        except Exception as error:  # noqa: BLE001 - the report names it
            answer = {"failed": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _answer(asked: Engine, request: dict[str, Any], queries: dict[str, list[Any]]) -> dict[str, Any]:
    if "build" in request:
        return _build(asked, request["build"], Path(request["folder"]), request["options"])
    if "load" in request:
        vectors = Vectors(request["load"])
        queries[request["queries"]] = [asked.prepare(terms, weights) for terms, weights in vectors.rows()]
        return {}
    times, hits = [], []
    k, setting = request["k"], request["setting"]
    for query in queries[request["queries"]][request["first"] : request["last"]]:
        started = perf_counter_ns()
        found = asked.search(query, k, setting)
        times.append(perf_counter_ns() - started)
        hits.append(asked.rows(found))
    return {"ns": times, "hits": hits}


def _build(asked: Engine, path: str, folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Build unless it was done before, and open. What building took is kept beside the folder."""
    record = folder.with_name(folder.name + ".json")
    vectors = Vectors(path)
    if not record.exists():
        shutil.rmtree(folder, ignore_errors=True)  # what an interrupted run left
        folder.mkdir(parents=True)
        started, cpu = perf_counter(), _processor_time()
        asked.build(vectors, folder, options)
        took = {"seconds": perf_counter() - started, "cpu": _processor_time() - cpu, "load": os.getloadavg()[0]}
        size = sum(512 * file.stat().st_blocks for file in folder.rglob("*") if file.is_file())
        took |= {"bytes": size, "rows": vectors.shape[0], "version": asked.version, "options": options}
        record.write_text(json.dumps(took))
    built: dict[str, Any] = json.loads(record.read_text())
    if built["rows"] != vectors.shape[0]:
        raise ValueError(f"{folder} is an index of {built['rows']} other vectors")
    started = perf_counter()
    asked.open(folder)
    return built | {"open_seconds": perf_counter() - started}


def _processor_time() -> float:
    """Seconds of processor time of this process and of those that it started and that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    main()
