"""A page of a training run's curves: one HTML file without outside assets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

_WIDTH, _HEIGHT, _LEFT, _BELOW = 520, 200, 56, 24
_POINTS = 400  # a curve is averaged down to so many
_SHOWN = (
    ("loss", "Loss"), ("kl", "KL divergence from the teachers"), ("agreement", "Agreement on the best document"),
    ("active", "Terms a document"), ("flops", "FLOPS"), ("dense", "Distance of the dense vector"),
    ("gradient", "Norm of the gradient"), ("seconds", "Seconds a step"),
)  # fmt: skip
_STYLE = """
:root { color-scheme: light dark; --line: #2563eb; --grid: #8884; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1.5rem; }
figure { margin: 0; } figcaption { font-weight: 600; } svg { width: 100%; height: auto; }
polyline { fill: none; stroke: var(--line); stroke-width: 1.5; } circle { fill: var(--line); }
line { stroke: var(--grid); } text { fill: currentColor; font-size: 11px; }
"""


def write_curves(log: Path, page: Path, name: str) -> None:
    """Draw the curves of a run's log, JSON Lines of steps and validations."""
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.is_file() else []
    figures = []
    validations = sorted({key for record in records for key in record if key.startswith("validation ")})
    for key, title in ((key, key.removeprefix("validation ").capitalize() + ", nDCG@10") for key in validations):
        figures.append(_figure(title, _points(records, key), dots=True))
    figures += [_figure(title, _averaged(_points(records, key))) for key, title in _SHOWN if _points(records, key)]
    steps = max((int(record["step"]) for record in records), default=0)
    page.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(name)}: training</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f"<h1>{escape(name)}</h1><p>{steps:,} steps</p><main>{''.join(figures)}</main></html>\n",
        encoding="utf-8",
    )


def _points(records: Sequence[Mapping[str, float]], key: str) -> list[tuple[float, float]]:
    return [(record["step"], record[key]) for record in records if key in record]


def _averaged(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    size = -(-len(points) // _POINTS)
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return [(part[-1][0], sum(value for _, value in part) / len(part)) for part in parts]


def _figure(title: str, points: list[tuple[float, float]], *, dots: bool = False) -> str:
    low, high = min(value for _, value in points), max(value for _, value in points)
    last = max(step for step, _ in points) or 1
    spread = high - low or 1.0

    def place(step: float, value: float) -> tuple[float, float]:
        across = _LEFT + (_WIDTH - _LEFT - 8) * step / last
        return across, 8 + (_HEIGHT - _BELOW - 16) * (1 - (value - low) / spread)

    placed = [place(*point) for point in points]
    path = " ".join(f"{across:.1f},{down:.1f}" for across, down in placed)
    marks = "".join(
        f'<circle cx="{across:.1f}" cy="{down:.1f}" r="3"><title>step {step:.0f}: {value:.4f}</title></circle>'
        for (across, down), (step, value) in zip(placed, points, strict=True)
        if dots
    )
    grid = "".join(
        f'<line x1="{_LEFT}" x2="{_WIDTH - 8}" y1="{down:.1f}" y2="{down:.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{down + 4:.1f}" text-anchor="end">{value:.4g}</text>'
        for value, (_, down) in ((value, place(0, value)) for value in (low, (low + high) / 2, high))
    )
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">{grid}'
        f'<polyline points="{path}"/>{marks}'
        f'<text x="{_WIDTH - 8}" y="{_HEIGHT - 6}" text-anchor="end">step {last:,.0f}</text></svg></figure>'
    )
