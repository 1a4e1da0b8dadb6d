"""The rows of a report's tables: quality beside cost, and the means of runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from lexhound.eval.comparison import Comparison, RunFigures
from lexhound.eval.cost import Cost
from lexhound.eval.results import Evaluation

from .numbers import figure, megabytes, milliseconds

# A difference is marked where the corrected p-value is at most this.
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class CostColumn:
    """A column of costs: its heading, its explanation, the value and the text of a cell."""

    name: str
    title: str
    value: Callable[[Cost], float | None]
    write: Callable[[Any], str] = figure


def _column(name: str, attribute: str, title: str, write: Callable[[Any], str] = figure) -> CostColumn:
    return CostColumn(name, title, attrgetter(attribute), write)


COSTS = (
    _column("dims. doc.", "document_dimensions", "mean number of non-zero weights of a document"),
    _column("dims. query", "query_dimensions", "mean number of weighted terms of a query"),
    _column(
        "FLOPS", "flops", "expected overlapping products of a query and a document", lambda value: figure(value, 2)
    ),
    _column(
        "queries/s",
        "queries_per_second",
        "throughput of all queries as one batch at full depth",
        lambda value: figure(value, 0),
    ),
    _column("p50 ms", "p50_ms", "median latency of single queries", milliseconds),
    _column("p99 ms", "p99_ms", "99th percentile of the latency of single queries", milliseconds),
    _column("index MB", "index_bytes", "bytes of the index on disk", megabytes),
    _column("encode s", "encoding_seconds", "seconds from the corpus to a finished index"),
)


@dataclass(frozen=True, slots=True)
class QualityCell:
    """A mean: whether it is the best of its column, and whether it differs from the first system for sure."""

    value: float
    best: bool
    sure: bool = False


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """A system: its means in the order of the measures, and its cost."""

    system: str
    cells: tuple[QualityCell, ...]
    cost: Cost


@dataclass(frozen=True, slots=True)
class SummaryGroup:
    """The systems on one data set, or their means over several."""

    title: str
    rows: tuple[SummaryRow, ...]
    is_mean: bool = False


def summary_groups(evaluation: Evaluation, comparisons: Mapping[str, Comparison]) -> list[SummaryGroup]:
    """Return every system on every data set, then the means over parts of sets and over sets."""
    groups = []
    for dataset in evaluation.datasets:
        parts = [evaluation.part(dataset.name, system) for system in evaluation.systems]
        means = {part.system: {measure: part.mean(measure) for measure in evaluation.measures} for part in parts}
        cells = _cells(means, sure_differences(comparisons.get(dataset.name)))
        title = f"{dataset.label}: {dataset.report.queries:,} queries, {parts[0].cost.documents:,} documents"
        groups.append(
            SummaryGroup(title, tuple(SummaryRow(part.system, cells[part.system], part.cost) for part in parts))
        )
    sets = evaluation.sets()
    if len(evaluation.datasets) > 1:
        for name, members in sets.items():
            if len(members) > 1:
                groups.append(_mean_group(evaluation, f"{name}: mean of its {len(members)} parts", name))
    if len(sets) > 1:
        groups.append(_mean_group(evaluation, f"mean over {len(sets)} data sets", None))
    return groups


def _mean_group(evaluation: Evaluation, title: str, name: str | None) -> SummaryGroup:
    """Return the means of quality and cost over the same data sets: no quality figure stands without its cost."""
    means = {
        system: {
            measure: evaluation.mean(system, measure) if name is None else evaluation.set_mean(name, system, measure)
            for measure in evaluation.measures
        }
        for system in evaluation.systems
    }
    cells = _cells(means, set())
    rows = (SummaryRow(system, cells[system], evaluation.mean_cost(system, name)) for system in means)
    return SummaryGroup(title, tuple(rows), is_mean=True)


def _cells(means: Mapping[str, Mapping[str, float]], sure: set[tuple[str, str]]) -> dict[str, tuple[QualityCell, ...]]:
    """Return the cells of each system; the best of several systems is set apart."""
    best = {measure: max(row[measure] for row in means.values()) for row in means.values() for measure in row}
    return {
        system: tuple(
            QualityCell(value, len(means) > 1 and value == best[measure], (system, measure) in sure)
            for measure, value in row.items()
        )
        for system, row in means.items()
    }


def mean_rows(comparison: Comparison) -> list[tuple[RunFigures, tuple[QualityCell, ...]]]:
    """Return the compared runs with the cells of their means."""
    cells = _cells({run.name: run.means for run in comparison.runs}, sure_differences(comparison))
    return [(run, cells[run.name]) for run in comparison.runs]


def sure_differences(comparison: Comparison | None) -> set[tuple[str, str]]:
    """Return (system, measure) where the difference from the first system survives Holm's correction."""
    if comparison is None:
        return set()
    baseline = comparison.runs[0].name
    return {
        (row.system, row.measure)
        for row in comparison.differences
        if row.baseline == baseline and row.randomisation_holm <= ALPHA
    }
