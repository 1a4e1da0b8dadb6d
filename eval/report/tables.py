"""The tables of a report: quality beside cost, means of runs, differences with their tests."""

from __future__ import annotations

from collections.abc import Mapping

from lexhound.eval.comparison import Comparison, Difference
from lexhound.eval.cost import Cost
from lexhound.eval.results import Evaluation

from . import charts
from .markup import Markup, join, tag
from .numbers import DASH, figure, megabytes, milliseconds, p_value, quality, signed

COSTS = (
    ("dims. doc.", "mean number of non-zero weights of a document"),
    ("dims. query", "mean number of weighted terms of a query"),
    ("FLOPS", "expected overlapping products of a query and a document"),
    ("queries/s", "throughput of all queries as one batch at full depth"),
    ("p50 ms", "median latency of single queries"),
    ("p99 ms", "99th percentile of the latency of single queries"),
    ("index MB", "bytes of the index on disk"),
    ("encode s", "seconds from the corpus to a finished index"),
)

# A difference is marked where the corrected p-value is at most this.
ALPHA = 0.05


def summary_table(evaluation: Evaluation, comparisons: Mapping[str, Comparison]) -> Markup:
    """Every system on every data set: measures, then costs. The best figure of a set is set apart."""
    measures = evaluation.measures
    head = tag(
        "tr",
        _head("system", sortable=True),
        [_head(measure, sortable=True) for measure in measures],
        [
            _head(name, title=title, class_="split cost" if place == 0 else "cost", sortable=True)
            for place, (name, title) in enumerate(COSTS)
        ],
    )
    columns = 1 + len(measures) + len(COSTS)
    bodies = []
    for dataset in evaluation.datasets:
        parts = [evaluation.part(dataset.name, system) for system in evaluation.systems]
        best = {measure: max(part.mean(measure) for part in parts) for measure in measures}
        marked = sure_differences(comparisons.get(dataset.name))
        rows = [
            tag(
                "tr",
                tag("th", part.system, scope="row"),
                [
                    _quality_cell(
                        part.mean(measure),
                        best=len(parts) > 1 and part.mean(measure) == best[measure],
                        sure=(part.system, measure) in marked,
                    )
                    for measure in measures
                ],
                cost_cells(part.cost),
            )
            for part in parts
        ]
        words = f"{dataset.label}: {dataset.report.queries:,} queries, {parts[0].cost.documents:,} documents"
        bodies.append(tag("tbody", _set_row(words, columns), rows))
    sets = evaluation.sets()
    if len(evaluation.datasets) > 1:
        for name, members in sets.items():
            if len(members) > 1:
                bodies.append(_mean_rows(evaluation, f"{name}: mean of its {len(members)} parts", columns, name))
    if len(sets) > 1:
        bodies.append(_mean_rows(evaluation, f"mean over {len(sets)} data sets", columns, None))
    return tag(
        "div",
        tag("table", tag("thead", head), bodies, class_="sortable"),
        class_="scroll",
        tabindex=0,
        role="region",
        aria_label="Table",
    )


def _mean_rows(evaluation: Evaluation, words: str, columns: int, name: str | None) -> Markup:
    means = {
        system: {
            measure: evaluation.mean(system, measure) if name is None else evaluation.set_mean(name, system, measure)
            for measure in evaluation.measures
        }
        for system in evaluation.systems
    }
    best = {measure: max(row[measure] for row in means.values()) for measure in evaluation.measures}
    rows = [
        tag(
            "tr",
            tag("th", system, scope="row"),
            [
                _quality_cell(value, best=len(means) > 1 and value == best[measure], sure=False)
                for measure, value in row.items()
            ],
            _mean_costs(evaluation, system, name),
            class_="mean",
        )
        for system, row in means.items()
    ]
    return tag("tbody", _set_row(words, columns), rows)


def _mean_costs(evaluation: Evaluation, system: str, name: str | None) -> list[Markup]:
    """Means of the costs over the same data sets, so that no quality figure stands without one."""
    return cost_cells(evaluation.mean_cost(system, name))


def cost_cells(cost: Cost) -> list[Markup]:
    """The cells of a cost."""
    return [
        _cell(figure(cost.document_dimensions), cost.document_dimensions, "split cost"),
        _cell(figure(cost.query_dimensions), cost.query_dimensions, "cost"),
        _cell(figure(cost.flops, 2), cost.flops, "cost"),
        _cell(figure(cost.queries_per_second, 0), cost.queries_per_second, "cost"),
        _cell(milliseconds(cost.p50_ms), cost.p50_ms, "cost"),
        _cell(milliseconds(cost.p99_ms), cost.p99_ms, "cost"),
        _cell(megabytes(cost.index_bytes), cost.index_bytes, "cost"),
        _cell(figure(cost.encoding_seconds), cost.encoding_seconds, "cost"),
    ]


def means_table(comparison: Comparison) -> Markup:
    """The means of runs that are compared."""
    best = {measure: max(run.means[measure] for run in comparison.runs) for measure in comparison.measures}
    marked = sure_differences(comparison)
    head = tag(
        "tr",
        _head("run", sortable=True),
        [_head(measure, sortable=True) for measure in comparison.measures],
        _head("unanswered", title="compared queries without any result", sortable=True),
    )
    rows = [
        tag(
            "tr",
            tag("th", run.name, scope="row"),
            [
                _quality_cell(value, best=value == best[measure], sure=(run.name, measure) in marked)
                for measure, value in run.means.items()
            ],
            _cell(f"{run.unanswered:,}", run.unanswered, ""),
        )
        for run in comparison.runs
    ]
    return tag(
        "div",
        tag("table", tag("thead", head), tag("tbody", rows), class_="sortable"),
        class_="scroll",
        tabindex=0,
        role="region",
        aria_label="Table",
    )


def differences_table(comparison: Comparison) -> Markup:
    """Every difference with its interval, its tests, and in how many queries who wins."""
    reach = max((max(abs(row.interval.low), abs(row.interval.high)) for row in comparison.differences), default=0.0)
    confidence = f"{comparison.options.confidence:.0%}"
    head = tag(
        "tr",
        _head("measure", class_="text"),
        _head("system", class_="text"),
        _head("against", class_="text"),
        _head("difference"),
        _head(f"{confidence} interval", title="bootstrap over queries"),
        _head(""),
        _head("t", title="Student's t-test, paired, two-sided"),
        _head("t, Holm", title="the t-test's p-value, corrected for the number of comparisons"),
        _head("random.", title="Fisher's test, two-sided"),
        _head("random., Holm", title="the randomisation test's p-value, corrected for the number of comparisons"),
        _head("wins / ties / losses"),
    )
    rows = [tag("tr", _difference_cells(row, reach or 1.0)) for row in comparison.differences]
    return tag(
        "div",
        tag("table", tag("thead", head), tag("tbody", rows)),
        class_="scroll",
        tabindex=0,
        role="region",
        aria_label="Table",
    )


def _difference_cells(row: Difference, reach: float) -> Markup:
    sure = tag("sup", "†", class_="sure") if row.randomisation_holm <= ALPHA else None
    return join(
        tag("td", row.measure, class_="text"),
        tag("td", row.system, class_="text"),
        tag("td", row.baseline, class_="text"),
        tag("td", signed(row.difference), sure),
        tag("td", f"{signed(row.interval.low)} … {signed(row.interval.high)}"),
        tag("td", charts.interval(row.interval.low, row.difference, row.interval.high, reach)),
        tag("td", p_value(row.t_test)),
        tag("td", p_value(row.t_test_holm)),
        tag("td", p_value(row.randomisation)),
        tag("td", p_value(row.randomisation_holm)),
        tag("td", f"{row.wins:,} / {row.ties:,} / {row.losses:,}"),
    )


def recall_table(evaluation: Evaluation, dataset: str) -> Markup:
    """The values behind the curves of recall by depth."""
    parts = [evaluation.part(dataset, system) for system in evaluation.systems]
    head = tag("tr", _head("system"), [_head(f"@{depth:,}") for depth, _ in parts[0].recall])
    rows = [
        tag("tr", tag("th", part.system, scope="row"), [tag("td", f"{value:.4f}") for _, value in part.recall])
        for part in parts
    ]
    return tag(
        "div",
        tag("table", tag("thead", head), tag("tbody", rows)),
        class_="scroll",
        tabindex=0,
        role="region",
        aria_label="Table",
    )


def sure_differences(comparison: Comparison | None) -> set[tuple[str, str]]:
    """(system, measure) where the difference from the first system survives Holm's correction."""
    if comparison is None:
        return set()
    baseline = comparison.runs[0].name
    return {
        (row.system, row.measure)
        for row in comparison.differences
        if row.baseline == baseline and row.randomisation_holm <= ALPHA
    }


def _set_row(words: str, columns: int) -> Markup:
    return tag("tr", tag("th", words, colspan=columns, scope="rowgroup"), class_="set")


def _head(name: str, *, title: str = "", class_: str = "", sortable: bool = False) -> Markup:
    return tag(
        "th",
        tag("button", name, type="button") if sortable else name,
        scope="col",
        title=title or None,
        class_=class_ or None,
        aria_sort="none" if sortable else None,
    )


def _quality_cell(value: float, *, best: bool, sure: bool) -> Markup:
    return tag(
        "td",
        quality(value),
        tag("sup", "†", class_="sure") if sure else None,
        class_="best" if best else None,
        data_value=f"{value:.9g}",
    )


def _cell(text: str, value: float | None, name: str) -> Markup:
    return tag("td", text, class_=name or None, data_value=None if text == DASH or value is None else f"{value:.9g}")
