"""The pages: an evaluation, and a comparison of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from lexhound.eval.comparison import Comparison
from lexhound.eval.datasets.dataset import Dataset
from lexhound.eval.hardest import HardQuery
from lexhound.eval.results import Evaluation, PartResult
from lexhound.eval.serialise import to_json
from lexhound.eval.workspace import our_version

from . import charts
from .markup import Child, Markup, join, tag
from .queries import changed_queries, hard_queries
from .script import SCRIPT, script_policy
from .style import STYLE
from .tables import differences_table, means_table, recall_table, summary_table

# What quality can be held against: a button's words, the attribute of a Cost, its factor, the axis.
_COST_AXES = (
    ("FLOPS", "flops", 1.0, "FLOPS"),
    ("latency", "p50_ms", 1.0, "p50 latency, ms"),
    ("index size", "index_bytes", 1e-6, "index, MB"),
    ("document dimensions", "document_dimensions", 1.0, "active dimensions of a document"),
)


def render_evaluation(
    evaluation: Evaluation, comparisons: Mapping[str, Comparison], hardest: Sequence[HardQuery]
) -> str:
    """The report of an evaluation as one HTML page: the same text for the same results."""
    names = ", ".join(dict.fromkeys(dataset.group or dataset.label for dataset in evaluation.datasets))
    sections = [
        ("results", "Results", _results(evaluation, comparisons)),
        ("cost", "Quality against cost", _quality_against_cost(evaluation)),
        ("queries", "Query by query", _by_query(evaluation, comparisons)),
        ("recall", "Recall by depth", _recall(evaluation)),
        ("hardest", "Hardest queries", _hardest(evaluation, hardest)),
        ("data", "Data", _data(evaluation.datasets)),
        ("settings", "Settings", _settings(evaluation)),
    ]
    return _page(f"Evaluation on {names}", ", ".join(evaluation.systems), sections)


def render_comparison(comparison: Comparison) -> str:
    """The report of a comparison of runs as one HTML page."""
    runs = [run.name for run in comparison.runs]
    pairs = list(dict.fromkeys((row.baseline, row.system) for row in comparison.differences))
    sections = [
        ("results", "Means", join(_notices(comparison.notices), means_table(comparison), _dagger())),
        ("differences", "Differences", join(differences_table(comparison), _tests(comparison))),
        ("queries", "Query by query", join([_pair(comparison, *pair) for pair in pairs])),
        ("settings", "Settings", _json({"options": comparison.options, "lexhound": our_version()})),
    ]
    lead = f"{', '.join(runs)} over {comparison.queries:,} judged queries"
    return _page(f"Comparison of {len(runs)} runs", lead, sections)


def _page(title: str, lead: str, sections: Sequence[tuple[str, str, Markup]]) -> str:
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=script_policy()),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        tag("style", Markup(STYLE)),
    )
    body = tag(
        "body",
        tag("header", tag("h1", title), tag("p", lead, class_="lead"), class_="top"),
        tag(
            "nav",
            tag("ul", [tag("li", tag("a", name, href=f"#{key}")) for key, name, _ in sections]),
            aria_label="Sections",
        ),
        tag("main", [tag("section", tag("h2", name), content, id=key) for key, name, content in sections]),
        tag("footer", tag("p", f"Made by Lexhound {our_version()}. This file holds everything it shows.")),
        tag("script", Markup(SCRIPT)),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _results(evaluation: Evaluation, comparisons: Mapping[str, Comparison]) -> Markup:
    cost = evaluation.parts[0].cost
    notices = [f"{dataset.label}: {notice}" for dataset in evaluation.datasets for notice in dataset.report.notices()]
    note = (
        f"Latencies are of {cost.latency_queries:,} single queries, {cost.latency_depth} documents each; queries/s "
        f"is of all queries as one batch, {cost.depth:,} documents each, on {cost.threads} threads."
    )
    return join(
        _notices(notices),
        summary_table(evaluation, comparisons),
        _dagger() if comparisons else None,
        tag("p", note, class_="note"),
        [
            join(tag("h3", f"Differences on {name}"), differences_table(comparison))
            for name, comparison in comparisons.items()
        ],
        _tests(next(iter(comparisons.values()))) if comparisons else None,
    )


def _dagger() -> Markup:
    return tag(
        "p",
        tag("sup", "†", class_="sure"),
        " differs from the first system with p ≤ 0.05: randomisation test, corrected by Holm's method.",
        class_="note",
    )


def _tests(comparison: Comparison) -> Markup:
    options = comparison.options
    return tag(
        "p",
        f"Paired, two-sided tests over queries: Student's t, and Fisher's randomisation with "
        f"{options.permutations:,} permutations. Intervals: {options.resamples:,} bootstrap samples. Seed "
        f"{options.seed}. Holm's correction is over the comparisons of one measure on one data set.",
        class_="note",
    )


def _quality_against_cost(evaluation: Evaluation) -> Markup:
    measure = evaluation.measures[0]
    known = [axis for axis in _COST_AXES if all(getattr(part.cost, axis[1]) is not None for part in evaluation.parts)]
    panels = [
        tag(
            "div",
            [_scatter(evaluation, dataset, measure, axis) for dataset in evaluation.datasets],
            class_="charts",
            id=f"cost-{axis[1]}",
            hidden=place > 0,
        )
        for place, axis in enumerate(known)
    ]
    buttons = tag(
        "div",
        [
            tag(
                "button",
                axis[0],
                type="button",
                data_shows=f"cost-{axis[1]}",
                aria_pressed="true" if place == 0 else "false",
            )
            for place, axis in enumerate(known)
        ],
        class_="switch scripted",
        role="group",
        aria_label="Cost",
    )
    return join(
        tag("p", f"{measure} against what it costs: up and to the left is better.", class_="note"),
        buttons,
        charts.legend(evaluation.systems),
        panels,
    )


def _scatter(evaluation: Evaluation, dataset: Dataset, measure: str, axis: tuple[str, str, float, str]) -> Markup:
    points = []
    for place, system in enumerate(evaluation.systems):
        part = evaluation.part(dataset.name, system)
        value = getattr(part.cost, axis[1]) * axis[2]
        points.append(charts.Point(system, place, value, part.mean(measure)))
    title = f"{measure} against {axis[3]} on {dataset.label}"
    return tag(
        "figure",
        tag("figcaption", dataset.label),
        charts.scatter(points, x_label=axis[3], y_label=measure, title=title),
    )


def _by_query(evaluation: Evaluation, comparisons: Mapping[str, Comparison]) -> Markup:
    if not comparisons:
        return join(
            [
                _values(dataset, evaluation.part(dataset.name, evaluation.systems[0]), evaluation.measures[0])
                for dataset in evaluation.datasets
            ]
        )
    blocks: list[Child] = []
    for dataset in evaluation.datasets:
        comparison = comparisons[dataset.name]
        if len(evaluation.datasets) > 1:
            blocks.append(tag("h3", dataset.label))
        for pair in dict.fromkeys((row.baseline, row.system) for row in comparison.differences):
            blocks.append(_pair(comparison, *pair, queries=dataset.queries))
    return join(blocks)


def _values(dataset: Dataset, part: PartResult, measure: str) -> Markup:
    """One system alone: the value of every query instead of differences."""
    values = part.of(measure).per_query
    drawn = [charts.Bar(f"{dataset.queries.get(key, '')[:120]} ({key})", value) for key, value in values.items()]
    empty = sum(1 for value in values.values() if value == 0)
    title = f"{measure} of every query on {dataset.label}"
    return tag(
        "figure",
        tag("figcaption", f"{dataset.label}: {measure} of {len(values):,} queries, {empty:,} of them at 0"),
        charts.bars(drawn, title=title, high_label="best query", low_label="worst query"),
    )


def _pair(comparison: Comparison, baseline: str, system: str, *, queries: Mapping[str, str] | None = None) -> Markup:
    first, second = comparison.per_query[baseline][0], comparison.per_query[system][0]
    known = dict(queries or {})
    changed = [entry for entry in comparison.changed if (entry.baseline, entry.system) == (baseline, system)]
    known.update({entry.query_id: entry.text for entry in changed if entry.text})
    drawn = [
        charts.Bar(f"{known.get(key, '')[:120]} ({key})", second.per_query[key] - value)
        for key, value in first.per_query.items()
    ]
    title = f"{first.measure} of {system} minus {baseline}, query by query"
    return join(
        tag(
            "figure",
            tag("figcaption", title),
            charts.bars(drawn, title=title, high_label=f"{system} is better", low_label=f"{baseline} is better"),
        ),
        tag("h3", "The queries that changed most"),
        changed_queries(changed),
    )


def _recall(evaluation: Evaluation) -> Markup:
    panels = []
    for dataset in evaluation.datasets:
        lines = [
            charts.Line(system, place, evaluation.part(dataset.name, system).recall)
            for place, system in enumerate(evaluation.systems)
        ]
        title = f"Recall by depth on {dataset.label}"
        panels.append(
            tag(
                "figure",
                tag("figcaption", dataset.label),
                charts.curves(lines, x_label="documents looked at", y_label="recall", title=title),
            )
        )
    tables = [
        tag(
            "details",
            tag("summary", tag("span", f"The values on {dataset.label}", class_="question")),
            tag("div", recall_table(evaluation, dataset.name), class_="inside"),
        )
        for dataset in evaluation.datasets
    ]
    return join(
        tag("p", "The share of the relevant documents among the first documents of a ranking.", class_="note"),
        charts.legend(evaluation.systems),
        tag("div", panels, class_="charts"),
        tables,
    )


def _hardest(evaluation: Evaluation, hardest: Sequence[HardQuery]) -> Markup:
    measure = evaluation.measures[0]
    blocks: list[Child] = [
        tag(
            "p",
            f"The lowest {measure} over all systems. Open a query to see what was retrieved and what should have been.",
            class_="note",
        )
    ]
    for dataset in evaluation.datasets:
        if len(evaluation.datasets) > 1:
            blocks.append(tag("h3", dataset.label))
        blocks.append(hard_queries([query for query in hardest if query.dataset == dataset.name]))
    return join(blocks)


def _data(datasets: Sequence[Dataset]) -> Markup:
    blocks = []
    for dataset in datasets:
        report = dataset.report
        facts = [
            ("judged queries", f"{report.queries:,}"),
            ("judgments", f"{report.judgments:,}, of which {report.relevant:,} relevant"),
            ("other queries in the file", f"{report.unjudged_queries:,}"),
            ("judged documents not in the corpus", _count(report.missing_documents)),
            ("rows of the corpus that could not be read", _count(report.broken_documents)),
        ]
        blocks.append(
            join(
                tag("h3", dataset.label),
                _notices(report.notices()),
                tag("dl", [join(tag("dt", name), tag("dd", value)) for name, value in facts], class_="terms"),
                tag("ul", [tag("li", example) for example in report.examples], class_="note")
                if report.examples
                else None,
            )
        )
    return join(blocks)


def _count(value: int | None) -> str:
    return "not looked for" if value is None else f"{value:,}"


def _settings(evaluation: Evaluation) -> Markup:
    systems: dict[str, Any] = {}
    for part in evaluation.parts:
        systems.setdefault(part.system, {})[part.dataset] = part.settings
    # Settings are usually the same on every data set: say them once.
    plain = {
        name: next(iter(by_set.values()))
        if all(settings == next(iter(by_set.values())) for settings in by_set.values())
        else by_set
        for name, by_set in systems.items()
    }
    return join(
        tag("p", "What repeats this evaluation: systems, options, versions.", class_="note"),
        _json(
            {
                "systems": plain,
                "datasets": [{"name": dataset.name, "split": dataset.split} for dataset in evaluation.datasets],
                "options": evaluation.options,
                "environment": evaluation.environment,
            }
        ),
    )


def _json(value: Any) -> Markup:
    text = orjson.dumps(to_json(value), option=orjson.OPT_INDENT_2).decode()
    return tag("pre", tag("code", text), tabindex=0)


def _notices(notices: Sequence[str]) -> Markup | None:
    return tag("ul", [tag("li", notice) for notice in notices], class_="notices") if notices else None
