"""The lexical benchmark's figures as Markdown, in the form of RESULTS.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

# The files of an inverted index, as a reader of the report knows them.
_STRUCTURES = {
    "rows": "rows of postings",
    "impacts": "impacts",
    "frequencies": "term frequencies",
    "entry_ends": "directory",
    "entry_starts": "directory",
    "entry_windows": "directory",
    "terms": "directory",
    "lengths": "document lengths",
}


def report(results: dict[str, Any]) -> str:
    """All tables of a run."""
    machine, indexing = results["machine"], results["indexing"]
    sections = [
        f"Machine: {machine['cores']} cores {machine['processor']}, {_gib(machine['memory_bytes'])},"
        f" {machine['system']},"
        f" Python {machine['python']}, {', '.join(f'{name} {value}' for name, value in machine['versions'].items())}."
        f" {machine['date']}. Load: {', '.join(f'{value:.2f} ({when})' for when, value in results['load'].items())}.",
        _indexing(indexing),
        _latency(results),
        _agreement(results),
        _process(results["process"]),
    ]
    return "\n\n".join(sections)


def _indexing(indexing: dict[str, Any]) -> str:
    documents = indexing["documents"]
    cost = _table(
        ("passages", "wall", "processor", "passages/s", "peak memory", "postings", "terms", "mean length"),
        [
            (
                f"{documents:,}",
                f"{indexing['seconds']:.1f} s",
                f"{indexing['cpu_seconds']:.1f} s",
                f"{documents / indexing['seconds']:,.0f}",
                f"{indexing['peak_bytes'] / 2**20:,.0f} MiB",
                f"{indexing['postings']:,}",
                f"{indexing['terms']:,}",
                f"{indexing['average_length']:.1f}",
            )
        ],
    )
    sizes: dict[str, int] = {}
    for path, size in indexing["bytes"].items():
        folder, _, file = path.partition("/")
        name = "ids and row numbers" if folder == "rows" else _STRUCTURES.get(file.removesuffix(".bin"), "headers")
        sizes[name] = sizes.get(name, 0) + size
    rows = sorted(sizes.items(), key=lambda item: -item[1])
    rows += [("**index**", indexing["index_bytes"]), ("**database** (texts, vocabulary)", indexing["database_bytes"])]
    size_table = _table(
        ("structure", "MB", "bytes a passage"),
        [(name, f"{size / 1e6:.1f}", f"{size / documents:.1f}") for name, size in rows],
    )
    loss = indexing["loss"]
    return (
        f"### Indexing (`lexhound index`, the whole process)\n\n{cost}\n\n{size_table}\n\n"
        f"8 bits move {loss['relative_error']:.2%} of the weights' mass."
    )


def _latency(results: dict[str, Any]) -> str:
    referee, alone, batches = results["referee"], results["alone"], results["throughput"]
    lines = [
        f"### Queries (k = {results['k']}, {results['questions']:,} questions,"
        f" {results['terms_per_question']:.1f} terms and {results['postings_per_question']:,.0f} postings each)",
    ]
    rows = []
    for name, own in results["latency"].items():
        other = own["referee"]
        ratio = f"{other['mean'] / own['mean']:.1f} ×" if other else ""
        rows.append(
            (f"lexhound, {name}", *_three(own), f"{alone[name]['p50']:,.0f} µs", _rate(batches.get(name)), ratio)
        )
        if other:
            last = (f"{referee['fastest']}, in turn with it", *_three(other))
            rows.append((*last, f"{alone[referee['fastest']]['p50']:,.0f} µs", _rate(batches[referee["fastest"]]), ""))
    lines.append(
        _table(
            (
                "one query on one thread",
                "p50",
                "p99",
                "mean",
                "alone p50",
                "questions/s, all cores",
                "mean, theirs / ours",
            ),
            rows,
        )
    )
    lines.append(
        f"A question's time is the median of {results['rounds']} rounds after a warm-up with {_warm_up(results)};"
        f" {results['without_known_terms']} questions without a known word are left out."
    )
    if results["warm_up"]:
        first = results["first_round"]
        lines[-1] += (
            f" In its first round, in turn, text to ids took {first['p50']:,.0f} µs (p50) and {first['p99']:,.0f} µs"
            " (p99): some words are then new to the process."
        )
    if referee is None:
        lines.append("bm25s is not installed, so there is nothing to compare with: pip install 'bm25s>=0.3,<0.4'.")
        return "\n\n".join(lines)
    lines.append(
        'bm25s gets token ids and returns rows: its tokenising is in none of its figures, and only "retrieval" does as'
        f" little. Its ways, one round: {_ways(referee['ways'], batches)}. It holds"
        f" {referee['index_bytes'] / results['indexing']['documents']:,.0f} bytes a passage in memory and took"
        f" {referee['build_seconds']:.1f} s from token ids to its index."
    )
    return "\n\n".join(lines)


def _three(latency: dict[str, float]) -> tuple[str, str, str]:
    return f"{latency['p50']:,.0f} µs", f"{latency['p99']:,.0f} µs", f"{latency['mean']:,.0f} µs"


def _rate(questions_a_second: float | None) -> str:
    return "" if questions_a_second is None else f"{questions_a_second:,.0f}"


def _ways(ways: dict[str, Any], batches: dict[str, float]) -> str:
    return "; ".join(
        f"{name} p50 {latency['p50']:,.0f} µs, p99 {latency['p99']:,.0f} µs,"
        f" {batches[name]:,.0f} questions/s on all cores"
        for name, latency in ways.items()
    )


def _warm_up(results: dict[str, Any]) -> str:
    return f"{results['warm_up']:,} other questions" if results["warm_up"] else "the same questions"


def _agreement(results: dict[str, Any]) -> str:
    title = "### Agreement with bm25s"
    found = results.get("agreement")
    if found is None:
        return f"{title}\n\nNot measured: bm25s is not installed."
    table = _table(
        ("questions", "same top 10", "same set", "overlap", "positions that differ", "equal scores", "unexplained"),
        [
            (
                f"{found['questions']:,}",
                f"{found['identical']:,}",
                f"{found['same_set']:,}",
                f"{found['overlap']:.4f}",
                f"{found['positions']:,}",
                f"{found['exact_ties']:,}",
                f"**{found['unexplained']}**",
            )
        ],
    )
    return (
        f"{title}\n\n{table}\n\nWhere the two name different passages at a position, their scores in bm25s (float32)"
        " lie within sum of count × idf × one step (1/255) of each other, or the position is unexplained; the widest"
        f" used {found['largest_share_of_bound']:.0%} of that bound. The largest error of a score was"
        f" {found['largest_score_error']:.0%} of half the bound. Questions whose order broke ours (score, then"
        f" insertion): {found['misordered']}."
    )


def _process(process: dict[str, Any]) -> str:
    rows = [
        (name, f"{process[f'{name}_median']:.2f} s", _range(process[name]), f"{len(process[name])}")
        for name in ("cold", "warm")
    ]
    return (
        "### One whole `lexhound search` process\n\n"
        + _table(("Numba cache", "median wall", "from, to", "processes"), rows)
        + f"\n\nPeak memory {process['peak_bytes'] / 2**20:,.0f} MiB, mapped files included."
    )


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.2f}, {max(values):.2f} s"


def _gib(size: int) -> str:
    return f"{size / 2**30:.0f} GiB"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
