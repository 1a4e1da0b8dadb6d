"""The same vectors in our own index and in other engines: quality, time of a query, time to bring them in, bytes.

    python bench/run_backends.py --collection my.index --dataset BEIR-FOLDER --address milvus-lite:FILE.db/NAME

The collection is moved to each address (`lexhound move`), so all hold the same 8-bit weights and dense vectors. Every
question is asked of each system in turn, on one thread of ours (an engine may use more of its own): from its text to
(id, score) pairs, the encoding of the query included. Quality is that of the 1,000 best hits of a batch.
"""

from __future__ import annotations

import argparse
import json
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from common.machine import describe_machine
from common.timing import Latency, alternate

from lexhound.eval.datasets import open_dataset
from lexhound.eval.measures import score_run
from lexhound.eval.runs import Run
from lexhound.retrieval.engines.address import read_address
from lexhound.retrieval.engines.moving import move_collection
from lexhound.retrieval.engines.opening import open_collection
from lexhound.retrieval.engines.protocol import Backend, EngineInfo

MEASURES = ("nDCG@10", "R@100")
DEPTH = 1000


def main() -> None:
    """Move, ask, measure, and print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collection", type=Path, required=True)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--address", action="append", default=[], help="may be repeated")
    parser.add_argument("--questions", type=int, default=100, help="how many are timed")
    parser.add_argument("--without-dense", action="store_true", help="leave dense vectors behind, as Lucene has to")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    (dataset,) = open_dataset(str(options.dataset))
    texts = list(dataset.queries.values())
    asked = [texts[i] for i in np.random.default_rng(7).permutation(len(texts))[: options.questions].tolist()]
    machine = describe_machine()
    print(json.dumps(machine), flush=True)
    moved: dict[str, float | None] = {str(options.collection): None}
    for address in options.address:
        started = perf_counter()
        report = move_collection(options.collection, address, without_dense=options.without_dense)
        moved[address] = perf_counter() - started
        print(f"moved {report.documents:,} documents, {report.postings:,} postings to {address}", flush=True)
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        systems = {place: stack.enter_context(open_collection(place)) for place in moved}
        for mode in systems[str(options.collection)].modes:
            if not all(mode in system.modes for system in systems.values()):
                continue
            times = alternate(
                {place: _way(system, asked, mode) for place, system in systems.items()},
                len(asked),
                warm_up=range(min(10, len(asked))),
                rounds=options.rounds,
            )
            found = {}
            for place, system in systems.items():
                answers = system.search_many(texts, DEPTH, mode=mode)
                found[place] = dict(zip(dataset.queries, answers, strict=True))
                scores = score_run(Run(place, found[place]), dataset.qrels, MEASURES)
                rows.append(
                    {
                        "system": place,
                        "mode": mode,
                        **{score.measure: score.mean for score in scores},
                        **_latency(times[place]),
                        "moved_seconds": moved[place],
                        "bytes": _bytes(system, place),
                        "same_first_10": _agreement(found[place], found[str(options.collection)]),
                    }
                )
                print(_line(rows[-1]), flush=True)
    print("| system | mode | nDCG@10 | R@100 | p50 | p99 | moved in | bytes | same 10 |")
    print("|---|---|---|---|---|---|---|---|---|")
    print("\n".join(map(_line, rows)))
    if options.out is not None:
        options.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1))


def _way(system: Backend, asked: list[str], mode: str) -> Any:
    return lambda question: system.search_many([asked[question]], 10, mode=mode)


def _latency(times: Any) -> dict[str, float]:
    latency = Latency.of(np.median(times, axis=0))
    return {"p50_ms": latency.p50 / 1000, "p99_ms": latency.p99 / 1000}


def _bytes(system: Backend, place: str) -> int | None:
    """All that is on disk, documents included."""
    info, path = system.info(), read_address(place).path
    if not isinstance(info, EngineInfo):
        return info.index_bytes + info.database_bytes
    if path is None or path.is_dir():
        return info.index_bytes
    return sum(file.stat().st_size for file in path.parent.iterdir() if file.name.startswith(path.name))


def _agreement(found: dict[str, Any], others: dict[str, Any]) -> float:
    """The share of questions whose ten best hits are the same, in the same order."""
    same = [[hit for hit, _ in found[q][:10]] == [hit for hit, _ in others[q][:10]] for q in others]
    return sum(same) / len(same)


def _line(row: dict[str, Any]) -> str:
    seconds = "-" if row["moved_seconds"] is None else f"{row['moved_seconds']:.0f} s"
    size = "-" if row["bytes"] is None else f"{row['bytes'] / 2**20:.0f} MiB"
    return (
        f"| {row['system']} | {row['mode']} | {row['nDCG@10']:.4f} | {row['R@100']:.4f} | {row['p50_ms']:.1f} ms |"
        f" {row['p99_ms']:.1f} ms | {seconds} | {size} | {row['same_first_10']:.1%} |"
    )


if __name__ == "__main__":
    main()
