"""Numbers as a report prints them."""

from __future__ import annotations

DASH = "–"


def quality(value: float) -> str:
    """Return a measure with trec_eval's four decimals; counts as whole numbers."""
    return f"{value:,.0f}" if value > 1 and float(value).is_integer() else f"{value:.4f}"


def signed(value: float) -> str:
    """Return a difference of a measure, with its sign."""
    return f"{value:+.4f}".replace("-", "−") if abs(value) >= 0.00005 else "0.0000"


def p_value(value: float) -> str:
    """Return a p-value: three decimals, or that it is smaller."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def figure(value: float | None, decimals: int = 1) -> str:
    """Return a number with thousands separated; a dash for one that is not known."""
    return DASH if value is None else f"{value:,.{decimals}f}"


def milliseconds(value: float) -> str:
    """Return a time with two significant digits or more."""
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def megabytes(value: int | None) -> str:
    """Return bytes as megabytes."""
    return DASH if value is None else f"{value / 1e6:,.1f}"


def shorten(text: str, length: int) -> str:
    """Return the beginning of a text, cut at a word."""
    words = " ".join(text.split())
    if len(words) <= length:
        return words
    return words[:length].rsplit(" ", 1)[0] + "…"
