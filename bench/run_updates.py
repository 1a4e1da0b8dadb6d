"""Updates in place: half of a clustered index is replaced in small batches, and held against indexes built afresh.

    python bench/run_updates.py --vectors passages.npy --queries questions.npy --count 9000 --plot updates.svg

The experiment of SPFresh (Xu et al., SOSP 2023, section 5). Both indexes are searched with the same effort, that of the
first one's dial, so that what differs is the index. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import thread_time, thread_time_ns

import numpy as np
from numpy.typing import NDArray

from lexhound.index.spann import Effort, SpannIndex, SpannOptions

K = 10
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Found:
    """An index as it stands: recall@10, microseconds of a query (median), entries read by one, entries on disk."""

    recall: float
    p50: float
    read: float
    entries: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--vectors", type=Path, required=True, help="unit vectors, .npy; half as many more than --count"
    )
    parser.add_argument("--queries", type=Path, required=True, help="unit queries, .npy")
    parser.add_argument("--count", type=int, default=9000, help="vectors in the index at any time")
    parser.add_argument("--batch", type=int, default=100, help="vectors replaced at once")
    parser.add_argument("--steps", type=int, default=10, help="how often it is measured on the way")
    parser.add_argument("--asked", type=int, default=200, help="queries that are measured")
    parser.add_argument("--recall", type=float, default=0.95, help="the dial")
    parser.add_argument("--plot", type=Path, help="draw the curves there (SVG)")
    arguments = parser.parse_args()
    base, queries = np.load(arguments.vectors), np.load(arguments.queries)
    count = arguments.count
    half = count // 2
    if len(base) < count + half:
        parser.error(f"--vectors: {count + half:,} are needed, and there are {len(base):,}")
    asked, others = queries[: arguments.asked], queries[arguments.asked :][:300]
    options = SpannOptions(calibration_queries=150)
    order = np.random.default_rng(0).permutation(count)[:half]
    present = base[:count].copy()
    marks = {round(half * step / arguments.steps) for step in range(1, arguments.steps + 1)}
    rows: list[tuple[float, Found, Found]] = []
    spent = 0.0
    print("| replaced | recall@10, updated | fresh | p50, updated | fresh | entries read, updated | fresh |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        index = SpannIndex.build(Path(folder) / "index", present, options=options, queries=others, writable=True)
        effort = index.calibration.effort(arguments.recall, K)
        for start in range(0, half, arguments.batch):
            end = min(start + arguments.batch, half)
            replaced = order[start:end]
            began = thread_time()
            index.insert(replaced, base[count + start : count + end])
            spent += thread_time() - began
            present[replaced] = base[count + start : count + end]
            if any(start < mark <= end for mark in marks):
                fresh = SpannIndex.build(Path(folder) / f"fresh{end}", present, options=options, queries=others)
                truth = np.argsort(-(asked @ present.T), axis=1, kind="stable")[:, :K]
                both = _measure([index, fresh], asked, truth, effort)
                rows.append((end / count, *both))
                fresh.close()
                a, b = both
                print(
                    f"| {end / count:.0%} | {a.recall:.3f} | {b.recall:.3f} | {a.p50:.0f} µs | {b.p50:.0f} µs "
                    f"| {a.read:.0f} | {b.read:.0f} |",
                    flush=True,
                )
        postings = index.n_postings
        index.close()
    print(
        f"\n{half:,} vectors replaced, {spent / half * 1e6:.0f} µs of processor time each; {postings:,} postings after."
    )
    print(f"{postings:,} postings at the end. Effort: {effort.postings} postings, ratio {effort.ratio:.3f}.")
    if arguments.plot is not None:
        arguments.plot.write_text(_plot(rows))


def _measure(
    indexes: Sequence[SpannIndex], queries: NDArray[np.float32], truth: NDArray[np.int64], effort: Effort
) -> tuple[Found, Found]:
    """Both in turn, query by query; of the rounds the fastest time of a query counts."""
    times = np.full((len(indexes), len(queries)), np.inf)
    hits, read = np.zeros(len(indexes)), np.zeros(len(indexes))
    for turn in range(ROUNDS + 1):  # the first one warms up
        for number, query in enumerate(queries):
            for place, index in enumerate(indexes):
                began = thread_time_ns()
                top, stats = index.search_with_stats(query, K, effort=effort)
                if turn:
                    times[place, number] = min(times[place, number], (thread_time_ns() - began) / 1000)
                if turn == 1:
                    hits[place] += len(np.intersect1d(top.rows, truth[number]))
                    read[place] += stats.entries_read
    found = [
        Found(hits[i] / truth.size, float(np.median(times[i])), read[i] / len(queries), index.n_entries)
        for i, index in enumerate(indexes)
    ]
    return found[0], found[1]


def _plot(rows: Sequence[tuple[float, Found, Found]]) -> str:
    """Recall and time by the share replaced, two panels side by side."""
    largest = max(max(a.p50, b.p50) for _, a, b in rows) * 1.2
    panels = [
        _panel(40, "recall@10", 0.8, 1.0, [(x, a.recall, b.recall) for x, a, b in rows]),
        _panel(340, "p50, µs of processor time", 0.0, largest, [(x, a.p50, b.p50) for x, a, b in rows]),
    ]
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 620 240" font-family="sans-serif" font-size="11">\n'
        '<rect width="620" height="240" fill="white"/>\n' + "\n".join(panels) + "\n</svg>\n"
    )


def _panel(left: float, title: str, low: float, high: float, points: Sequence[tuple[float, float, float]]) -> str:
    width, top, height = 240, 30, 160

    def place(x: float, y: float) -> str:
        return f"{left + x / 0.5 * width:.1f},{top + height * (1 - (y - low) / (high - low)):.1f}"

    parts = [f'<text x="{left}" y="18">{title}</text>']
    for step in range(5):
        value = low + (high - low) * step / 4
        y = top + height * (1 - step / 4)
        label = f"{value:.2f}" if high <= 1 else f"{value:.0f}"
        parts.append(f'<path d="M{left},{y:.1f}h{width}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 4}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    for share in (0, 0.1, 0.2, 0.3, 0.4, 0.5):
        x = left + share / 0.5 * width
        parts.append(f'<text x="{x:.1f}" y="{top + height + 16}" text-anchor="middle">{share:.0%}</text>')
    parts.append(f'<text x="{left + width / 2}" y="{top + height + 34}" text-anchor="middle">replaced</text>')
    for number, (name, colour, dash) in enumerate((("updated", "#0a58ca", ""), ("fresh", "#b5500b", "5 3"))):
        line = " ".join(place(point[0], point[1 + number]) for point in points)
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>'
        )
        y = top + height - 24 + 14 * number
        parts.append(f'<path d="M{left + 10},{y}h24" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>')
        parts.append(f'<text x="{left + 40}" y="{y + 4}">{name}</text>')
    return "\n".join(parts)


if __name__ == "__main__":
    main()
