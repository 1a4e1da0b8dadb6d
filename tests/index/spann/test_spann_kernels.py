"""The kernels of the clustered index on small inputs; run again without the JIT and with bounds checks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from lexhound.index._jit import frozen
from lexhound.index.spann.entries import EntryFormat
from lexhound.index.spann.kernels import HEAP_SIZE, SCORED, SEEN, exact_scores, rehash, scan

small = st.sampled_from([-1.0, 0.0, 0.5, 2.0])


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 12).flatmap(lambda n: arrays(np.float32, (n, 5), elements=small)),
    arrays(np.float32, 5, elements=small),
    st.lists(st.lists(st.integers(0, 11), max_size=8), min_size=1, max_size=4),
    st.sets(st.integers(0, 11)),
    st.sets(st.integers(0, 11)),
    st.integers(1, 9),
    st.sampled_from(["int8", "float16", "float32"]),
    st.booleans(),
)
def test_a_scan_keeps_the_best_of_what_counts(vectors, query, postings, outdated, banned, limit, codec, squared):
    n = len(vectors)
    form = EntryFormat(codec, 5)
    versions = np.ones(n, np.uint16)
    members = [np.array([row for row in posting if row < n], np.int64) for posting in postings]
    written = versions.copy()
    written[[row for row in outdated if row < n]] = 3
    blocks = [form.encode(rows, written[rows], vectors[rows]).reshape(-1) for rows in members]
    # One more entry, of a row that is not there: damage must not lead out of an array.
    stray = form.encode(np.array([n + 5]), np.array([1], np.uint16), vectors[:1]).reshape(-1)
    buffer = np.concatenate([*blocks, stray])
    starts = np.cumsum([0, *(len(block) for block in blocks)])
    counts = np.array([*(len(rows) for rows in members), 1])
    allowed = np.array([row not in banned for row in range(n)])
    integers, unit = form.query(query)
    rows, scores, found = np.empty(limit, np.int64), np.empty(limit, np.float32), np.empty(len(starts), np.int64)
    state, bits = np.zeros(4, np.int64), np.empty(5, np.uint32)
    raw = frozen(buffer)
    scan(
        form.kind, raw.view(np.uint32), raw.view(np.float32), raw.view(np.uint16), raw.view(np.int8),
        frozen(starts), frozen(counts), form.entry_bytes, frozen(integers), frozen(query),
        2 * unit if squared else unit, 1.0 if squared else 0.0, frozen(versions), frozen(allowed), True,
        np.zeros(128, np.uint32), bits, bits.view(np.float32), limit, scores, rows, found, state,
    )  # fmt: skip
    usable = [[row for row in posting.tolist() if row not in outdated and row not in banned] for posting in members]
    distinct = sorted({row for posting in usable for row in posting})
    assert found.tolist() == [*(len(posting) for posting in usable), 0]
    assert (state[SEEN], state[SCORED]) == (len(distinct), len(distinct))
    exact = {
        row: float(2 * vectors[row] @ query - vectors[row] @ vectors[row] if squared else vectors[row] @ query)
        for row in distinct
    }
    expected = sorted(distinct, key=lambda row: (-exact[row], row))[:limit]
    kept = rows[: state[HEAP_SIZE]]
    if codec == "int8":  # nearly equal scores may change places
        assert sorted(exact[row] for row in kept.tolist()) == pytest.approx(
            sorted(exact[row] for row in expected), abs=0.2
        )
    else:
        assert set(kept.tolist()) == set(expected)


@given(st.sets(st.integers(1, 2**32 - 1), max_size=30))
def test_a_larger_set_holds_what_the_smaller_held(values):
    old, new = np.zeros(64, np.uint32), np.zeros(128, np.uint32)
    old[: len(values)] = sorted(values)
    rehash(frozen(old), new)
    assert set(new[new > 0].tolist()) == values


@given(arrays(np.float32, (4, 3), elements=small), arrays(np.float32, 3, elements=small), st.booleans())
def test_exact_scores(vectors, query, squared):
    scores = np.empty(4, np.float64)
    exact_scores(frozen(vectors), frozen(query), squared, scores)
    expected = -((vectors - query) ** 2).sum(axis=1) if squared else vectors @ query
    np.testing.assert_allclose(scores, expected)
