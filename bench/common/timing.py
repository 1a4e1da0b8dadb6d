"""Timing several ways to answer the same questions, side by side."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter, perf_counter_ns

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Latency:
    """Microseconds a query."""

    p50: float
    p99: float
    mean: float

    @classmethod
    def of(cls, nanoseconds: NDArray[np.int64] | NDArray[np.float64]) -> Latency:
        """The summary of one time a question."""
        p50, p99 = np.percentile(nanoseconds, (50, 99)) / 1000
        return cls(float(p50), float(p99), float(nanoseconds.mean()) / 1000)


def alternate(
    ways: Mapping[str, Callable[[int], object]], n_questions: int, *, warm_up: Iterable[int], rounds: int
) -> dict[str, NDArray[np.int64]]:
    """Nanoseconds of `way(question)` for every way and question: int64[rounds, n_questions] each.

    One call of each way in turn, each with another question, so that none finds in the processor's caches what the one
    before it read; over a round each way answers each question once. Every way answers the questions of `warm_up`
    before the first round.
    """
    times = {name: np.empty((rounds, n_questions), np.int64) for name in ways}
    stride = max(1, n_questions // len(ways))
    for question in warm_up:
        for way in ways.values():
            way(question)
    with no_collection():
        for number in range(rounds):
            for turn in range(n_questions):
                for place, (name, way) in enumerate(ways.items()):
                    question = (turn + place * stride) % n_questions
                    started = perf_counter_ns()
                    way(question)
                    times[name][number, question] = perf_counter_ns() - started
    return times


def throughput(ways: Mapping[str, Callable[[], object]], n_questions: int, *, rounds: int) -> dict[str, float]:
    """Questions a second of each way, which answers all of them at once; the median of the rounds, taken in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with no_collection():
        for number in range(-1, rounds):
            for name, way in ways.items():
                started = perf_counter()
                way()
                if number >= 0:
                    seconds[name].append(perf_counter() - started)
    return {name: n_questions / float(np.median(found)) for name, found in seconds.items()}


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep Python's garbage collector from running into one way's time rather than another's."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def fastest(latencies: Mapping[str, Latency], names: Sequence[str]) -> str:
    """The one of `names` with the least mean."""
    return min(names, key=lambda name: latencies[name].mean)
