"""Kernels of the screened head: states in the bound's coordinates, bounds, and logits where the bound is above 0."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from .emitter import ADDRESS, F32, I1, I16, I32, I64, LANES, Code, Lanes
from .paths import Path
from .products import Tile, function, over_panels
from .rows import norm, rounded, squares
from .tiles import COLUMNS, bytes_of

_LINE = 64  # bytes of a line of the cache
_WORD = 64 // COLUMNS  # rows whose masks are looked at together


def write_screens(module: Any, path: Path) -> None:
    """Write `bounding`, and `screened_integers` and `screened_floats`, which differ in what they make logits of."""
    _write_bounding(module)
    for name, logit, weights, kinds in (
        ("integers", _integer_logit, 2, [ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, I64]),
        ("floats", _float_logit, 1, [ADDRESS, ADDRESS, ADDRESS, I64]),
    ):
        settle = _write_settled(module, f"settled_{name}", logit, kinds)
        _write_screen(module, path, f"screened_{name}", settle, kinds, weights)


def _write_bounding(module: Any) -> None:
    """Write `bounding`: int16[count, width] of the leading coordinates, a constant and the norms of three blocks.

    Arguments: float32[count, full], count, full; width, three more than it; where the blocks begin (the first after the
    leading coordinates), the constant; place for float32[width]; out, and place for a scale.
    """
    kinds = [ADDRESS, I64, I64, I64, I64, I64, I64, F32, ADDRESS, ADDRESS, ADDRESS]
    written, code = function(module, "bounding", kinds)
    values, count, full, width, *cuts, constant, place, out, scale = written.args
    with code.loop(count) as row:
        own = bytes_of(code, values, code.times(code.times(row.index, full), 4))
        with code.loop(width, step=LANES) as loop:
            code.store(code.lanes(own, loop.index).value, place, loop.index)
        code.store(constant, place, cuts[0])
        for number, (low, high) in enumerate(zip(cuts, [*cuts[1:], full], strict=True)):
            code.store(norm(code, own, low, high), place, code.add(cuts[0], number + 1))
        target = bytes_of(code, out, code.times(code.times(row.index, width), 2))
        rounded(code, place, width, squares(code, place, width), target, scale)
    code.builder.ret_void()


def _write_screen(module: Any, path: Path, name: str, settle: Any, kinds: list[Any], weights: int) -> None:
    """Write one screen: raise largest[text, term] to each logit whose bound is above the threshold.

    Arguments: bound rows, their count, pairs; bound columns, panels; threshold int32; place for masks, 2 x 16 bits a
    row, rows up to a multiple of 4, zeros; how many more logits each panel allows, and from which panel on that is
    asked; terms; owners int64[count]; largest float32[texts, room], room; then what a logit is computed of, number
    `weights` of which are the terms, and the last of which is how many times 32 bits one is long. Returns the number of
    pairs above the threshold, -1 where they are too many.

    Logits of a panel are computed when the bounds of the next one are, so that their terms have come from memory by
    then.
    """
    given = [ADDRESS, I64, I64, ADDRESS, I64, I32, ADDRESS, I64, I64, I64, ADDRESS, ADDRESS, I64]
    written, code = function(module, name, [*given, *kinds], I64)
    rows, count, pairs, columns, panels, threshold, masks, allowed, asked, *rest = written.args
    builder, words = code.builder, code.over(code.add(count, _WORD - 1), _WORD)
    total = code.room(I64, 1)
    builder.store(code.number(0), total)
    edge = code.spread(threshold, LANES)

    def place(panel: Any) -> Any:
        return bytes_of(code, masks, code.times(builder.and_(panel, code.number(1)), code.times(words, 8)))

    def settled(panel: Any) -> None:
        found = builder.call(settle, [place(panel), words, code.times(panel, COLUMNS), *rest])
        builder.store(code.add(builder.load(total), found), total)

    def noted(tile: Tile) -> None:
        panel = current.index
        for row, value in enumerate(tile.sums):
            above = builder.bitcast(builder.icmp_signed(">", value, edge), I16)
            code.store(above, place(panel), code.add(tile.row, row))

    with code.loop(panels) as current:
        packed = bytes_of(code, columns, code.times(current.index, code.times(pairs, 4 * COLUMNS)))
        over_panels(code, path, rows, count, pairs, packed, code.number(1), noted)
        with builder.if_then(code.less(0, current.index)):
            settled(code.add(current.index, -1))
        terms = rest[4 + weights]
        _ask_for_terms(code, place(current.index), words, current.index, terms, code.times(rest[-1], 4))
        most = code.times(allowed, code.add(current.index, 1))
        with builder.if_then(builder.and_(code.less(asked, current.index), code.less(most, builder.load(total)))):
            builder.ret(code.number(-1))
    settled(code.add(panels, -1))
    builder.ret(builder.load(total))


def _ask_for_terms(code: Code, masks: Any, words: Any, panel: Any, weights: Any, length: Any) -> None:
    """Ask for the terms, `length` bytes each, of which a mask has a bit."""
    builder = code.builder
    with code.loop(words, [code.number(0)]) as word:
        word.following = [builder.or_(word.carried[0], code.load(masks, I64, word.index))]
    seen = word.results[0]
    for shift in (32, 16):
        seen = builder.or_(seen, builder.lshr(seen, code.number(shift)))
    seen = builder.and_(seen, code.number((1 << COLUMNS) - 1))
    with _over_bits(code, seen) as bit:
        start = bytes_of(code, weights, code.times(code.add(code.times(panel, COLUMNS), bit), length))
        with code.loop(length, step=_LINE) as line:
            code.fetched_ahead(bytes_of(code, start, line.index))


@contextmanager
def _over_bits(code: Code, word: Any) -> Iterator[Any]:
    """Write the loop over the numbers of the bits of a word that are 1."""
    with code.loop(code.intrinsic("llvm.ctpop.i64", word, result=I64), [word]) as loop:
        rest = loop.carried[0]
        loop.following = [code.builder.and_(rest, code.add(rest, -1))]
        yield code.builder.call(code.outside("llvm.cttz.i64", I64, [I64, I1]), [rest, I1(1)])


def _write_settled(module: Any, name: str, logit: Callable[..., Any], kinds: Sequence[Any]) -> Any:
    """Write what computes the logits of a panel's masks; return it.

    Arguments: masks, words of 64 bits; the panel's first term; then those of the screen from `terms` on.
    """
    written, code = function(module, name, [ADDRESS, I64, I64, I64, ADDRESS, ADDRESS, I64, *kinds], I64)
    masks, words, first, terms, owners, largest, room, *factors = written.args
    builder = code.builder
    with code.loop(words, [code.number(0)]) as word:
        bits = code.load(masks, I64, word.index)
        found = code.intrinsic("llvm.ctpop.i64", bits, result=I64)
        with _over_bits(code, bits) as bit:
            token = code.add(code.times(word.index, _WORD), code.over(bit, COLUMNS))
            term = code.add(first, builder.and_(bit, code.number(COLUMNS - 1)))
            with builder.if_then(code.less(term, terms)):
                at = code.add(code.times(code.load(owners, I64, token), room), term)
                value, before = logit(code, token, term, *factors), code.load(largest, F32, at)
                code.store(builder.select(builder.fcmp_ordered(">", value, before), value, before), largest, at)
        word.following = [code.add(word.carried[0], found)]
    builder.ret(word.results[0])
    return written


def _integer_logit(
    code: Code, token: Any, term: Any, rows: Any, scales: Any, weights: Any, weight_scales: Any, bias: Any, pairs: Any
) -> Any:
    """Write the logit that `maxima` computes, to the bit.

    Its factors: rows int16[count, 2 · pairs], their scales, weights int16[terms, 2 · pairs], their scales, bias.
    """
    builder, width = code.builder, 8
    sums, shorts = ir.VectorType(I32, width), ir.VectorType(I16, 2 * width)
    starts = [
        bytes_of(code, each, code.times(at, code.times(pairs, 4))) for each, at in ((rows, token), (weights, term))
    ]
    with code.loop(pairs, [ir.Constant(sums, [0] * width)], step=width) as loop:
        pair = (builder.bitcast(code.load(start, sums, loop.index), shorts) for start in starts)
        product = code.intrinsic("llvm.x86.avx2.pmadd.wd", *pair, result=sums)
        loop.following = [builder.add(loop.carried[0], product)]
    total = code.intrinsic(f"llvm.vector.reduce.add.v{width}i32", loop.results[0], result=I32)
    scale = builder.fmul(code.load(scales, F32, token), code.load(weight_scales, F32, term))
    return code.intrinsic("llvm.fma", builder.sitofp(total, F32), scale, code.load(bias, F32, term))


def _float_logit(code: Code, token: Any, term: Any, states: Any, weights: Any, bias: Any, width: Any) -> Any:
    """Write state · weight + bias in float32: states float32[count, width], weights float32[terms, width]."""
    starts = [
        bytes_of(code, each, code.times(at, code.times(width, 4))) for each, at in ((states, token), (weights, term))
    ]
    with code.loop(width, [code.everywhere(0.0).value], step=LANES) as loop:
        one, other = (code.lanes(start, loop.index) for start in starts)
        loop.following = [one.fused(other, Lanes(code, loop.carried[0])).value]
    total = code.first(Lanes(code, loop.results[0]).total().value)
    return code.builder.fadd(total, code.load(bias, F32, term))
