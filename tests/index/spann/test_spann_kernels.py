"""The kernels of the clustered index on small inputs; run again without the JIT and with bounds checks."""

from __future__ import annotations

import numpy as np
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lexhound.index.dense.exact import exact_products
from lexhound.index.jit import frozen, kernel
from lexhound.index.spann import int8_instructions as products
from lexhound.index.spann.centroid_kernels import CodedPoints, nearest, nearest_by_codes
from lexhound.index.spann.codec import PostingCodec
from lexhound.index.spann.int8_dot import coded, product
from lexhound.index.spann.kernels import (
    CODES,
    CROWDED,
    DONE,
    EXHAUSTED,
    HEAP_SIZE,
    N_COUNTERS,
    NEXT,
    PRODUCTIVE,
    READ,
    SCORED,
    SEEN,
    PostingCodes,
    ScanLimits,
    ScanQuery,
    ScanScratch,
    rehash,
    scan,
)

small = st.sampled_from([-1.0, 0.0, 0.5, 2.0])


@settings(max_examples=examples(30), deadline=None)
@given(
    st.integers(1, 12).flatmap(lambda n: arrays(np.float32, (n, 5), elements=small)),
    arrays(np.float32, 5, elements=small),
    st.lists(st.lists(st.integers(0, 11), max_size=8), min_size=1, max_size=4),
    st.sets(st.integers(0, 11)),
    st.integers(1, 9),
    st.sampled_from(["int8", "float16", "float32"]),
)
def test_a_scan_keeps_the_best_of_what_counts(vectors, query, postings, banned, limit, codec):
    n = len(vectors)
    form = PostingCodec(codec, 5, None)
    members = [np.array([row for row in posting if row < n], np.int64) for posting in postings]
    blocks = [form.encode(rows, vectors[rows]).reshape(-1) for rows in members]
    # One more code, of a row that is not there: damage must not lead out of an array.
    stray = form.encode(np.array([n + 5]), vectors[:1]).reshape(-1)
    raw = frozen(np.concatenate([*blocks, stray]))
    starts = np.cumsum([0, *(len(block) for block in blocks)])
    counts = np.array([*(len(rows) for rows in members), 1])
    allowed = np.array([row not in banned for row in range(n)])
    rows, scores = np.empty(limit, np.int64), np.empty(limit, np.float32)
    counters, bits = np.zeros(N_COUNTERS, np.int64), np.empty(5, np.uint32)
    stamps, seen = np.zeros(len(starts), np.uint32), np.zeros(32, np.uint32)
    # Posting 1 comes twice, and -1 stands for none: a graph may do either.
    order = np.array([0, -1, *range(len(starts)), min(1, len(starts) - 1)])
    squares = np.arange(len(order), dtype=np.float32)
    integers = np.empty(5, np.int16)
    unit = coded(frozen(query), integers)
    codes = PostingCodes(
        form.kind, raw.view(np.uint32), raw.view(np.float32), raw.view(np.uint16), raw.view(np.int8),
        frozen(starts), frozen(counts), form.code_bytes, n,
    )  # fmt: skip
    asked = ScanQuery(frozen(query), frozen(integers), unit, 5, 0.0, frozen(allowed), True)
    scratch = ScanScratch(stamps, 1, np.full(1, -1.0), bits, bits.view(np.float32), scores, rows, counters)

    def go_on(seen, most):
        limits = ScanLimits(0, most, np.inf)
        return scan(tuple(codes), frozen(order), frozen(squares), tuple(asked), tuple(limits), seen, tuple(scratch))

    status = go_on(seen, 1 << 40)
    while status == CROWDED:
        assert 2 * (counters[SEEN] + counts[order[counters[NEXT]]]) > len(seen)
        larger = np.zeros(2 * len(seen), np.uint32)
        rehash(frozen(seen), larger)
        seen = larger
        status = go_on(seen, 1 << 40)
    assert status == EXHAUSTED
    assert go_on(seen, counters[PRODUCTIVE]) == DONE
    assert (counters[READ], counters[CODES]) == (len(starts), counts.sum())
    usable = [[row for row in posting.tolist() if row not in banned] for posting in members]
    distinct = sorted({row for posting in usable for row in posting})
    assert counters[PRODUCTIVE] == sum(len(posting) > 0 for posting in usable)
    assert (counters[SEEN], counters[SCORED]) == (len(distinct), len(distinct))
    exact = {row: float(vectors[row] @ query) for row in distinct}
    expected = sorted(distinct, key=lambda row: (-exact[row], row))[:limit]
    best = rows[: counters[HEAP_SIZE]]
    if codec == "int8":  # nearly equal scores may change places
        assert sorted(exact[row] for row in best.tolist()) == pytest.approx(
            sorted(exact[row] for row in expected), abs=0.2
        )
    else:
        assert set(best.tolist()) == set(expected)


@given(st.sets(st.integers(1, 2**32 - 1), max_size=30))
def test_a_larger_set_holds_what_the_smaller_held(values):
    old, new = np.zeros(64, np.uint32), np.zeros(128, np.uint32)
    old[: len(values)] = sorted(values)
    rehash(frozen(old), new)
    assert set(new[new > 0].tolist()) == values


@given(
    st.tuples(st.integers(1, 5), st.integers(1, 20)).flatmap(lambda shape: arrays(np.float32, shape, elements=small)),
    st.integers(0, 3),
)
def test_exact_scores(vectors, gap):
    n, d = vectors.shape
    query = vectors[-1] + 1
    words = np.full((n, d + gap), np.nan, np.float32)
    words[:, :d] = vectors
    rows, scores = np.arange(n)[::-1].copy(), np.empty(n, np.float64)
    exact_products(frozen(words.reshape(-1)), d + gap, frozen(rows), frozen(query.astype(np.float64)), scores)
    np.testing.assert_allclose(scores, (vectors @ query)[::-1])


@given(
    st.integers(1, 12).flatmap(lambda n: arrays(np.float32, (n, 3), elements=small)),
    arrays(np.float32, 3, elements=small),
    st.integers(1, 12),
)
def test_the_nearest_points(points, query, room):
    room = min(room, len(points))
    squares, numbers = np.empty(room, np.float32), np.empty(room, np.int64)
    assert nearest(frozen(points), frozen(query), squares, numbers) == room
    exact = ((points - query) ** 2).sum(axis=1)
    expected = sorted(range(len(points)), key=lambda i: (exact[i], i))[:room]
    assert numbers.tolist() == expected
    np.testing.assert_array_equal(squares, exact[expected])
    # With room for all of them as candidates, codes change nothing.
    codes, scales = np.rint(points * 60).astype(np.int8), np.full(len(points), 1 / 60, np.float32)
    again = np.empty(room, np.float32), np.empty(room, np.int64)
    lengths = (points**2).sum(axis=1)
    coded_points = CodedPoints(frozen(codes), frozen(scales), frozen(lengths), frozen(points))
    assert nearest_by_codes(tuple(coded_points), frozen(query), frozen(query), len(points), *again) == room
    assert again[1].tolist() == expected
    np.testing.assert_array_equal(again[0], squares)


@kernel
def products_of(codes, query, sums):
    for i in range(len(codes)):
        sums[i] = product(codes.reshape(-1), i * len(query), query, 0, len(query))


@kernel
def products_by_loop(codes, query, sums):
    middle = len(query) // 3
    for i in range(len(codes)):
        sums[i] = product(codes.reshape(-1), i * len(query), query, 0, middle)
        sums[i] += product(codes.reshape(-1), i * len(query), query, middle, len(query))


@pytest.mark.parametrize("width", [0, 1, 5, 15, 16, 17, 63, 64, 80, 100, 383, 1025])
def test_products_are_exact_with_and_without_wide_instructions(monkeypatch, width):
    rng = np.random.default_rng(width)
    codes = np.concatenate([rng.integers(-128, 128, (9, width)), np.full((1, width), -128)]).astype(np.int8)
    for query in (
        rng.normal(size=width),
        np.full(width, -3.0),
        np.where(np.arange(width) % 7, 0, 1e30),
        np.full(width, 1e-30),
        np.zeros(width),
    ):
        short = np.empty(width, np.int16)
        exact = query.astype(np.float32)
        unit = coded(frozen(exact), short)
        assert np.abs(short.astype(np.int64)).sum() * 128 < 2**31
        np.testing.assert_allclose(short * unit, exact, atol=np.abs(exact).max(initial=0) / 8000)
        expected = codes.astype(np.int64) @ short.astype(np.int64)
        for function in (products_of, products_by_loop):
            if function is products_by_loop:
                monkeypatch.setattr(products, "_has_avx2", lambda: False)
            sums = np.empty(len(codes), np.int64)
            function(frozen(codes), frozen(short), sums)
            monkeypatch.undo()
            np.testing.assert_array_equal(sums, expected)
