"""The charts of a report: quality against cost, recall by depth, and single queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lexhound.eval.comparison import ChangedQuery, Comparison
from lexhound.eval.datasets.dataset import Dataset
from lexhound.eval.results import Evaluation

from . import charts

# What quality can be held against: a button's words, the attribute of a Cost, its factor, the axis.
_COST_AXES = (
    ("FLOPS", "flops", 1.0, "FLOPS"),
    ("latency", "p50_ms", 1.0, "p50 latency, ms"),
    ("index size", "index_bytes", 1e-6, "index, MB"),
    ("document dimensions", "document_dimensions", 1.0, "active dimensions of a document"),
)


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart with the caption above it."""

    title: str
    svg: Markup


@dataclass(frozen=True, slots=True)
class CostPanel:
    """Charts of quality against one cost, one for each data set; a button of this name shows them."""

    key: str
    name: str
    charts: tuple[Chart, ...]


def cost_panels(evaluation: Evaluation) -> list[CostPanel]:
    """Return the charts of quality against each cost that is known of every part."""
    return [
        CostPanel(
            attribute,
            name,
            tuple(_scatter(evaluation, dataset, attribute, factor, axis) for dataset in evaluation.datasets),
        )
        for name, attribute, factor, axis in _COST_AXES
        if all(getattr(part.cost, attribute) is not None for part in evaluation.parts)
    ]


def _scatter(evaluation: Evaluation, dataset: Dataset, attribute: str, factor: float, axis: str) -> Chart:
    measure = evaluation.measures[0]
    points = []
    for number, system in enumerate(evaluation.systems):
        part = evaluation.part(dataset.name, system)
        points.append(charts.Point(system, number, getattr(part.cost, attribute) * factor, part.mean(measure)))
    title = f"{measure} against {axis} on {dataset.label}"
    return Chart(dataset.label, charts.scatter(points, x_label=axis, y_label=measure, title=title))


def recall_charts(evaluation: Evaluation) -> list[Chart]:
    """Return the curves of recall by depth, one chart for each data set."""
    return [
        Chart(
            dataset.label,
            charts.curves(
                [
                    charts.Line(system, number, evaluation.part(dataset.name, system).recall)
                    for number, system in enumerate(evaluation.systems)
                ],
                x_label="documents looked at",
                y_label="recall",
                title=f"Recall by depth on {dataset.label}",
            ),
        )
        for dataset in evaluation.datasets
    ]


def query_values(evaluation: Evaluation) -> list[Chart]:
    """Return the value of every query for the first system: what one system alone shows instead of differences."""
    measure = evaluation.measures[0]
    return [_values(evaluation, dataset, measure) for dataset in evaluation.datasets]


def _values(evaluation: Evaluation, dataset: Dataset, measure: str) -> Chart:
    values = evaluation.part(dataset.name, evaluation.systems[0]).of(measure).per_query
    drawn = [charts.Bar(f"{dataset.queries.get(key, '')[:120]} ({key})", value) for key, value in values.items()]
    empty = sum(1 for value in values.values() if value == 0)
    return Chart(
        f"{dataset.label}: {measure} of {len(values):,} queries, {empty:,} of them at 0",
        charts.bars(
            drawn,
            title=f"{measure} of every query on {dataset.label}",
            high=charts.Direction("best query", 0),
            low=charts.Direction("worst query", 0),
        ),
    )


def query_differences(
    comparison: Comparison, queries: Mapping[str, str] | None = None, systems: Sequence[str] | None = None
) -> list[tuple[Chart, Sequence[ChangedQuery]]]:
    """Return for each pair of runs the differences of all queries, and the queries that changed most.

    A bar has the colour of the system that is better, by its place among `systems`: that of the other charts.
    """
    pairs = dict.fromkeys((row.baseline, row.system) for row in comparison.differences)
    numbers = {name: number for number, name in enumerate(systems or comparison.per_query)}
    return [_pair(comparison, *pair, queries or {}, numbers) for pair in pairs]


def _pair(
    comparison: Comparison, baseline: str, system: str, queries: Mapping[str, str], numbers: Mapping[str, int]
) -> tuple[Chart, Sequence[ChangedQuery]]:
    first, second = comparison.per_query[baseline][0], comparison.per_query[system][0]
    changed = [entry for entry in comparison.changed if (entry.baseline, entry.system) == (baseline, system)]
    texts = {**queries, **{entry.query_id: entry.text for entry in changed if entry.text}}
    drawn = [
        charts.Bar(f"{texts.get(key, '')[:120]} ({key})", second.per_query[key] - value)
        for key, value in first.per_query.items()
    ]
    title = f"{first.measure} of {system} minus {baseline}, query by query"
    svg = charts.bars(
        drawn,
        title=title,
        high=charts.Direction(f"{system} is better", numbers.get(system, 0)),
        low=charts.Direction(f"{baseline} is better", numbers.get(baseline, 0)),
    )
    return Chart(title, svg), changed
