"""Stages of long work: what is told, and how often."""

from __future__ import annotations

from lexhound.core.progress import Stage, Step, no_pace


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_stage_tells_its_beginning_its_end_and_in_between_ten_times_a_second() -> None:
    clock, told = Clock(), list[Step]()
    stage = Stage(told.append, "reading", 1000, "rows", clock=clock)
    for _ in range(1000):
        clock.now += 0.001
        stage.add()
    assert told[0] == Step("reading", 0, 1000, "rows")
    assert told[-1] == Step("reading", 1000, 1000, "rows")
    assert 10 <= len(told) <= 12
    assert [step.done for step in told] == sorted(step.done for step in told)


def test_a_stage_may_be_counted_up_to_where_it_is() -> None:
    clock, told = Clock(), list[Step]()
    stage = Stage(told.append, "reading", 100, clock=clock)
    stage.add(30)
    stage.reach(100)
    assert told[-1].done == 100
    assert told[-1].fraction == 1.0


def test_the_share_of_an_unknown_end_is_unknown_and_never_beyond_the_whole() -> None:
    assert Step("reading", 5).fraction is None
    assert Step("reading", 0, 0).fraction is None
    assert Step("reading", 5, 20).fraction == 0.25
    assert Step("reading", 30, 20).fraction == 1.0


def test_nobody_listens() -> None:
    stage = Stage(None, "reading", 2)
    stage.add()
    stage.reach(2)
    no_pace(1)
