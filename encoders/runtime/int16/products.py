"""Products of rows and packed columns, each with what is made of a tile while it is in registers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from .emitter import ADDRESS, F32, FLOATS, I64, LANES, Code, Lanes
from .paths import Path
from .rows import TINY, gelu
from .tiles import COLUMNS, bytes_of, integer_sums, over_tiles


@dataclass(frozen=True, slots=True)
class Tile:
    """What an epilogue is told: the first row, the panel of how many; and each row's sums, int32 in LANES."""

    code: Code
    row: Any
    panel: Any
    panels: Any
    sums: list[Any]


def function(module: Any, name: str, kinds: list[Any], result: Any = None) -> tuple[Any, Code]:
    """Return a new function of the module, which others call by its name, and where its instructions are written."""
    found = ir.Function(module, ir.FunctionType(result or ir.VoidType(), kinds), name)
    found.attributes.add("noinline")
    found.attributes.add("nounwind")
    return found, Code(ir.IRBuilder(found.append_basic_block()))


def over_panels(
    code: Code,
    path: Path,
    rows: Any,
    count: Any,
    pairs: Any,
    columns: Any,
    panels: Any,
    epilogue: Callable[[Tile], None],
) -> None:
    """Write the loops over panels, and in each over tiles of rows, so that a panel is read from the nearest cache.

    Args:
        rows: address of int16[count, 2 · pairs]; columns: of int16[panels, pairs, COLUMNS, 2].
    """
    with code.loop(panels) as panel:
        packed = bytes_of(code, columns, code.times(panel.index, code.times(pairs, 4 * COLUMNS)))

        def tile(height: int, row: Any) -> None:
            start = bytes_of(code, rows, code.times(row, code.times(pairs, 4)))
            epilogue(Tile(code, row, panel.index, panels, integer_sums(code, path, height, start, packed, pairs)))

        over_tiles(code, path.heights, count, tile)


_LINEAR = [ADDRESS, ADDRESS, I64, I64, ADDRESS, ADDRESS, ADDRESS, I64]
"""Rows, their scales, their count, pairs; columns, their scales, bias, panels."""


def values(tile: Tile, row_scales: Any, column_scales: Any, bias: Any) -> list[Lanes]:
    """Return each row's sum · row_scale · column_scale + bias."""
    code, first = tile.code, tile.code.times(tile.panel, COLUMNS)
    scale, more = code.lanes(column_scales, first), code.lanes(bias, first)
    found = []
    for row, total in enumerate(tile.sums):
        own = code.everywhere(code.load(row_scales, F32, code.add(tile.row, row)))
        found.append(Lanes(code, code.builder.sitofp(total, FLOATS)).fused(own * scale, more))
    return found


def _linear(module: Any, path: Path, name: str, more: list[Any], use: Callable[..., None]) -> None:
    """Write a function of a linear layer: `use(tile, values, *its further arguments)`."""
    written, code = function(module, name, _LINEAR + more)
    rows, scales, count, pairs, columns, column_scales, bias, panels, *others = written.args

    def epilogue(tile: Tile) -> None:
        use(tile, values(tile, scales, column_scales, bias), *others)

    over_panels(code, path, rows, count, pairs, columns, panels, epilogue)
    code.builder.ret_void()


def write_products(module: Any, path: Path) -> None:
    """Write `into_panels`, `added`, `activated` and `maxima`, whose further arguments are those of the functions here.

    `into_panels` writes float32[panels, count, COLUMNS] with room for more rows between the panels; `added` adds to
    float32[count, COLUMNS · panels] and `activated` writes GELU into it, and the sums of its squares.
    """
    _linear(module, path, "into_panels", [ADDRESS, I64], _into_panels)
    _linear(module, path, "added", [ADDRESS], _added)
    _linear(module, path, "activated", [ADDRESS, ADDRESS], _activated)
    _write_maxima(module, path)


def _into_panels(tile: Tile, found: list[Lanes], out: Any, room: Any) -> None:
    code = tile.code
    first = code.add(code.times(tile.panel, room), tile.row)
    for row, value in enumerate(found):
        code.store(value.value, out, code.times(code.add(first, row), COLUMNS))


def _place(tile: Tile, row: Any) -> Any:
    """Return the element of float32[rows, COLUMNS · panels] at which a row's part of the tile begins."""
    code = tile.code
    return code.times(code.add(code.times(row, tile.panels), tile.panel), COLUMNS)


def _added(tile: Tile, found: list[Lanes], out: Any) -> None:
    code = tile.code
    for row, value in enumerate(found):
        place = _place(tile, code.add(tile.row, row))
        code.store((code.lanes(out, place) + value).value, out, place)


def _activated(tile: Tile, found: list[Lanes], out: Any, sums: Any) -> None:
    """Write GELU, and add its squares to float32[count, LANES], in the order in which `rows.squares` adds them."""
    code = tile.code
    begins = code.builder.icmp_signed("==", tile.panel, code.number(0))
    nothing = code.everywhere(TINY / LANES)
    for row, value in enumerate(found):
        active = gelu(value)
        code.store(active.value, out, _place(tile, code.add(tile.row, row)))
        place = code.times(code.add(tile.row, row), LANES)
        before = Lanes(code, code.builder.select(begins, nothing.value, code.lanes(sums, place).value))
        code.store(active.fused(active, before).value, sums, place)


def _write_maxima(module: Any, path: Path) -> None:
    """Write `maxima`: raise float32[texts, COLUMNS · panels] to the logits of rows, whose texts are int64[count]."""

    def use(tile: Tile, found: list[Lanes], owners: Any, largest: Any) -> None:
        code = tile.code
        texts = [code.load(owners, I64, code.add(tile.row, row)) for row in range(len(found))]

        def raised(text: Any, value: Lanes) -> None:
            place = _place(tile, text)
            code.store(value.largest(code.lanes(largest, place)).value, largest, place)

        of_one = code.builder.icmp_signed("==", texts[0], texts[-1])
        with code.builder.if_else(of_one, likely=True) as (together, apart):
            with together:
                highest = found[0]
                for value in found[1:]:
                    highest = value.largest(highest)
                raised(texts[0], highest)
            with apart:
                for text, value in zip(texts, found, strict=True):
                    raised(text, value)

    _linear(module, path, "maxima", [ADDRESS, ADDRESS], use)
