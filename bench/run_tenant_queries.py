"""Whole queries of tenants through `Collection.search`: the processor's time of a first one, and memory after many.

Made-up passages of made-up words (40 each, 8 a query) by Zipf's law, indexed with bm25; tenant sizes as in
`run_tenants.py`. One collection with tenants, one of the same documents without, and one for each of the tenants that
are timed. `first`: the collection has just been opened and nothing is kept of the tenant; `again`: the same query once
more; `alone`: in the tenant's own collection, opened before. Medians over queries, microseconds of the processor.

Memory: each tenant is asked once in one process, and as many queries go to the collection without tenants in another;
anonymous memory (`RssAnon`) of both, before and after.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from run_tenants import WORDS, sizes_of

from lexhound.retrieval import Collection, Document

LENGTH, ASKED = 40, 8
CHANCES = 1 / np.arange(1, WORDS + 1) / (1 / np.arange(1, WORDS + 1)).sum()


def name_of(tenant: int) -> str:
    return f"t{tenant:05d}"


def text_of(draw: np.random.Generator, words: int) -> str:
    return " ".join(f"w{word}" for word in draw.choice(WORDS, words, p=CHANCES).tolist())


def build(path: Path, documents: list[Document], tenant_field: str | None) -> None:
    with Collection.create(path, encoder="bm25", tenant_field=tenant_field) as collection:
        collection.add(documents)
        collection._writing().flush()
        collection.compact()


def timed(collection, text: str) -> float:
    started = time.process_time()
    collection.search(text)
    return (time.process_time() - started) * 1e6


def report(shared: Path, alone: Collection, tenant: int, rows: int, queries: int, draw: np.random.Generator) -> None:
    times: list[tuple[float, float, float]] = []
    name = name_of(tenant)
    for _ in range(queries):
        with Collection.open(shared) as collection:
            collection.for_tenant(name_of(0)).search(text_of(draw, ASKED))  # kernels, and what is everybody's
            alone.search(text_of(draw, ASKED))
            text = text_of(draw, ASKED)
            started = time.process_time()
            view = collection.for_tenant(name)
            made = (time.process_time() - started) * 1e6
            times.append((made + timed(view, text), timed(collection.for_tenant(name), text), timed(alone, text)))
    first, again, own = np.median(np.array(times), axis=0).tolist()
    line = {"rows": rows, "first": round(first), "again": round(again), "alone": round(own)}
    print(json.dumps(line | {"ratio of the first": round(first / own, 2), "ratio": round(again / own, 2)}), flush=True)


def anonymous() -> int:
    """Bytes of memory that are no file's."""
    status = Path("/proc/self/status").read_text("utf-8").splitlines()
    (line,) = (line for line in status if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def ask_all(path: Path, tenants: int, confined: bool) -> None:
    """Ask once for each tenant; print memory before and after. Run in a process of its own."""
    draw = np.random.default_rng(2)
    with Collection.open(path) as collection:
        warm = collection.for_tenant(name_of(0)) if confined else collection
        warm.search(text_of(draw, ASKED))
        before = anonymous()
        for tenant in range(tenants):
            view = collection.for_tenant(name_of(tenant)) if confined else collection
            view.search(text_of(draw, ASKED))
        index = collection.info().index_bytes
        print(json.dumps({"tenants": confined, "before": before, "after": anonymous(), "index bytes": index}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--tenants", type=int, default=2_000)
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--ask-all", type=Path)
    parser.add_argument("--confined", action="store_true")
    options = parser.parse_args()
    if options.ask_all is not None:
        ask_all(options.ask_all, options.tenants, options.confined)
        return
    draw = np.random.default_rng(0)
    sizes = sizes_of(options.tenants, options.passages)
    owner = np.repeat(np.arange(options.tenants), sizes)
    documents = [
        Document(str(number), text_of(draw, LENGTH), "", {"org": name_of(int(owner[number]))})
        for number in draw.permutation(options.passages).tolist()
    ]
    with TemporaryDirectory() as folder:
        root = Path(folder)
        build(root / "shared", documents, "org")
        build(root / "plain", documents, None)
        for tenant in [each for each in (1, 9, 99, 999, options.tenants - 1) if each < options.tenants]:
            own = [each for each in documents if each.metadata["org"] == name_of(tenant)]
            build(root / str(tenant), own, None)
            with Collection.open(root / str(tenant)) as alone:
                report(root / "shared", alone, tenant, len(own), options.queries, draw)
        for path, more in ((root / "plain", []), (root / "shared", ["--confined"])):
            command = [sys.executable, __file__, "--ask-all", str(path), "--tenants", str(options.tenants), *more]
            print(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout, end="")
    print(json.dumps({"cpu seconds": round(time.process_time(), 1)}))


if __name__ == "__main__":
    main()
