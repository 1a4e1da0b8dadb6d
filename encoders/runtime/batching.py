"""Batches of token sequences that are encoded together, and their way out when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import TypeVar

from lexhound.encoders.base import ShareDone
from lexhound.encoders.errors import EncoderError

Item = TypeVar("Item")
Result = TypeVar("Result")


# Tokens of a batch, at least, and the seconds that one is to take.
_LEAST, _QUICK, _SLOW = 512, 0.25, 0.75


class BatchSize:
    """How many tokens a batch holds, so that a slow machine, too, says every second how far it is.

    For work whose results do not depend on what else is in a batch. Begins small, doubles after batches that took less
    than a quarter of a second and halves after those that took more than three quarters.

    Args:
        most: never more tokens than this.

    Attributes:
        tokens: of the next batch.
    """

    def __init__(self, most: int) -> None:
        self.tokens = min(_LEAST, most)
        self._most = most

    def took(self, seconds: float) -> None:
        """Take note of the time of a batch."""
        if seconds < _QUICK:
            self.tokens = min(2 * self.tokens, self._most)
        elif seconds > _SLOW:
            self.tokens = max(self.tokens // 2, min(_LEAST, self._most))


def by_length(lengths: Sequence[int], batch_tokens: int | BatchSize) -> Iterator[list[int]]:
    """Yield batches of positions in `lengths`: like lengths together, longest first.

    A batch holds at most `batch_tokens` tokens, padding included, and at least one sequence. Longest first, memory runs
    out at once or never.
    """
    order = sorted(range(len(lengths)), key=lambda position: -lengths[position])
    start = 0
    while start < len(order):
        most = batch_tokens.tokens if isinstance(batch_tokens, BatchSize) else batch_tokens
        size = max(1, most // max(1, lengths[order[start]]))
        yield order[start : start + size]
        start += size


def in_batches(
    work: Callable[[list[Item]], list[Result]],
    items: Sequence[Item],
    lengths: Sequence[int],
    batch_tokens: int | BatchSize,
    progress: ShareDone | None = None,
    *,
    clock: Callable[[], float] = monotonic,
) -> Iterator[tuple[list[int], list[Result]]]:
    """Yield the positions of a batch (`by_length`) and `work`'s results of it, until all items are done.

    Args:
        lengths: of the items, in tokens.
        progress: told after every batch, when the caller has taken it.

    Raises:
        EncoderError: memory does not suffice for a single item.
    """
    total, done = sum(lengths), 0
    for positions in by_length(lengths, batch_tokens):
        started = clock()
        results = halving(work, [items[position] for position in positions])
        if isinstance(batch_tokens, BatchSize):
            batch_tokens.took(clock() - started)
        yield positions, results
        done += sum(lengths[position] for position in positions)
        if progress is not None:
            progress(done / total)


def token_chunks(lengths: Sequence[int], most: int) -> list[range]:
    """Return ranges of consecutive positions in `lengths` with at most that many tokens each, or one longer text."""
    chunks, start, tokens = [], 0, 0
    for position, length in enumerate(lengths):
        if position > start and tokens + length > most:
            chunks.append(range(start, position))
            start, tokens = position, 0
        tokens += length
    return [*chunks, range(start, len(lengths))] if lengths else []


def halving(work: Callable[[list[Item]], list[Result]], items: list[Item]) -> list[Result]:
    """Return `work(items)`; where memory does not suffice, the two halves' results.

    Raises:
        EncoderError: memory does not suffice for a single item.
    """
    try:
        return work(items)
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        if len(items) == 1:
            raise EncoderError(
                "there is not enough memory to encode a single text", "Lower max_length, or free memory"
            ) from error
    # Outside of the handler, so that the failed attempt's tensors are gone.
    middle = len(items) // 2
    return halving(work, items[:middle]) + halving(work, items[middle:])


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or any(
        sign in str(error).lower() for sign in ("out of memory", "can't allocate memory", "not enough memory")
    )
