"""Tiles: products of some rows and COLUMNS columns whose sums stay in the processor's registers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from .emitter import F32, I8, I16, I32, LANES, Code, Lanes
from .paths import Path

ROWS, COLUMNS = 6, LANES
"""Rows come in multiples of ROWS, columns in panels of COLUMNS."""


def _sums(
    code: Code,
    start: Sequence[Any],
    steps: Any,
    columns_at: Callable[[Any], list[Any]],
    row_at: Callable[[int, Any], Any],
    multiply: Callable[[Any, Any, Any], Any],
) -> list[Any]:
    """Write the loop over the common dimension; return the sums, a row's pieces one after the other.

    The compiler would load all rows first and then run out of registers: each row is loaded where it is used.
    """
    with code.loop(steps, start) as loop:
        columns = columns_at(loop.index)
        for row in range(len(start) // len(columns)):
            code.ordered()
            value = row_at(row, loop.index)
            for piece, column in enumerate(columns):
                loop.following.append(multiply(value, column, loop.carried[row * len(columns) + piece]))
    return loop.results


def _joined(code: Code, sums: list[Any]) -> list[Any]:
    """Return each row's pieces as one vector of LANES."""
    if sums[0].type.count == LANES:
        return sums
    return [code.shuffled(low, range(LANES), high).value for low, high in zip(sums[::2], sums[1::2], strict=True)]


def integer_sums(code: Code, path: Path, height: int, rows: Any, columns: Any, pairs: Any) -> list[Any]:
    """Return the exact sums of a tile: int32 in LANES, a row after the other.

    Args:
        rows: address of int16[height, 2 · pairs]; columns: of int16[pairs, COLUMNS, 2]. What follows these in memory,
            the next panel, is asked for on the way: weights that few rows are multiplied with come from memory.
    """
    width = path.bits // 32
    sums, shorts = ir.VectorType(I32, width), ir.VectorType(I16, 2 * width)
    starts = [code.moved(rows, I32, code.times(pairs, row)) for row in range(height)]

    def multiply(value: Any, column: Any, total: Any) -> Any:
        if path.fused:
            return code.intrinsic(f"llvm.x86.avx512.vpdpwssd.{path.bits}", total, value, column, result=sums)
        factors = (code.builder.bitcast(each, shorts) for each in (value, column))
        return code.builder.add(total, code.intrinsic("llvm.x86.avx2.pmadd.wd", *factors, result=sums))

    def columns_at(step: Any) -> list[Any]:
        code.fetched_ahead(code.moved(columns, I32, code.times(code.add(step, pairs), LANES)))
        return [code.load(columns, sums, code.add(code.times(step, LANES), piece)) for piece in range(0, LANES, width)]

    return _joined(
        code,
        _sums(
            code,
            [ir.Constant(sums, [0] * width)] * (height * LANES // width),
            pairs,
            columns_at,
            lambda row, step: code.spread(code.load(starts[row], I32, step), width),
            multiply,
        ),
    )


def float_sums(
    code: Code, path: Path, height: int, starts: Sequence[Any], columns: Any, steps: Any, before: list[Any] | None
) -> list[Any]:
    """Return the float32 sums of a tile in pieces, each step fused to the sum before it; `joined` makes rows of them.

    Args:
        starts: addresses of each row's float32[steps]; columns: of float32[steps, COLUMNS].
        before: what is added to, pieces as they are returned.
    """
    width = path.bits // 32
    kind = ir.VectorType(F32, width)
    return _sums(
        code,
        [ir.Constant(kind, [0.0] * width)] * (height * LANES // width) if before is None else before,
        steps,
        lambda step: [
            code.load(columns, kind, code.add(code.times(step, LANES), piece)) for piece in range(0, LANES, width)
        ],
        lambda row, step: code.spread(code.load(starts[row], F32, step), width),
        lambda value, column, total: code.intrinsic("llvm.fma", value, column, total),
    )


def joined(code: Code, sums: list[Any]) -> list[Lanes]:
    """Return each row's pieces as one vector."""
    return [Lanes(code, value) for value in _joined(code, sums)]


def over_tiles(code: Code, heights: Sequence[int], rows: Any, body: Callable[[int, Any], None]) -> None:
    """Write `body(height, first row)` for tiles that cover the rows, a multiple of the last height, the best first."""
    first: Any = 0
    for height in heights:
        with code.loop(code.add(rows, 1 - height), start=first, step=height) as loop:
            body(height, loop.index)
        first = loop.index


def transposed(code: Code, source: Any, target: Any) -> None:
    """Write float32[16, 16] at `target` as the transpose of that at `source`; their addresses."""
    half = LANES // 2
    kind = ir.VectorType(F32, half)
    for top in (0, half):
        for left in (0, half):
            rows = [code.load(source, kind, (top + row) * LANES + left) for row in range(half)]
            step = 1
            while step < half:  # exchange what is off the diagonal in blocks of `step`
                mixed = list(rows)
                for row in range(half):
                    if not row & step:
                        one, other = rows[row], rows[row + step]
                        low = [lane if not lane & step else half + lane - step for lane in range(half)]
                        high = [lane + step if not lane & step else half + lane for lane in range(half)]
                        mixed[row] = code.shuffled(one, low, other).value
                        mixed[row + step] = code.shuffled(one, high, other).value
                rows, step = mixed, 2 * step
            for row, value in enumerate(rows):
                code.store(value, target, (left + row) * LANES + top)


def bytes_of(code: Code, address: Any, count: Any) -> Any:
    """Return the address `count` bytes after another."""
    return code.moved(address, I8, count)
