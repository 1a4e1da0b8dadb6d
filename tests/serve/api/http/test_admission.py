"""The way to the search threads: pools that do not wait for each other, deadlines, and callers that go away."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from service import PATIENCE
from starlette.requests import ClientDisconnect, Request

from lexhound.retrieval.deadline import Deadline, check_deadline, current_deadline, within
from lexhound.retrieval.errors import DeadlineError
from lexhound.serve.api.http import admission as gates
from lexhound.serve.api.http.admission import AdmissionControl
from lexhound.serve.api.http.exceptions import BusyError
from lexhound.serve.api.http.pools import pool_of
from lexhound.serve.api.schemas.search_models import FusionOptions, SearchOptions, TextSearch, VectorSearch


class Work:
    """Something that goes on until it is given up, or let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.ended = threading.Event()
        self.looks = 0

    def __call__(self) -> str:
        self.begun.set()
        try:
            while not self.may_end.wait(0.005):
                check_deadline()
                self.looks += 1
        finally:
            self.ended.set()
        return "done"


def with_gate(
    check: Callable[[AdmissionControl], Any], threads: int = 2, waiting: int = 5, seconds: float | None = None
) -> None:
    async def run() -> None:
        admission = AdmissionControl(threads, waiting, seconds)
        try:
            await check(admission)
        finally:
            admission.close()

    asyncio.run(run())


def test_plain_searches_do_not_wait_for_wide_ones_and_filters() -> None:
    async def check(admission: AdmissionControl) -> None:
        works = [Work() for _ in range(6)]
        running = [
            asyncio.create_task(admission.run(work, pool="wide" if number % 2 else "filter"))
            for number, work in enumerate(works)
        ]
        while not (works[0].begun.is_set() and works[1].begun.is_set()):
            await asyncio.sleep(0.005)
        assert await asyncio.wait_for(admission.run(lambda: 7), PATIENCE) == 7
        assert (admission.waiting, admission.is_stuck) == (4, False)  # one thread a pool
        for work in works:
            work.may_end.set()
        assert await asyncio.gather(*running) == ["done"] * 6
        assert admission.waiting == 0

    with_gate(check)


def test_work_ends_by_its_deadline_and_what_waits_for_it_never_begins() -> None:
    async def check(admission: AdmissionControl) -> None:
        works = [Work(), Work()]
        answers = await asyncio.gather(
            *(
                admission.run(work, pool="wide", deadline=Deadline(seconds))
                for work, seconds in zip(works, (0.3, 0.1), strict=True)
            ),
            return_exceptions=True,
        )
        assert [str(answer).partition(".")[0] for answer in answers] == ["the request was given up after 0"] * 2
        assert all(isinstance(answer, DeadlineError) for answer in answers)
        assert works[0].ended.wait(PATIENCE)
        assert works[0].looks > 0
        assert not works[1].begun.is_set()
        assert await admission.run(lambda: 7, pool="wide") == 7

    with_gate(check)


def test_work_that_looks_at_no_clock_is_answered_in_time_all_the_same() -> None:
    async def check(admission: AdmissionControl) -> None:
        hanging = threading.Event()
        with pytest.raises(DeadlineError):
            await admission.run(lambda: hanging.wait(PATIENCE))
        hanging.set()

    with_gate(check, seconds=0.1)


def test_work_ends_when_its_caller_goes_away() -> None:
    async def check(admission: AdmissionControl) -> None:
        gone = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await gone.wait()
            return {"type": "http.disconnect"}

        work = Work()
        asking = asyncio.create_task(admission.run(work, request=Request({"type": "http"}, receive)))
        while not work.looks:
            await asyncio.sleep(0.005)
        gone.set()
        with pytest.raises(ClientDisconnect):
            await asking
        assert work.ended.wait(PATIENCE)
        assert not work.may_end.is_set()

    with_gate(check)


def test_too_many_in_a_lane_are_sent_away_and_other_lanes_are_open() -> None:
    async def check(admission: AdmissionControl) -> None:
        works = [Work() for _ in range(3)]
        running = [asyncio.create_task(admission.run(work, pool="wide")) for work in works]
        while not works[0].begun.is_set():
            await asyncio.sleep(0.005)
        with pytest.raises(BusyError):
            await admission.run(lambda: 7, pool="wide")
        assert await admission.run(lambda: 7) == 7
        for work in works:
            work.may_end.set()
        await asyncio.gather(*running)

    with_gate(check, waiting=2)


def test_a_gate_whose_threads_are_all_busy_for_long_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(admission: AdmissionControl) -> None:
        works = [Work(), Work()]
        running = [asyncio.create_task(admission.run(works[0]))]
        while not works[0].begun.is_set():
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        assert not admission.is_stuck  # the other thread is free
        running.append(asyncio.create_task(admission.run(works[1])))
        while not works[1].begun.is_set():
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        assert admission.is_stuck
        works[0].may_end.set()
        await running[0]
        assert not admission.is_stuck
        works[1].may_end.set()
        await running[1]

    monkeypatch.setattr(gates, "STUCK_SECONDS", 0.04)
    with_gate(check)


def test_a_deadline_counts_for_its_own_thread_and_block_only() -> None:
    over = Deadline(0.0)
    with pytest.raises(DeadlineError, match="given up after 0 seconds"), within(over):
        raise AssertionError("it began")
    check_deadline()
    long = Deadline(PATIENCE)
    with within(long):
        assert current_deadline() is long
        check_deadline()
        found: list[Deadline | None] = []
        other = threading.Thread(target=lambda: found.append(current_deadline()))
        other.start()
        other.join()
        assert found == [None]
        long.cancel()
        with pytest.raises(DeadlineError, match="nobody waits"):
            check_deadline()
    with suppress(DeadlineError), within(Deadline(None)):
        check_deadline()
    assert current_deadline() is None


@pytest.mark.parametrize(
    ("body", "pool"),
    [
        (TextSearch(query="heat"), "search"),
        (TextSearch(query="heat", k=20, explain=True, highlight=False), "search"),
        (TextSearch(query="heat", k=100, highlight=False), "search"),
        (TextSearch(query="heat", k=100), "wide"),
        (TextSearch(query="heat", k=30, explain=True), "wide"),
        (TextSearch(query="heat", offset=995), "wide"),
        (TextSearch(query="x" * 1001), "wide"),
        (VectorSearch(vector={str(number): 1.0 for number in range(200)}), "search"),
        (VectorSearch(vector={str(number): 1.0 for number in range(201)}), "wide"),
        (TextSearch(query="heat", fusion=FusionOptions(depth=1001)), "wide"),
    ],
)
def test_what_a_request_asks_for_says_its_lane(body: SearchOptions, pool: str) -> None:
    assert pool_of(body.request(body.mode)) == pool
