"""Rates, remaining times, and the line a minute; by a clock that the test moves."""

from __future__ import annotations

import pytest

from lexhound.serve.cli.progress import Estimate, Lines, State, duration


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_rate_share_and_remaining_time() -> None:
    clock = Clock()
    estimate = Estimate(clock)
    clock.now += 10
    assert estimate.describe(State("indexing", 2000, 0, 0.25)) == "2,000 documents, 200/s, 25%, 30 s left"
    clock.now += 30
    assert estimate.describe(State("indexing", 8000, 0, 1.0)) == "8,000 documents, 200/s, 100%"


def test_what_an_earlier_attempt_did_is_no_speed() -> None:
    clock = Clock()
    estimate = Estimate(clock)
    clock.now += 1
    assert estimate.describe(State("indexing", 50_000, 49_000, 0.5)) == "50,000 documents, 50%"
    clock.now += 10
    assert estimate.describe(State("indexing", 51_000, 49_000, 0.6)) == "51,000 documents, 100/s, 60%, 40 s left"


def test_passing_over_what_is_kept_is_no_speed() -> None:
    clock = Clock()
    estimate = Estimate(clock)
    estimate.describe(State("encoding", 0, 0, 0.0))
    for passed in range(1000, 50_001, 1000):
        clock.now += 0.01
        figures = estimate.describe(State("encoding", passed, passed, passed / 100_000))
        assert figures == f"{passed:,} documents, {passed / 100_000:.0%}"
    clock.now += 2
    assert (
        estimate.describe(State("encoding", 50_020, 50_000, 0.5002)) == "50,020 documents, 10/s, 50%, 1 h 23 min left"
    )


def test_a_new_stage_starts_anew() -> None:
    clock = Clock()
    estimate = Estimate(clock)
    clock.now += 10
    estimate.describe(State("indexing", 1000, 0, 1.0))
    assert estimate.describe(State("merging", 1000)) == "1,000 documents"


def test_an_unknown_end() -> None:
    clock = Clock()
    estimate = Estimate(clock)
    clock.now += 2
    assert estimate.describe(State("indexing", 10)) == "10 documents, 5.0/s"


def test_rates_are_of_the_last_half_minute() -> None:
    clock = Clock()
    estimate = Estimate(clock)
    estimate.describe(State("encoding", 0, 0, 0.0))
    clock.now += 20  # the model is loaded, and its kernels are compiled
    assert estimate.describe(State("encoding", 10, 0, 0.01)) == "10 documents, 0.5/s, 1%, 33 min 0 s left"
    for second in range(1, 60):
        clock.now += 1
        figures = estimate.describe(State("encoding", 10 + 10 * second, 0, 0.01 + second / 100))
        if second < 10:
            assert "0.5/s" not in figures
    assert figures == "600 documents, 10/s, 60%, 40 s left"


def test_the_first_state_starts_the_clock() -> None:
    clock = Clock()
    estimate = Estimate(clock)
    clock.now += 50  # what came before: models that were loaded
    estimate.describe(State("encoding", 0, 0, 0.0))
    clock.now += 2
    assert estimate.describe(State("encoding", 100, 0, 0.5)) == "100 documents, 50/s, 50%, 2.00 s left"


def test_lines_come_every_15_seconds_in_the_first_minute_and_then_one_a_minute() -> None:
    clock = Clock()
    written: list[tuple[float, str]] = []
    waits = iter([False] * 7 + [True])

    def wait(seconds: float) -> bool:
        done = next(waits)
        clock.now += 0 if done else seconds
        return done

    with Lines("merging", clock=clock, write=lambda line: written.append((clock.now - 100, line)), wait=wait):
        pass
    assert [at for at, _ in written] == [15, 30, 45, 60, 120, 180, 240]
    assert written[0][1] == "merging, after 15 s"
    assert written[-1][1] == "merging, after 4 min 0 s"


def test_the_work_s_end_ends_the_wait_for_a_line() -> None:
    written: list[str] = []
    with Lines("merging", write=written.append):
        pass
    assert written == []


def test_a_line_says_what_is_done() -> None:
    clock = Clock()
    lines = Lines("indexing", clock=clock)
    clock.now += 60
    lines.update(State("indexing", 600, 0, 0.5))
    clock.now += 60
    assert lines.line() == "indexing: 600 documents, 5.0/s, 50%, 2 min 0 s left, after 2 min 0 s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.034, "0.03 s"),
        (9.994, "9.99 s"),
        (12.4, "12 s"),
        (59.7, "1 min 0 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_tokens_of_a_model_are_shown() -> None:
    clock = Clock()
    estimate = Estimate(clock)
    clock.now += 10
    assert estimate.describe(State("encoding", 20, 0, 0.5, tokens=3000)) == (
        "20 documents, 2.0/s, 300 tokens/s, 50%, 10 s left"
    )
