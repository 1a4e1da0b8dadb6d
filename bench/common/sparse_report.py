"""What run_sparse.py measured, as Markdown and as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .timing import Latency
from .whole_numbers import Truth

if TYPE_CHECKING:
    from run_sparse import Peer

LEVELS = (0.9, 0.95, 0.97, 0.99)
EXACT = 0.9995  # a recall from here on is rounded to 1


@dataclass(frozen=True, slots=True)
class Line:
    """One engine in one setting over one kind of queries."""

    queries: str
    engine: str
    setting: str
    p50: float
    p99: float
    mean: float
    p50_deep: float | None
    recall: float
    recall_deep: float


def report(
    peers: list[Peer],
    failed: dict[str, str],
    truths: dict[str, Truth],
    kept: dict[str, float],
    machine: dict[str, Any],
    options: argparse.Namespace,
) -> Iterator[str]:
    """The figures, line by line; writes them to `options.out` too."""
    lines = [line for name, truth in truths.items() for line in _lines(peers, name, truth)]
    built = {peer.label: peer.built for peer in peers}
    if options.out:
        figures = {"machine": machine, "kept_by_rounding": kept, "built": built, "missing": failed}
        Path(options.out).write_text(json.dumps(figures | {"lines": [asdict(line) for line in lines]}, indent=1))
    rows = peers[0].built["rows"] if peers else 0
    rounds = max((len(times) for peer in peers for times in peer.times.values()), default=0)
    yield f"{rows:,} vectors, one thread, best of {rounds} rounds, loads {machine['load']:.1f} to"
    yield f"{machine['load_at_the_end']:.1f}; rounding keeps {kept} of the best ten"
    yield f"\n{json.dumps(machine)}\n"
    for name in truths:
        yield f"\n{name}\n\n| engine | setting | p50 µs | p99 µs | mean µs | recall@10 | p50 µs at 100 | recall@100 |"
        yield "|---|---|---|---|---|---|---|---|"
        for line in (line for line in lines if line.queries == name):
            if not line.engine.startswith("seismic"):
                yield _row(line)
        yield "\n| level | engine | setting | p50 µs | p99 µs | mean µs | recall@10 | p50 µs at 100 | recall@100 |"
        yield "|---|---|---|---|---|---|---|---|---|"
        engines = dict.fromkeys(line.engine for line in lines if line.engine.startswith(("lexhound", "seismic")))
        for level in LEVELS:
            for engine in engines:
                reached = [line for line in lines if (line.queries, line.engine) == (name, engine)]
                reached = [line for line in reached if line.recall >= level]
                if reached:
                    yield f"| {level} {_row(min(reached, key=lambda line: line.p50))}"
                else:
                    yield f"| {level} | {engine} | none reaches it | | | | | | |"
    yield "\n| index | bytes a document | build, s | processor, s | documents a processor second | load | version |"
    yield "|---|---|---|---|---|---|---|"
    for label, took in built.items():
        size, speed = took["bytes"] / took["rows"], took["rows"] / took["cpu"]
        yield (
            f"| {label} | {size:,.0f} | {took['seconds']:,.1f} | {took['cpu']:,.1f} | {speed:,.0f} | {took['load']:.1f}"
            f" | {took['version']} |"
        )
    yield from ("", *(f"missing: {name} ({why})" for name, why in failed.items()))


def _row(line: Line) -> str:
    deep = "" if line.p50_deep is None else f"{line.p50_deep:,.0f}"
    times = f"{line.p50:,.0f} | {line.p99:,.0f} | {line.mean:,.0f}"
    shares = f"{_share(line.recall)} | {deep} | {_share(line.recall_deep)}"
    return f"| {line.engine} | {line.setting} | {times} | {shares} |"


def _share(recall: float) -> str:
    return "1" if recall >= EXACT else f"{recall:.4f}"


def _lines(peers: list[Peer], name: str, truth: Truth) -> Iterator[Line]:
    shallow, deep = truth.best
    for peer in peers:
        settings = dict.fromkeys(setting for queries, setting, _ in peer.hits if queries == name)
        for setting in settings:
            best = Latency.of(np.min(peer.times[name, setting, shallow], axis=0))
            found = peer.times.get((name, setting, deep))
            yield Line(
                name,
                peer.label,
                setting,
                best.p50,
                best.p99,
                best.mean,
                Latency.of(np.min(found, axis=0)).p50 if found else None,
                truth.recall(peer.hits[name, setting, shallow], shallow),
                truth.recall(peer.hits[name, setting, deep], deep),
            )
