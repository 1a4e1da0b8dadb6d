"""Triton kernels for the head of a masked language model fused with the pooling over tokens, forward and backward.

    largest: per text and term the largest logit over the tokens that count, and the token that has it
    summed:  per text and term the sum of the activated logits
    slopes:  of some texts and some terms, the gradient on each logit of a sum (logits are made again)
    gather:  a sparse matrix times a dense one, row by row: both gradients of the largest logits

One program of the first two holds the logits of some tokens of one text and some terms in registers, folds them into
what the pooling keeps, and goes on with the text's next tokens: logits never reach the memory. Programs that follow
each other take the same terms of different texts, so that a decoder of 250,002 terms is read from memory once.
Products are accumulated in float32 and pooled in float32. No kernel uses atomic additions: each number is written by
one program, so results are the same every time.

Imported by `fused_head` alone; needs the package `triton`, which torch brings where it is built for CUDA.
"""

# ruff: noqa: N803, RET505  constants of a kernel are written large, as Triton's own are; and it compiles one return of each
# branch, not one behind the other

from __future__ import annotations

import triton
import triton.language as tl

# Of a term whose text has no token that counts.
_NOWHERE = tl.constexpr(2**31 - 1)


@triton.jit
def _log1p(x):
    """log(1 + x) for x >= 0, precise near 0 too: what 1 + x rounds away is divided out again."""
    whole = 1.0 + x
    return tl.where(whole == 1.0, x, tl.log(whole) * (x / tl.where(whole == 1.0, 1.0, whole - 1.0)))


@triton.jit
def _activated(logits, ACTIVATION: tl.constexpr):
    """`lexhound.encoders.runtime.pooling.activate`."""
    positive = tl.where(logits <= 0.0, 0.0, logits)  # not tl.maximum, which would lose what is no number
    if ACTIVATION == "log1p_relu":
        return _log1p(positive)
    elif ACTIVATION == "log1p_log1p_relu":
        return _log1p(_log1p(positive))
    elif ACTIVATION == "sqrt_relu":
        return tl.sqrt(positive)
    else:
        return positive


@triton.jit
def _slope(logits, ACTIVATION: tl.constexpr):
    """The activation's derivative, 0 where the logit is 0 or less."""
    positive = tl.where(logits <= 0.0, 1.0, logits)
    slope = tl.full(logits.shape, 1.0, tl.float32)
    if ACTIVATION == "log1p_relu":
        slope = 1.0 / (1.0 + positive)
    elif ACTIVATION == "log1p_log1p_relu":
        slope = 1.0 / ((1.0 + positive) * (1.0 + _log1p(positive)))
    elif ACTIVATION == "sqrt_relu":
        slope = 0.5 / tl.sqrt(positive)
    return tl.where(logits <= 0.0, 0.0, slope)


@triton.jit
def _logits(
    hidden,  # pointer to the first of the rows that `rows` counts
    weight,
    bias,
    rows,
    counts,
    columns,
    inside,
    width,
    HAS_BIAS: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDEN: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    INNER: tl.constexpr,
):
    """float32[ROWS, COLUMNS]: hidden[rows] · weight[columns] + bias[columns]; 0 + bias where `counts` is false.

    WIDEN multiplies in float32: the interpreter takes bfloat16's bits for whole numbers.
    """
    logits = tl.zeros((ROWS, COLUMNS), tl.float32)
    for first in range(0, width, INNER):
        inner = first + tl.arange(0, INNER)
        some = inner < width
        left = tl.load(
            hidden + rows[:, None].to(tl.int64) * width + inner[None, :],
            mask=counts[:, None] & some[None, :],
            other=0.0,
        )
        right = tl.load(
            weight + columns[:, None].to(tl.int64) * width + inner[None, :],
            mask=inside[:, None] & some[None, :],
            other=0.0,
        )
        if WIDEN:
            left, right = left.to(tl.float32), right.to(tl.float32)
        logits = tl.dot(left, tl.trans(right), logits, input_precision=PRECISION)
    if HAS_BIAS:
        logits += tl.load(bias + columns, mask=inside, other=0.0).to(tl.float32)[None, :]
    return logits


@triton.jit
def largest_kernel(
    hidden,  # floating[texts, length, width]
    mask,  # int8[texts, length]
    ends,  # int32[texts]: behind the last token that counts
    weight,  # floating[terms, width]
    bias,  # floating[terms]
    largest,  # float32[texts, terms], written
    places,  # int32[texts, terms], written
    texts,
    length,
    width,
    terms,
    HAS_BIAS: tl.constexpr,
    WITH_PLACES: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDEN: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    INNER: tl.constexpr,
):
    """Of equal logits the first token's counts; a logit that is infinite or no number makes its term no number."""
    text = (tl.program_id(0) % texts).to(tl.int64)
    columns = (tl.program_id(0) // texts) * COLUMNS + tl.arange(0, COLUMNS)
    inside = columns < terms
    end = tl.load(ends + text)
    best = tl.full((COLUMNS,), float("-inf"), tl.float32)
    place = tl.full((COLUMNS,), _NOWHERE, tl.int32)
    for start in range(0, end, ROWS):
        rows = start + tl.arange(0, ROWS)
        counts = tl.load(mask + text * length + rows, mask=rows < end, other=0) != 0
        logits = _logits(
            hidden + text * length * width,
            weight,
            bias,
            rows,
            counts,
            columns,
            inside,
            width,
            HAS_BIAS,
            PRECISION,
            WIDEN,
            ROWS,
            COLUMNS,
            INNER,
        )
        # A maximum would pass over what is no number; infinity is found again below.
        logits = tl.where(logits == logits, logits, float("inf"))
        logits = tl.where(counts[:, None], logits, float("-inf"))
        here = tl.max(logits, axis=0)
        better = (here > best) | (place == _NOWHERE)
        if WITH_PLACES:
            first = tl.min(tl.where(counts[:, None] & (logits == here[None, :]), rows[:, None], _NOWHERE), axis=0)
            place = tl.where(better, first, place)
        best = tl.maximum(best, here)
    best = tl.where(best == float("inf"), float("nan"), best)
    tl.store(largest + text * terms + columns, best, mask=inside)
    if WITH_PLACES:
        tl.store(places + text * terms + columns, tl.where(place == _NOWHERE, 0, place), mask=inside)


@triton.jit
def summed_kernel(
    hidden,  # floating[texts, length, width]
    mask,  # int8[texts, length]
    ends,  # int32[texts]
    weight,  # floating[terms, width]
    bias,  # floating[terms]
    summed,  # float32[texts, terms], written
    texts,
    length,
    width,
    terms,
    ACTIVATION: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDEN: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    INNER: tl.constexpr,
):
    """Sum of activated logits."""
    text = (tl.program_id(0) % texts).to(tl.int64)
    columns = (tl.program_id(0) // texts) * COLUMNS + tl.arange(0, COLUMNS)
    inside = columns < terms
    end = tl.load(ends + text)
    total = tl.zeros((COLUMNS,), tl.float32)
    for start in range(0, end, ROWS):
        rows = start + tl.arange(0, ROWS)
        counts = tl.load(mask + text * length + rows, mask=rows < end, other=0) != 0
        logits = _logits(
            hidden + text * length * width,
            weight,
            bias,
            rows,
            counts,
            columns,
            inside,
            width,
            HAS_BIAS,
            PRECISION,
            WIDEN,
            ROWS,
            COLUMNS,
            INNER,
        )
        total += tl.sum(tl.where(counts[:, None], _activated(logits, ACTIVATION), 0.0), axis=0)
    tl.store(summed + text * terms + columns, total, mask=inside)


@triton.jit
def slopes_kernel(
    hidden,  # floating[tokens, width]: of whole texts, one after the other
    mask,  # int8[tokens]
    weight,  # floating[terms, width]
    bias,  # floating[terms]
    gradient,  # float32[texts, stride]: on the sums; the terms are its first ones
    slopes,  # dtype of hidden, [tokens, terms], written
    tokens,
    length,
    width,
    terms,
    stride,
    ACTIVATION: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDEN: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    INNER: tl.constexpr,
):
    """The gradient on each logit: that on its text's sum times the activation's slope, 0 for what does not count."""
    bands = tl.cdiv(tokens, ROWS)
    rows = (tl.program_id(0) % bands) * ROWS + tl.arange(0, ROWS)
    columns = (tl.program_id(0) // bands) * COLUMNS + tl.arange(0, COLUMNS)
    inside = columns < terms
    there = rows < tokens
    counts = tl.load(mask + rows, mask=there, other=0) != 0
    logits = _logits(
        hidden,
        weight,
        bias,
        rows,
        counts,
        columns,
        inside,
        width,
        HAS_BIAS,
        PRECISION,
        WIDEN,
        ROWS,
        COLUMNS,
        INNER,
    )
    wanted = counts[:, None] & inside[None, :]
    texts = (rows // length).to(tl.int64)
    on_sum = tl.load(gradient + texts[:, None] * stride + columns[None, :], mask=wanted, other=0.0)
    on_logit = tl.where(wanted, on_sum * _slope(logits, ACTIVATION), 0.0)
    tl.store(
        slopes + rows[:, None].to(tl.int64) * terms + columns[None, :],
        on_logit.to(slopes.dtype.element_ty),
        mask=there[:, None] & inside[None, :],
    )


@triton.jit
def gather_kernel(
    offsets,  # int64[rows + 1]: which entries are a row's
    sources,  # int32[entries]: rows of `table`
    scales,  # float32[entries]
    table,  # floating[any, width]
    out,  # float32[rows, width], added to
    width,
    ENTRIES: tl.constexpr,
    INNER: tl.constexpr,
):
    """out[row] += sum over the row's entries of scale · table[source], in the order of the entries."""
    row = tl.program_id(0).to(tl.int64)
    inner = tl.program_id(1) * INNER + tl.arange(0, INNER)
    some = inner < width
    first = tl.load(offsets + row)
    last = tl.load(offsets + row + 1)
    total = tl.zeros((INNER,), tl.float32)
    for start in range(first, last, ENTRIES):
        entries = start + tl.arange(0, ENTRIES)
        there = entries < last
        source = tl.load(sources + entries, mask=there, other=0).to(tl.int64)
        scale = tl.load(scales + entries, mask=there, other=0.0)
        rows = tl.load(table + source[:, None] * width + inner[None, :], mask=there[:, None] & some[None, :], other=0.0)
        total += tl.sum(rows.to(tl.float32) * scale[:, None], axis=0)
    target = out + row * width + inner
    tl.store(target, tl.load(target, mask=some, other=0.0) + total, mask=some)
