"""Batches of like lengths, and what is told of them while they are encoded."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lexhound.encoders.runtime.batching import BatchSize, in_batches
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.sparse.settings import LearnedSettings

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


class Machine:
    """A machine that reads so many tokens a second, and its clock."""

    def __init__(self, tokens_a_second: float) -> None:
        self.now = 0.0
        self.batches: list[int] = []
        self._speed = tokens_a_second

    def __call__(self) -> float:
        return self.now

    def work(self, lengths: list[int]) -> list[int]:
        self.now += sum(lengths) / self._speed
        self.batches.append(sum(lengths))
        return lengths


def batches_of(speed: float, texts: int = 2000, most: int = 4096) -> list[int]:
    """Return the tokens of each batch of texts of 64 tokens."""
    machine = Machine(speed)
    lengths = [64] * texts
    for _ in in_batches(machine.work, lengths, lengths, BatchSize(most), clock=machine):
        pass
    assert sum(machine.batches) == 64 * texts
    return machine.batches


def test_batches_grow_on_a_fast_machine_and_stay_small_on_a_slow_one() -> None:
    assert batches_of(100_000)[:6] == [512, 1024, 2048, 4096, 4096, 4096]
    slow = batches_of(1000)
    assert max(slow) == 512
    middling = batches_of(3000)
    assert all(tokens / 3000 < 1 for tokens in middling)
    assert max(middling) > 512
    assert max(batches_of(1e9, most=256)) == 256


def test_vectors_do_not_depend_on_the_size_of_batches() -> None:
    texts = ["heat transfer in hypersonic flow " * (1 + n % 7) for n in range(24)]
    encoders = [LearnedEncoder("lexhound-mini", LearnedSettings(batch_tokens=tokens)) for tokens in (4096, 64)]
    first, second = (encoder.encode_documents(texts) for encoder in encoders)
    if isinstance(encoders[0]._encoder("document")._batch_tokens, BatchSize):  # type: ignore[attr-defined]
        assert first.indices.tobytes() == second.indices.tobytes()
        assert first.data.tobytes() == second.data.tobytes()
    else:
        np.testing.assert_allclose(first.toarray(), second.toarray(), atol=1e-4)
