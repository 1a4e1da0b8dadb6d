"""Batches of like lengths, and what is told of them while they are encoded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lexhound.encoders.runtime.batching import in_batches

LENGTHS = st.lists(st.integers(1, 40), max_size=60)


@given(LENGTHS, st.integers(1, 100))
def test_every_item_is_done_once_and_told_of(lengths: list[int], batch_tokens: int) -> None:
    told: list[float] = []
    results: dict[int, int] = {}
    taken = 0
    items = list(range(len(lengths)))
    for positions, batch in in_batches(lambda ids: [2 * i for i in ids], items, lengths, batch_tokens, told.append):
        assert len(told) == taken  # an earlier batch is told of once its results are with the caller
        taken += 1
        assert len(positions) == 1 or len(positions) * max(lengths[p] for p in positions) <= batch_tokens
        results.update(zip(positions, batch, strict=True))
    assert results == {item: 2 * item for item in items}
    assert len(told) == taken
    assert told == sorted(told)
    assert all(0 < share <= 1 for share in told)
    assert not told or told[-1] == 1.0
