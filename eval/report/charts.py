"""Charts as inline SVG. Colours come from the style sheet, so that they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from .markup import join, tag
from .numbers import shorten, signed

# Systems beyond this many share colours again; their marks still differ in shape.
COLOURS = 8
# More bars than this are drawn as one outline.
MOST_BARS = 500

_SHAPES = ("circle", "square", "triangle", "diamond")


@dataclass(frozen=True, slots=True)
class Scale:
    """A map of values to positions between two pixels, linear or by logarithm."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(max(value, self.low))
        share = 0.5 if high == low else (value - low) / (high - low)
        return round(self.start + share * (self.end - self.start), 2)


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about `count` round numbers from at or below `low` to at or above `high`."""
    span = max(high - low, 1e-9)
    rough = span / max(1, count - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def mark(x: float, y: float, number: int, title: str = "") -> Markup:
    """Return a system's mark: its colour and its shape."""
    name = f"mark c{number % COLOURS}"
    shape = _SHAPES[number % len(_SHAPES)]
    tooltip = tag("title", title) if title else None
    if shape == "circle":
        return tag("circle", tooltip, cx=x, cy=y, r=5, class_=name)
    if shape == "square":
        return tag("rect", tooltip, x=x - 4.5, y=y - 4.5, width=9, height=9, class_=name)
    corners: dict[str, list[tuple[float, float]]] = {
        "triangle": [(0, -5.5), (5.5, 4.5), (-5.5, 4.5)],
        "diamond": [(0, -6), (6, 0), (0, 6), (-6, 0)],
    }
    text = " ".join(f"{x + dx:g},{y + dy:g}" for dx, dy in corners[shape])
    return tag("polygon", tooltip, points=text, class_=name)


def legend(names: Sequence[str]) -> Markup:
    """Return which mark is which system."""
    entries = [
        tag(
            "li",
            tag("svg", mark(8, 8, number), viewbox="0 0 16 16", width=16, height=16, aria_hidden="true"),
            name,
        )
        for number, name in enumerate(names)
    ]
    return tag("ul", entries, class_="legend")


@dataclass(frozen=True, slots=True)
class Point:
    """A system in a scatter chart; `number` is its number among the systems."""

    name: str
    number: int
    x: float
    y: float


def scatter(points: Sequence[Point], *, x_label: str, y_label: str, title: str) -> Markup:
    """Draw quality against cost: up and to the left is better."""
    width, height, left, right, top, bottom = 380, 262, 50, 16, 28, 42
    xs, ys = [point.x for point in points], [point.y for point in points]
    positive = [value for value in xs if value > 0]
    logarithmic = bool(positive) and len(positive) == len(xs) and max(xs) > 20 * min(xs)
    if logarithmic:
        x_ticks = [10.0**power for power in range(_power(min(xs), down=True), _power(max(xs), down=False) + 1)]
    else:
        x_ticks = nice_ticks(0, max(xs) * 1.1 or 1.0)
    spread = max(max(ys) - min(ys), 0.02)
    y_ticks = nice_ticks(max(0.0, min(ys) - spread * 0.4), max(ys) + spread * 0.4)
    x = Scale(x_ticks[0], x_ticks[-1], left, width - right, logarithmic)
    y = Scale(y_ticks[0], y_ticks[-1], height - bottom, top)
    drawn: list[Markup] = [_frame(_Axis(x, x_ticks, x_label), _Axis(y, y_ticks, y_label), height, bottom)]
    label_places: list[float] = []
    for point in sorted(points, key=lambda point: -point.y):
        px, py = x(point.x), y(point.y)
        words = f"{point.name}: {y_label} {point.y:.4f}, {x_label} {point.x:,.4g}"
        beyond = px > left + (width - left - right) * 0.6
        label_y = py + 4
        while any(abs(label_y - other_y) < 13 for other_y in label_places):
            label_y += 13
        label_places.append(label_y)
        drawn.append(mark(px, py, point.number, words))
        drawn.append(
            tag(
                "text",
                shorten(point.name, 28),
                x=px - 10 if beyond else px + 10,
                y=label_y,
                text_anchor="end" if beyond else "start",
                class_="label",
            )
        )
    return _svg(width, height, title, drawn)


def _power(value: float, *, down: bool) -> int:
    exact = math.log10(value)
    return math.floor(exact + 1e-9) if down else math.ceil(exact - 1e-9)


@dataclass(frozen=True, slots=True)
class Line:
    """A system's curve."""

    name: str
    number: int
    points: Sequence[tuple[float, float]]


def curves(lines: Sequence[Line], *, x_label: str, y_label: str, title: str) -> Markup:
    """Draw curves over a logarithmic axis that starts at 1; values between 0 and 1."""
    width, height, left, right, top, bottom = 380, 262, 44, 16, 28, 42
    deepest = max(depth for line in lines for depth, _ in line.points)
    x_ticks = [10.0**power for power in range(_power(deepest, down=False) + 1)]
    x = Scale(1, x_ticks[-1], left, width - right, True)
    y = Scale(0, 1, height - bottom, top)
    drawn = [_frame(_Axis(x, x_ticks, x_label), _Axis(y, [0, 0.25, 0.5, 0.75, 1], y_label), height, bottom)]
    for line in lines:
        path = " ".join(f"{x(depth):g},{y(value):g}" for depth, value in line.points)
        drawn.append(tag("polyline", points=path, class_=f"curve c{line.number % COLOURS} d{line.number % 4}"))
    for line in lines:
        drawn += [
            mark(x(depth), y(value), line.number, f"{line.name}: {value:.4f} at {depth:,.0f}")
            for depth, value in line.points
        ]
    return _svg(width, height, title, drawn)


@dataclass(frozen=True, slots=True)
class Bar:
    """One query in a bar chart."""

    label: str
    value: float


@dataclass(frozen=True, slots=True)
class Direction:
    """What bars above or below the line stand for: the words at that end, and the number of the system that is better
    there, whose colour they have.
    """

    label: str
    number: int

    def classes(self, name: str) -> str:
        return f"{name} c{self.number % COLOURS}"


def bars(values: Sequence[Bar], *, title: str, low: Direction, high: Direction) -> Markup:
    """Draw differences of single queries, the largest gain first: gains above the line, losses below."""
    width, height, left, right, top, bottom = 760, 180, 58, 4, 12, 12
    ordered = sorted(values, key=lambda bar: -bar.value)
    reach = math.ceil(max((abs(bar.value) for bar in ordered), default=0.0) * 10 - 1e-9) / 10 or 1.0
    negative = any(bar.value < 0 for bar in ordered)
    y = Scale(-reach if negative else 0.0, reach, height - bottom, top)
    zero = y(0)
    ticks = [-reach, -reach / 2, 0.0, reach / 2, reach] if negative else [0.0, reach / 2, reach]
    drawn: list[Markup] = []
    for tick in ticks:
        drawn.append(
            tag("line", x1=left, x2=width - right, y1=y(tick), y2=y(tick), class_="axis" if tick == 0 else "grid")
        )
        drawn.append(tag("text", f"{tick:g}", x=left - 8, y=y(tick) + 4, text_anchor="end", class_="tick"))
    step = (width - left - right) / max(1, len(ordered))
    if len(ordered) <= MOST_BARS:
        gap = 0.2 if step > 2 else 0.0
        for position, bar in enumerate(ordered):
            if bar.value:
                drawn.append(
                    tag(
                        "rect",
                        tag("title", f"{signed(bar.value) if negative else f'{bar.value:.4f}'}  {bar.label}"),
                        x=round(left + position * step, 2),
                        y=min(zero, y(bar.value)),
                        width=round(step * (1 - gap), 2),
                        height=max(0.5, round(abs(zero - y(bar.value)), 2)),
                        class_=high.classes("gain") if bar.value > 0 else low.classes("loss"),
                    )
                )
    else:
        gains, losses = [b.value > 0 for b in ordered], [b.value < 0 for b in ordered]
        for name, chosen in ((high.classes("gain"), gains), (low.classes("loss"), losses)):
            positions = [position for position, drawn_here in enumerate(chosen) if drawn_here]
            if positions:
                thin = positions[:: max(1, len(positions) // MOST_BARS)]
                outline = [f"{left + position * step:.1f},{y(ordered[position].value):g}" for position in thin]
                first, last = left + positions[0] * step, left + (positions[-1] + 1) * step
                text = " ".join([f"{first:.1f},{zero:g}", *outline, f"{last:.1f},{zero:g}"])
                drawn.append(tag("polygon", points=text, class_=name))
    ends = tag("div", tag("span", high.label), tag("span", low.label), class_="ends")
    return join(_svg(width, height, title, drawn, wide=True), ends)


def interval(low: float, value: float, high: float, reach: float) -> Markup:
    """Return a confidence interval around its mean, over a line at 0; `reach` is what the width stands for."""
    width, height = 120, 18
    x = Scale(-reach, reach, 4, width - 4)
    name = "gain" if low > 0 else "loss" if high < 0 else "unclear"
    return tag(
        "svg",
        tag("line", x1=x(0), x2=x(0), y1=0, y2=height, class_="axis"),
        tag("line", x1=x(low), x2=x(high), y1=9, y2=9, class_=f"range {name}"),
        tag("circle", cx=x(value), cy=9, r=4, class_=name),
        viewbox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        aria_label=f"{signed(value)}, from {signed(low)} to {signed(high)}",
    )


class _Axis(NamedTuple):
    """An axis: its scale, the values that have a tick, and its name."""

    scale: Scale
    ticks: Sequence[float]
    label: str


def _frame(
    x_axis: _Axis,
    y_axis: _Axis,
    height: int,
    bottom: int,
) -> Markup:
    """Draw the grid, ticks and the names of both axes."""
    drawn: list[Markup] = []
    x, y = x_axis.scale, y_axis.scale
    for tick in y_axis.ticks:
        drawn.append(tag("line", x1=x.start, x2=x.end, y1=y(tick), y2=y(tick), class_="grid"))
        drawn.append(tag("text", f"{tick:g}", x=x.start - 7, y=y(tick) + 4, text_anchor="end", class_="tick"))
    for tick in x_axis.ticks:
        drawn.append(tag("line", x1=x(tick), x2=x(tick), y1=y.start, y2=y.start + 4, class_="axis"))
        drawn.append(
            tag("text", f"{tick:,.10g}", x=x(tick), y=height - bottom + 17, text_anchor="middle", class_="tick")
        )
    drawn.append(tag("line", x1=x.start, x2=x.end, y1=y.start, y2=y.start, class_="axis"))
    middle = (x.start + x.end) / 2
    drawn.append(tag("text", x_axis.label, x=middle, y=height - 6, text_anchor="middle", class_="axis-name"))
    drawn.append(tag("text", y_axis.label, x=2, y=13, class_="axis-name"))
    return join(drawn)


def _svg(width: int, height: int, title: str, drawn: Sequence[Markup], *, wide: bool = False) -> Markup:
    return tag(
        "svg",
        tag("title", title),
        drawn,
        viewbox=f"0 0 {width} {height}",
        role="img",
        class_="chart wide" if wide else "chart",
    )
