"""The templates of the reports, their filters, and the style sheet and script that every page holds."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup

from lexhound.core.templates import template_environment
from lexhound.core.version import __version__
from lexhound.eval.comparison import Comparison, Difference
from lexhound.eval.hardest import HardQuery, WantedDocument

from . import charts
from .numbers import p_value, quality, shorten, signed
from .tables import ALPHA, COSTS

_FOLDER = Path(__file__).parent


@cache
def report_environment() -> Environment:
    """Return the environment of the report's templates."""
    environment = template_environment(_FOLDER / "templates")
    environment.filters.update(
        exact=lambda value: f"{value:.9g}",
        fixed=lambda value: f"{value:.4f}",
        interval_chart=_interval_chart,
        p_value=p_value,
        quality=quality,
        ranks_of=_ranks_of,
        shorten=shorten,
        signed=signed,
        thousands=lambda value: "not looked for" if value is None else f"{value:,}",
        values_of=_values_of,
    )
    script = static_file("report.js")
    environment.globals.update(
        alpha=ALPHA,
        costs=COSTS,
        content_policy=content_policy(script),
        script=script,
        style=static_file("report.css"),
        version=__version__,
    )
    return environment


@cache
def static_file(name: str) -> Markup:
    """Return a style sheet or a script of the report, to be put into a page as it is."""
    return Markup((_FOLDER / "static" / name).read_text(encoding="utf-8"))  # noqa: S704  a file of ours


def content_policy(script: str) -> str:
    """Return the page's content security policy: no network at all, and no script but ours."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = (
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        f"script-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return "; ".join(allowed)


def _interval_chart(row: Difference, comparison: Comparison) -> Markup:
    reach = max(max(abs(each.interval.low), abs(each.interval.high)) for each in comparison.differences)
    return charts.interval(row.interval.low, row.difference, row.interval.high, reach or 1.0)


def _values_of(entry: HardQuery) -> str:
    """Return the values of all systems, said once where they are equal."""
    values = [f"{value:.4f}" for value in entry.values.values()]
    if len(set(values)) > 1:
        return ", ".join(f"{system} {value}" for system, value in zip(entry.values, values, strict=True))
    return values[0] if len(values) == 1 else f"{values[0]} for all"


def _ranks_of(document: WantedDocument) -> str:
    """Return the rank at which each system has a relevant document."""
    several = len(document.ranks) > 1
    return ", ".join(
        (f"{system} " if several else "") + ("not found" if rank is None else f"at rank {rank:,}")
        for system, rank in document.ranks.items()
    )
