"""Attention of each text to itself, in float32: softmax(Q Kᵀ) V (Vaswani et al., 2017, section 3.2)."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from .emitter import ADDRESS, F32, I64, LANES, Code, Lanes
from .paths import Path
from .products import function
from .rows import between, exponential
from .tiles import COLUMNS, bytes_of, float_sums, joined, transposed

_PANEL = 4 * COLUMNS  # bytes of one row of a panel
_LEAST = -3e38


def write_attention(module: Any, path: Path) -> None:
    """Write `attended`.

    Arguments: float32[3 · panels, room, COLUMNS], queries, keys and values, the queries already divided by the root of
    a head's width; starts int64[texts + 1], texts; room; panels, of a head; heads; place for keys, float32[longest text
    up to a multiple of COLUMNS, head's width], and for shares, float32[float_height, the same length]; out
    float32[room, COLUMNS · panels · heads]. What is written beyond a text's rows is overwritten by the next text; room
    has `float_height` rows more than texts.
    """
    kinds = [ADDRESS, ADDRESS, I64, I64, I64, I64, ADDRESS, ADDRESS, ADDRESS]
    written, code = function(module, "attended", kinds)
    states, starts, texts, room, size, heads, keys, shares, out = written.args
    panel_bytes = code.times(room, _PANEL)
    width = code.times(size, heads)
    height = path.float_height
    with code.loop(texts) as text:
        start, end = (code.load(starts, I64, code.add(text.index, more)) for more in (0, 1))
        length = code.builder.sub(end, start)
        blocks = code.over(code.add(length, COLUMNS - 1), COLUMNS)
        own = bytes_of(code, states, code.times(start, _PANEL))
        with code.loop(heads) as head:
            first = code.times(head.index, size)
            queries, key_panels, value_panels = (
                bytes_of(code, own, code.times(code.add(first, code.times(width, part)), panel_bytes))
                for part in range(3)
            )
            _turned(code, key_panels, panel_bytes, size, blocks, keys)
            with code.loop(length, step=height) as row:
                rows = bytes_of(code, queries, code.times(row.index, _PANEL))
                _scored(code, path, rows, panel_bytes, size, blocks, keys, shares)
                totals = _softmax(code, height, shares, length, blocks)
                _mixed(code, path, shares, blocks, totals, value_panels, panel_bytes, size, length,
                       _target(code, out, code.add(start, row.index), width, first), width)  # fmt: skip
    code.builder.ret_void()


def _target(code: Code, out: Any, row: Any, width: Any, panel: Any) -> Any:
    return bytes_of(code, out, code.times(code.add(code.times(row, width), panel), _PANEL))


def _turned(code: Code, panels: Any, panel_bytes: Any, size: Any, blocks: Any, keys: Any) -> None:
    """Write float32[blocks, COLUMNS · size, COLUMNS tokens] of a head's keys."""
    with code.loop(size) as panel, code.loop(blocks) as block:
        source = bytes_of(code, panels, code.times(panel.index, panel_bytes))
        place = code.add(code.times(block.index, size), panel.index)
        transposed(
            code,
            bytes_of(code, source, code.times(block.index, COLUMNS * _PANEL)),
            bytes_of(code, keys, code.times(place, COLUMNS * _PANEL)),
        )


def _scored(
    code: Code, path: Path, rows: Any, panel_bytes: Any, size: Any, blocks: Any, keys: Any, scores: Any
) -> None:
    """Write float32[float_height, blocks · COLUMNS]: queries times keys."""
    height = path.float_height
    lanes = path.bits // 32
    nothing = [ir.Constant(ir.VectorType(F32, lanes), [0.0] * lanes)] * (height * LANES // lanes)
    with code.loop(blocks) as block:
        own = bytes_of(code, keys, code.times(block.index, code.times(size, COLUMNS * _PANEL)))
        with code.loop(size, nothing) as panel:
            source = bytes_of(code, rows, code.times(panel.index, panel_bytes))
            starts = [bytes_of(code, source, row * _PANEL) for row in range(height)]
            column = bytes_of(code, own, code.times(panel.index, COLUMNS * _PANEL))
            panel.following = float_sums(code, path, height, starts, column, code.number(COLUMNS), panel.carried)
        for row, value in enumerate(joined(code, panel.results)):
            code.store(value.value, scores, code.times(code.add(code.times(row, blocks), block.index), COLUMNS))


def _softmax(code: Code, height: int, scores: Any, length: Any, blocks: Any) -> list[Lanes]:
    """Write exp(score - largest) in place; return what each row's are to be multiplied by, everywhere."""
    last = code.add(blocks, -1)
    found = []
    for row in range(height):
        own = bytes_of(code, scores, code.times(blocks, row * _PANEL))
        end = code.times(last, COLUMNS)
        tail = between(code, code.lanes(own, end), end, 0, length, _LEAST)
        code.store(tail.value, own, end)
        with code.loop(end, [tail.value], step=LANES) as loop:
            loop.following = [Lanes(code, loop.carried[0]).largest(code.lanes(own, loop.index)).value]
        largest = Lanes(code, loop.results[0]).highest()
        with code.loop(code.times(blocks, COLUMNS), [code.everywhere(0.0).value], step=LANES) as loop:
            weight = exponential(code.lanes(own, loop.index) - largest)
            code.store(weight.value, own, loop.index)
            loop.following = [(Lanes(code, loop.carried[0]) + weight).value]
        found.append(code.everywhere(1.0) / Lanes(code, loop.results[0]).total())
    return found


def _mixed(
    code: Code, path: Path, shares: Any, blocks: Any, totals: list[Lanes], values: Any, panel_bytes: Any, size: Any,
    length: Any, out: Any, width: Any,
) -> None:  # fmt: skip
    """Write the values' mean by the shares, for each panel of a head."""
    starts = [bytes_of(code, shares, code.times(blocks, row * _PANEL)) for row in range(path.float_height)]
    with code.loop(size) as panel:
        column = bytes_of(code, values, code.times(panel.index, panel_bytes))
        sums = float_sums(code, path, path.float_height, starts, column, length, None)
        for row, (value, total) in enumerate(zip(joined(code, sums), totals, strict=True)):
            target = code.times(code.add(code.times(width, row), panel.index), COLUMNS)
            code.store((value * total).value, out, target)
