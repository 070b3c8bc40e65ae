"""Group commit: items whose rows another transaction holds wait in lines, without a lane."""

from __future__ import annotations

import asyncio

import pytest

from messenger.errors import Overloaded
from tests.services._work import Work


class TestBusyRows:
    async def test_busy_item_leaves_lane_and_is_retried(self) -> None:
        work = Work()
        work.gate.set()
        work.busy[1] = 3
        first = asyncio.create_task(work.run(1))
        await asyncio.sleep(0)
        assert await work.run(2) == 4
        assert not first.done()
        assert await first == 2
        assert work.runs.count([1]) == 4

    async def test_busy_item_of_batch_is_retried_alone(self) -> None:
        work = Work()
        work.busy[2] = 1
        tasks = await work.ask(1, 2, 3)
        work.gate.set()
        assert await asyncio.gather(*tasks) == [2, 4, 6]
        assert work.runs == [[1], [2, 3], [2]]

    async def test_item_busy_too_long_raises_overloaded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("messenger.services._busy_lines._BUSY_SECONDS", 0.02)
        work = Work()
        work.gate.set()
        work.busy[1] = 10**6
        with pytest.raises(Overloaded):
            await work.run(1)
        assert await work.run(2) == 4

    async def test_pauses_grow_with_each_try_and_with_the_number_of_lines(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("messenger.services._busy_lines._BUSY_SECONDS", 0.2)
        monkeypatch.setattr("messenger.services._busy_lines._MANY_LINES", 4)
        work = Work(lanes=4)
        work.gate.set()
        count = 40
        for item in range(count):
            work.busy[item] = 10**6
        results = await asyncio.gather(*(work.run(item) for item in range(count)), return_exceptions=True)
        assert {type(result) for result in results} == {Overloaded}
        # Without these bounds there would be 200 attempts of each item.
        assert sum(map(len, work.runs)) < 10 * count


class TestPatientItems:
    async def test_repeatedly_busy_item_waits_for_locks(self) -> None:
        work = Work(lanes=2)
        work.gate.set()
        work.busy[1], work.queued = 10**6, {1}
        assert await work.run(1) == 2
        assert work.waited == [1]

    async def test_briefly_busy_item_does_not_wait_for_locks(self) -> None:
        work = Work(lanes=2)
        work.gate.set()
        work.busy[1] = 2
        assert await work.run(1) == 2
        assert work.waited == []

    async def test_only_two_items_wait_at_a_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("messenger.services._group_commit._PATIENT_AFTER", 0.0)
        work = Work(lanes=8)
        for item in range(1, 6):
            work.busy[item] = 1
        tasks = await work.ask(*range(1, 6))
        work.gate.set()
        held = asyncio.Event()
        under_way, most = 0, 0

        async def patiently(item: int) -> int:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await held.wait()
            under_way -= 1
            return 2 * item

        monkeypatch.setattr(work.batches, "_patiently", patiently)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        held.set()
        assert sorted(await asyncio.gather(*tasks)) == [2, 4, 6, 8, 10]
        assert most <= 2

    async def test_no_item_waits_for_locks_with_single_lane(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("messenger.services._group_commit._PATIENT_AFTER", 0.0)
        work = Work(lanes=1)
        work.gate.set()
        work.busy = {1: 3}
        assert await work.run(1) == 2
        assert work.waited == []


class TestLines:
    async def test_single_probe_is_tried_for_items_of_same_rows(self) -> None:
        work = Work(lanes=4, key=lambda item: 0)
        work.line = lambda item: 0
        work.gate.set()
        work.busy[1] = 3
        results = await asyncio.gather(*(work.run(item) for item in range(1, 6)))
        assert results == [2, 4, 6, 8, 10]
        # The others were in the queue once, when the first one was busy.
        assert work.runs[0] == [1]
        assert [run for run in work.runs if 1 in run] == [[1]] * 4
        assert len(work.runs) <= 6

    async def test_items_of_line_keep_order(self) -> None:
        work = Work(lanes=1)
        work.line = lambda item: 0
        work.gate.set()
        work.busy[1] = 2
        first = asyncio.create_task(work.run(1))
        await asyncio.sleep(0)
        later = [asyncio.create_task(work.run(item)) for item in (2, 3, 4)]
        await asyncio.gather(first, *later)
        assert work.runs == [[1], [1], [1], [2, 3, 4]]

    async def test_cancelled_probe_is_replaced(self) -> None:
        work = Work(lanes=1)
        work.line = lambda item: 0
        work.gate.set()
        work.busy[1] = 10**6
        first = asyncio.create_task(work.run(1))
        await asyncio.sleep(0)
        second = asyncio.create_task(work.run(2))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == 4

    async def test_line_of_persistently_busy_items_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("messenger.services._busy_lines._BUSY_SECONDS", 0.02)
        work = Work(lanes=1)
        work.line = lambda item: 0
        work.gate.set()
        for item in (1, 2, 3):
            work.busy[item] = 10**6
        results = await asyncio.gather(*(work.run(item) for item in (1, 2, 3)), return_exceptions=True)
        assert {type(result) for result in results} == {Overloaded}
        assert await work.run(4) == 8
