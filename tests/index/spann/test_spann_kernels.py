"""The kernels of the clustered index on small inputs; run again without the JIT and with bounds checks."""

from __future__ import annotations

import numpy as np
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lexhound.index.dense.exact import exact_products
from lexhound.index.jit import frozen
from lexhound.index.spann.block_sums import BLOCK
from lexhound.index.spann.centroid_kernels import CodedPoints, order_by_codes
from lexhound.index.spann.geometry import Geometry
from lexhound.index.spann.kernels import (
    BLOCKS,
    CODES,
    CROWDED,
    DONE,
    EXHAUSTED,
    HEAP_SIZE,
    N_COUNTERS,
    NEXT,
    OPENED,
    PRODUCTIVE,
    READ,
    Postings,
    ScanLimits,
    ScanQuery,
    ScanScratch,
    estimate,
    rehash,
    scan,
)
from lexhound.index.spann.rotated_query import RotatedQuery
from lexhound.index.spann.rotation import Rotation
from lexhound.index.spann.sign_codes import SignCodec

small = st.sampled_from([-1.0, 0.0, 0.5, 2.0])


@settings(max_examples=examples(30), deadline=None)
@given(
    st.integers(1, 12).flatmap(lambda n: arrays(np.float32, (n, 5), elements=small)),
    arrays(np.float32, 5, elements=small),
    st.lists(st.lists(st.integers(0, 11), max_size=40), min_size=1, max_size=4),
    st.sets(st.integers(0, 11)),
    st.integers(1, 9),
    st.sampled_from([1.0, np.inf]),
)
def test_a_scan_keeps_the_best_of_what_counts(vectors, query, postings, banned, limit, doubt):
    n = len(vectors)
    form, rotation, geometry = SignCodec(5), Rotation(5, 0), Geometry.of(vectors)
    members = [np.array([row for row in posting if row < n], np.int64) for posting in postings]
    # One more code, of a row that is not there: damage must not lead out of an array.
    named = [*members, np.array([n + 5])]
    counts = np.array([len(rows) for rows in named])
    centres = np.array([vectors[rows % n].mean(axis=0) if len(rows) else np.zeros(5) for rows in named], np.float32)
    every = np.concatenate(named)
    lists = np.repeat(np.arange(len(named)), counts)
    blocks = form.encode(every, lists, rotation.rotated(vectors[every % n]), rotation.rotated(centres))
    raw = frozen(blocks.reshape(-1))
    sizes = -(-counts // BLOCK) * form.block_bytes
    starts = np.cumsum(sizes) - sizes
    raised = geometry.points(centres)
    turned = RotatedQuery.of(query, geometry, rotation)
    allowed = np.array([row not in banned for row in range(n)])
    rows, scores = np.empty(limit, np.int64), np.empty(limit, np.float32)
    counters = np.zeros(N_COUNTERS, np.int64)
    stamps, seen = np.zeros(len(starts), np.uint32), np.zeros(32, np.uint32)
    # Posting 1 comes twice, as it does where a search asks for more centroids.
    order = np.array([0, *range(len(starts)), min(1, len(starts) - 1)])
    held = Postings(
        raw, raw.view(np.uint32), raw.view(np.float32), frozen(starts), frozen(counts), form.block_bytes,
        frozen(raised.reshape(-1)), frozen((raised**2).sum(axis=1)), frozen((centres**2).sum(axis=1)),
        frozen(vectors.reshape(-1)), 5, n,
    )  # fmt: skip
    asked = ScanQuery(
        turned.values,
        turned.norm,
        turned.tables,
        turned.unit,
        turned.offset,
        geometry.scale,
        doubt,
        frozen(allowed),
        True,
    )
    longest = -(-int(counts.max()) // BLOCK) * BLOCK
    waiting = np.empty(longest, np.uint32), np.empty(longest, np.float32)
    scratch = ScanScratch(stamps, 1, np.full(1, -1.0), scores, rows, counters, *waiting)

    def go_on(seen, most):
        limits = ScanLimits(0, most, np.inf)
        return scan(tuple(held), frozen(order), tuple(asked), tuple(limits), seen, tuple(scratch))

    status = go_on(seen, 1 << 40)
    while status == CROWDED:
        assert 2 * (counters[OPENED] + counts[order[counters[NEXT]]]) > len(seen)
        larger = np.zeros(2 * len(seen), np.uint32)
        rehash(frozen(seen), larger)
        seen = larger
        status = go_on(seen, 1 << 40)
    assert status == EXHAUSTED
    assert go_on(seen, counters[PRODUCTIVE]) == DONE
    assert (counters[READ], counters[CODES]) == (len(starts), counts.sum())
    assert counters[BLOCKS] == len(blocks)
    usable = [[row for row in posting.tolist() if row not in banned] for posting in members]
    distinct = sorted({row for posting in usable for row in posting})
    assert counters[PRODUCTIVE] == sum(len(posting) > 0 for posting in usable)
    assert min(limit, len(distinct)) <= counters[OPENED] <= len(distinct)
    exact = {row: float(vectors[row] @ query) for row in distinct}
    expected = sorted(distinct, key=lambda row: (-exact[row], row))[:limit]
    found = rows[: counters[HEAP_SIZE]].tolist()
    assert len(found) == len(set(found)) == len(expected)
    assert set(found) <= set(distinct)
    np.testing.assert_allclose(sorted(scores[: len(found)]), sorted(exact[row] for row in found), atol=1e-5)
    if doubt == np.inf:
        assert counters[OPENED] == len(distinct)
        assert set(found) == set(expected)


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
    st.integers(1, 70).flatmap(lambda n: arrays(np.float32, (n, 3), elements=small)),
    arrays(np.float32, 3, elements=small),
    st.integers(1, 70),
)
def test_points_in_the_order_of_their_codes(points, query, room):
    room, codec, centre = min(room, len(points)), SignCodec(3), points.mean(axis=0)
    geometry, rotation = Geometry.of(points), Rotation(3, 0)
    raised, turned = geometry.points(points), RotatedQuery.of(query, geometry, rotation)
    middle = rotation.rotated(centre[None])
    blocks = codec.encode(np.arange(len(points)), np.zeros(len(points), np.int64), rotation.rotated(points), middle)
    codes, lengths = frozen(blocks.reshape(-1)), (raised**2).sum(axis=1)
    held = CodedPoints(codes, codes.view(np.float32), codec.block_bytes, frozen(centre), frozen(lengths))
    compared = (turned.point, turned.tables, turned.unit * turned.scale, turned.offset * turned.scale)
    numbers = np.empty(room, np.int64)
    order_by_codes(tuple(held), compared, numbers)
    base = float(turned.point[:-1].astype(np.float64) @ centre.astype(np.float64))
    estimates = np.empty(len(blocks) * BLOCK, np.float32)
    for i in range(len(blocks)):
        some = estimates[i * BLOCK : (i + 1) * BLOCK]
        terms = (compared[2], compared[3], base, 0.0)
        estimate(codes, held.floats, i * codec.block_bytes, turned.tables, terms, np.empty(BLOCK, np.uint16), some)
    near = 2 * estimates[: len(points)] - lengths
    apart = near[numbers]
    assert len(set(numbers.tolist())) == room
    bin_width = (near.max() - near.min()) / 4000 + 1e-4
    assert (np.diff(apart) <= bin_width).all()
    np.testing.assert_allclose(np.sort(apart), np.sort(near)[len(near) - room :], atol=bin_width)
