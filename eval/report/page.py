"""The pages: an evaluation, and a comparison of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from lexhound.core.templates import render_page
from lexhound.core.version import __version__
from lexhound.eval.comparison import Comparison
from lexhound.eval.hardest import HardQuery
from lexhound.eval.results import Evaluation
from lexhound.eval.serialise import to_json

from . import charts, figures
from .environment import report_environment
from .tables import mean_rows, summary_groups


def render_evaluation(
    evaluation: Evaluation, comparisons: Mapping[str, Comparison], hardest: Sequence[HardQuery]
) -> str:
    """Return the report of an evaluation as one HTML page: the same text for the same results."""
    names = ", ".join(dict.fromkeys(dataset.group or dataset.label for dataset in evaluation.datasets))
    return render_page(
        report_environment(),
        "evaluation.html",
        title=f"Evaluation on {names}",
        lead=", ".join(evaluation.systems),
        sections={
            "results": "Results",
            "cost": "Quality against cost",
            "queries": "Query by query",
            "recall": "Recall by depth",
            "hardest": "Hardest queries",
            "data": "Data",
            "settings": "Settings",
        },
        evaluation=evaluation,
        comparisons=comparisons,
        hardest=hardest,
        cost=evaluation.parts[0].cost,
        notices=evaluation.notices(),
        groups=summary_groups(evaluation, comparisons),
        legend=charts.legend(evaluation.systems),
        cost_panels=figures.cost_panels(evaluation),
        query_values=[] if comparisons else figures.query_values(evaluation),
        query_differences=[
            (dataset.label, figures.query_differences(comparisons[dataset.name], dataset.queries, evaluation.systems))
            for dataset in evaluation.datasets
            if comparisons
        ],
        recall_charts=figures.recall_charts(evaluation),
        recall_tables=[
            (dataset.label, [evaluation.part(dataset.name, system) for system in evaluation.systems])
            for dataset in evaluation.datasets
        ],
        settings=_settings(evaluation),
    )


def render_comparison(comparison: Comparison) -> str:
    """Return the report of a comparison of runs as one HTML page."""
    runs = [run.name for run in comparison.runs]
    return render_page(
        report_environment(),
        "comparison.html",
        title=f"Comparison of {len(runs)} runs",
        lead=f"{', '.join(runs)} over {comparison.queries:,} judged queries",
        sections={
            "results": "Means",
            "differences": "Differences",
            "queries": "Query by query",
            "settings": "Settings",
        },
        comparison=comparison,
        means=mean_rows(comparison),
        pairs=figures.query_differences(comparison),
        settings=_json_text({"options": comparison.options, "lexhound": __version__}),
    )


def _settings(evaluation: Evaluation) -> str:
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
    return _json_text(
        {
            "systems": plain,
            "datasets": [{"name": dataset.name, "split": dataset.split} for dataset in evaluation.datasets],
            "options": evaluation.options,
            "environment": evaluation.environment,
        }
    )


def _json_text(value: Any) -> str:
    return orjson.dumps(to_json(value), option=orjson.OPT_INDENT_2).decode()
