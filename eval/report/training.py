"""A page of a training run's curves: one HTML file without outside assets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lexhound.core.templates import render_page
from lexhound.training.log import TrainingLog

from .environment import report_environment, static_file

WIDTH, HEIGHT, LEFT, BELOW = 520, 200, 56, 24
_POINTS = 400  # a curve is averaged down to so many
_SHOWN = (
    ("loss", "Loss"), ("kl", "KL divergence from the teachers"), ("agreement", "Agreement on the best document"),
    ("active", "Terms a document"), ("flops", "FLOPS"), ("dense", "Distance of the dense vector"),
    ("gradient", "Norm of the gradient"), ("seconds", "Seconds a step"),
)  # fmt: skip


@dataclass(frozen=True)
class Curve:
    """One figure over the steps of a run; every point has a mark where `dots` is true."""

    title: str
    points: Sequence[tuple[float, float]]
    dots: bool = False

    def x(self, step: float) -> float:
        """Return the place of a step, in pixels from the left."""
        return LEFT + (WIDTH - LEFT - 8) * step / self.last

    def y(self, value: float) -> float:
        """Return the place of a value, in pixels from the top."""
        low, high = self.limits
        return 8 + (HEIGHT - BELOW - 16) * (1 - (value - low) / (high - low or 1.0))

    @cached_property
    def last(self) -> float:
        """The last step."""
        return max(step for step, _ in self.points) or 1

    @cached_property
    def limits(self) -> tuple[float, float]:
        """The smallest and the greatest value."""
        values = [value for _, value in self.points]
        return min(values), max(values)

    @property
    def ticks(self) -> tuple[float, float, float]:
        """The values that have a line."""
        low, high = self.limits
        return low, (low + high) / 2, high


def write_curves(log: Path, page: Path, name: str) -> None:
    """Draw the curves of a run's log, JSON Lines of steps and validations, into a page."""
    records = TrainingLog(log).read()
    validations = sorted({key for record in records for key in record if key.startswith("validation ")})
    curves = [
        Curve(key.removeprefix("validation ").capitalize() + ", nDCG@10", _points(records, key), dots=True)
        for key in validations
    ]
    curves += [Curve(title, _averaged(points)) for key, title in _SHOWN if (points := _points(records, key))]
    page.write_text(
        render_page(
            report_environment(),
            "training.html",
            name=name,
            steps=max((int(record["step"]) for record in records), default=0),
            curves=curves,
            chart_style=static_file("training.css"),
            width=WIDTH,
            height=HEIGHT,
            left=LEFT,
        ),
        encoding="utf-8",
    )


def _points(records: Sequence[Mapping[str, float]], key: str) -> list[tuple[float, float]]:
    return [(record["step"], record[key]) for record in records if key in record]


def _averaged(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    size = -(-len(points) // _POINTS)
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return [(part[-1][0], sum(value for _, value in part) / len(part)) for part in parts]
