"""All kernels in one module: those over rows, products, attention, and all layers of a transformer in one call."""

from __future__ import annotations

from typing import Any

from .attention import write_attention
from .emitter import ADDRESS, F32, FLOATS, I64, LANES, Code
from .paths import Path
from .products import function, write_products
from .rows import normalised, rounded, squares
from .screens import write_screens
from .tiles import COLUMNS, bytes_of

WORK = ("integers", "scales", "states", "keys", "shares", "mixed", "wide", "wide_integers", "sums")
"""Places that `layers` writes to, in the order in which it takes their addresses: int16[rows, width]; float32[rows];
float32[3 · panels, room, COLUMNS]; keys and shares as of `attended`; float32[room, width]; float32 and int16[block,
inner width]; float32[block, LANES]."""


def write_all(module: Any, path: Path) -> None:
    """Write every kernel into a module."""
    _write_rows(module)
    write_products(module, path)
    write_screens(module, path)
    write_attention(module, path)
    _write_layers(module)


def _write_rows(module: Any) -> None:
    """Write `quantised`, `rounded` and `normalised`, each over float32[count, width] that follow each other."""
    written, code = function(module, "quantised", [ADDRESS, I64, I64, ADDRESS, ADDRESS])
    values, count, width, integers, scales = written.args
    with code.loop(count) as row:
        own, target = _row(code, values, row.index, width, 4), _row(code, integers, row.index, width, 2)
        rounded(code, own, width, squares(code, own, width), target, _row(code, scales, row.index, 1, 4))
    code.builder.ret_void()

    written, code = function(module, "rounded", [ADDRESS, I64, I64, ADDRESS, ADDRESS, ADDRESS])
    values, count, width, integers, scales, sums = written.args
    with code.loop(count) as row:
        own, target = _row(code, values, row.index, width, 4), _row(code, integers, row.index, width, 2)
        total = code.load(sums, FLOATS, code.times(row.index, LANES))
        rounded(code, own, width, total, target, _row(code, scales, row.index, 1, 4))
    code.builder.ret_void()

    written, code = function(module, "normalised", [ADDRESS, I64, I64, ADDRESS, ADDRESS, F32])
    values, count, width, gain, shift, epsilon = written.args
    with code.loop(count) as row:
        normalised(code, _row(code, values, row.index, width, 4), width, gain, shift, epsilon)
    code.builder.ret_void()


def _row(code: Code, start: Any, row: Any, width: Any, size: int) -> Any:
    return bytes_of(code, start, code.times(code.times(row, width), size))


def _table(code: Code, table: Any, count: int, first: Any = 0) -> list[Any]:
    """Return addresses that stand in memory, 64 bits each."""
    return [code.builder.inttoptr(code.load(table, I64, code.add(first, number)), ADDRESS) for number in range(count)]


def _call(code: Code, name: str, *arguments: Any) -> None:
    code.builder.call(code.builder.module.globals[name], [code.number(each) for each in arguments])


def _write_layers(module: Any) -> None:
    """Write `layers`: post-norm layers (Devlin et al., "BERT", 2019; Vaswani et al., 2017) over rows in place.

    Arguments: x float32[rows, width], rows; starts int64[texts + 1], texts; a table of 16 addresses a layer, layers: of
    queries', keys' and values' product (columns, scales, bias), of the one after attention (the same, then gain and
    shift of its layer norm), of the first feed-forward product (columns, scales, bias), of the second (as after
    attention); panels of a state, of what is between the two feed-forward products, and of a head; heads; epsilon; a
    table of the addresses of WORK; room; how many rows go through the feed-forward products together.
    """
    kinds = [ADDRESS, I64, ADDRESS, I64, ADDRESS, I64, I64, I64, I64, I64, F32, ADDRESS, I64, I64]
    written, code = function(module, "layers", kinds)
    x, rows, starts, texts, weights, count, panels, inner, size, heads, epsilon, work, room, block = written.args
    integers, scales, states, keys, shares, mixed, *feeding = _table(code, work, len(WORK))
    width, pairs = code.times(panels, COLUMNS), code.times(panels, COLUMNS // 2)
    with code.loop(count) as layer:
        parts = _table(code, weights, 16, code.times(layer.index, 16))
        _call(code, "quantised", x, rows, width, integers, scales)
        _call(code, "into_panels", integers, scales, rows, pairs, *parts[:3], code.times(panels, 3), states, room)
        _call(code, "attended", states, starts, texts, room, size, heads, keys, shares, mixed)
        _call(code, "quantised", mixed, rows, width, integers, scales)
        _call(code, "added", integers, scales, rows, pairs, *parts[3:6], panels, x)
        _call(code, "normalised", x, rows, width, *parts[6:8], epsilon)
        with code.loop(code.over(code.add(rows, block, -1), block)) as band:
            first = code.times(band.index, block)
            count_here = code.smaller(block, code.builder.sub(rows, first))
            own = _row(code, x, first, width, 4)
            _feed(code, own, count_here, (panels, inner), [*parts[8:], epsilon], [integers, scales, *feeding])
    code.builder.ret_void()


def _feed(code: Code, x: Any, count: Any, panels: tuple[Any, Any], parts: list[Any], places: list[Any]) -> None:
    """Write the feed-forward products of some rows, and the layer norm after them."""
    integers, scales, wide, wide_integers, sums = places
    outer, inner = (code.times(each, COLUMNS) for each in panels)
    half = COLUMNS // 2
    _call(code, "quantised", x, count, outer, integers, scales)
    _call(code, "activated", integers, scales, count, code.times(panels[0], half), *parts[:3], panels[1], wide, sums)
    _call(code, "rounded", wide, count, inner, wide_integers, scales, sums)
    _call(code, "added", wide_integers, scales, count, code.times(panels[1], half), *parts[3:6], panels[0], x)
    _call(code, "normalised", x, count, outer, *parts[6:])
