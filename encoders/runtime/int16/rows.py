"""What stands between a transformer's products: rounding to integers, layer norm, GELU, exp. Each row on its own."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from .emitter import F32, I32, INTEGERS, LANES, SHORTS, Code, Lanes

ROW_NORM, COLUMN_NORM = 32_700.0, 65_000.0
"""Euclidean norms of what is rounded: by Cauchy and Schwarz no sum leaves 32 bits."""

TINY = 1e-30
"""Added to a sum of squares, so that no row is divided by zero."""

_LOG2E, _LOWEST = 1.4426950408889634, -87.0
_EXP = (0.6931471805599453, 0.2402265069591007, 0.05550410866482158, 0.009618129107628477, 0.0013333558146428443, 0.0001540353039338161)  # fmt: skip # noqa: E501
"""exp(x ln 2) = 1 + sum of (ln 2)^n / n! · x^n, from n = 1 on."""

_ROOT_HALF, _END = 0.7071067811865476, 3.93
_ERF_TOP = (1.1283790171333232, 0.19318365453838357, 0.053108593333594016, 0.0038844420069166674, 0.0002875083181555404, 2.0269973330724647e-06)  # fmt: skip # noqa: E501
_ERF_BOTTOM = (1.0, 0.5045361646869959, 0.11525139875121236, 0.015204649864020122, 0.001191414069476833, 3.799235586307934e-05)  # fmt: skip # noqa: E501
"""erf(x) = x · top(x²) / bottom(x²) up to 1.7e-8 where |x| is at most 3.93, and there within 3e-8 of 1: fitted by
least squares that are weighted towards the largest error."""


def exponential(x: Lanes) -> Lanes:
    """Return exp of float32 <= 0, to 1e-6 of itself; what is below exp(-87) is that."""
    code = x.code
    power = x.largest(_LOWEST) * _LOG2E
    exponent = (power + 0.5).floor()
    rest = power - exponent
    series = code.everywhere(_EXP[-1])
    for factor in (*_EXP[-2::-1], 1.0):
        series = series.fused(rest, factor)
    biased = code.builder.add(code.builder.fptosi(exponent.value, INTEGERS), ir.Constant(INTEGERS, [127] * LANES))
    shifted = code.builder.shl(biased, ir.Constant(INTEGERS, [23] * LANES))
    return series * Lanes(code, code.builder.bitcast(shifted, series.value.type))


def gelu(x: Lanes) -> Lanes:
    """Return x · Φ(x) (Hendrycks & Gimpel, "Gaussian Error Linear Units", 2016)."""
    code = x.code
    size = (x * _ROOT_HALF).largest(-_END).least(_END)
    square = size * size
    top, bottom = code.everywhere(_ERF_TOP[-1]), code.everywhere(_ERF_BOTTOM[-1])
    for factor in _ERF_TOP[-2::-1]:
        top = top.fused(square, factor)
    for factor in _ERF_BOTTOM[-2::-1]:
        bottom = bottom.fused(square, factor)
    half = x * 0.5
    return half.fused(size * top / bottom, half)


def squares(code: Code, values: Any, width: Any) -> Any:
    """Return the LANES sums of a row's squares, TINY among them."""
    with code.loop(width, [code.everywhere(TINY / LANES).value], step=LANES) as loop:
        value = code.lanes(values, loop.index)
        loop.following = [value.fused(value, Lanes(code, loop.carried[0])).value]
    return loop.results[0]


def rounded(code: Code, values: Any, width: Any, sums: Any, integers: Any, scale_at: Any) -> None:
    """Write a row as int16 of the norm ROW_NORM, and at `scale_at` what an integer of 1 stands for.

    Args:
        sums: what `squares` returns of the row.
    """
    factor = code.everywhere(ROW_NORM) / Lanes(code, sums).total().root()
    code.store(code.first((code.everywhere(1.0) / factor).value), scale_at)
    with code.loop(width, step=LANES) as loop:
        whole = (code.lanes(values, loop.index) * factor).whole()
        code.store(code.builder.trunc(whole, SHORTS), integers, loop.index)


def normalised(code: Code, values: Any, width: Any, gain: Any, shift: Any, epsilon: Any) -> None:
    """Apply layer norm to a row in place (Ba, Kiros & Hinton, "Layer Normalization", 2016); epsilon: float32."""
    share = code.everywhere(1.0) / code.everywhere(code.builder.sitofp(width, F32))
    zero = code.everywhere(0.0)
    with code.loop(width, [zero.value], step=LANES) as loop:
        loop.following = [(Lanes(code, loop.carried[0]) + code.lanes(values, loop.index)).value]
    mean = Lanes(code, loop.results[0]).total() * share
    with code.loop(width, [zero.value], step=LANES) as loop:
        off = code.lanes(values, loop.index) - mean
        loop.following = [off.fused(off, Lanes(code, loop.carried[0])).value]
    variance = Lanes(code, loop.results[0]).total().fused(share, code.everywhere(epsilon))
    scale = code.everywhere(1.0) / variance.root()
    with code.loop(width, step=LANES) as loop:
        off = (code.lanes(values, loop.index) - mean) * scale
        moved = off.fused(code.lanes(gain, loop.index), code.lanes(shift, loop.index))
        code.store(moved.value, values, loop.index)


def between(code: Code, value: Lanes, first: Any, low: Any, high: Any, otherwise: float) -> Lanes:
    """Return the lanes whose numbers, counted from `first` on, are from `low` to below `high`, the others replaced."""
    numbers = code.builder.add(
        ir.Constant(INTEGERS, list(range(LANES))), code.spread(code.builder.trunc(code.number(first), I32), LANES)
    )
    found = value.value
    for sign, limit in ((">=", low), ("<", high)):
        edge = code.spread(code.builder.trunc(code.number(limit), I32), LANES)
        inside = code.builder.icmp_signed(sign, numbers, edge)
        found = code.builder.select(inside, found, code.everywhere(otherwise).value)
    return Lanes(code, found)


def norm(code: Code, values: Any, low: Any, high: Any) -> Any:
    """Return the Euclidean norm of float32[low:high], a float32, one part in 10,000 larger than it is."""
    start = code.times(code.over(low, LANES), LANES)
    with code.loop(high, [code.everywhere(0.0).value], start=start, step=LANES) as loop:
        value = between(code, code.lanes(values, loop.index), loop.index, low, high, 0.0)
        loop.following = [value.fused(value, Lanes(code, loop.carried[0])).value]
    return code.first((Lanes(code, loop.results[0]).total().root() * 1.0001).value)
