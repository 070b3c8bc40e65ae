"""Group commit: items whose rows another transaction holds wait in lines, without a lane."""

from __future__ import annotations

import asyncio

import pytest

from messenger.errors import Overloaded
from messenger.services import _busy_lines
from messenger.services._busy_lines import BusyLines, Waiting
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

    async def test_items_parked_together_keep_order(self) -> None:
        work = Work(lanes=1)
        work.line = lambda item: 0 if item else 1
        work.busy = {1: 1, 2: 1, 3: 1}
        tasks = await work.ask(0, 1, 2, 3)
        work.gate.set()
        assert await asyncio.wait_for(asyncio.gather(*tasks), 5) == [0, 2, 4, 6]
        assert work.runs == [[0], [1, 2, 3], [1], [2, 3]]

    async def test_outcome_of_other_item_does_not_end_line(self) -> None:
        work = Work(lanes=1)
        work.line = lambda item: 0 if item else 1
        work.busy = {1: 2}
        tasks = await work.ask(0, 1, 2)
        work.gate.set()
        assert await asyncio.wait_for(asyncio.gather(*tasks), 5) == [0, 2, 4]
        assert work.runs == [[0], [1, 2], [1], [1]]

    async def test_items_continue_after_wait_for_locks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("messenger.services._group_commit._PATIENT_AFTER", 0.0)
        work = Work(lanes=2)
        work.line = lambda item: item // 10
        for line in (10, 20, 30):
            work.busy = {line: 1}
            work.gate.clear()
            tasks = await work.ask(line, line + 1)
            work.gate.set()
            assert await asyncio.wait_for(asyncio.gather(*tasks), 5) == [2 * line, 2 * line + 2]
        assert work.waited == [10, 20, 30]

    async def test_probe_cancelled_in_queue_releases_line(self) -> None:
        work = Work(lanes=1)
        work.line = lambda item: item // 10
        work.busy[1] = 1
        first, other = await work.ask(1, 10)
        await work.pass_gate()
        (second,) = await work.ask(2)
        # The other item has the lane: the first one is retried, and waits in the queue.
        async with asyncio.timeout(5):
            while not work.batches._queue:
                await asyncio.sleep(0)
        first.cancel()
        work.gate.set()
        assert list(await asyncio.wait_for(asyncio.gather(second, other), 5)) == [4, 20]
        assert work.runs == [[1], [10], [2]]


class Lines:
    """Lines whose retries and expiries are recorded, with a clock of their own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(_busy_lines, "perf_counter", lambda: self.now)
        monkeypatch.setattr("random.uniform", lambda low, high: (low + high) / 2)
        self.retried: list[int] = []
        self.expired: list[int] = []
        self.lines: BusyLines[int, int] = BusyLines(
            lambda waiting: self.retried.append(waiting.item), lambda waiting, error: self.expired.append(waiting.item)
        )

    def park(self, *items: int, line: int = 0) -> list[Waiting[int, int]]:
        waiting = [Waiting[int, int](item, item, line) for item in items]
        for each in waiting:
            self.lines.park(each)
        return waiting

    def wake(self, seconds: float) -> None:
        """Retry what is due after this time."""
        self.now += seconds
        self.lines._try_again()


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Lines:
    return Lines(monkeypatch)


class TestRetries:
    @pytest.mark.parametrize(
        ("tries", "pause"), [(0, 0.001), (3, 0.008), (6, 0.064), (20, 0.064)], ids=["first", "doubled", "last", "bound"]
    )
    @pytest.mark.parametrize(("others", "factor"), [(0, 1.0), (511, 2.0)], ids=["few lines", "many lines"])
    async def test_pause_doubles_and_grows_with_number_of_lines(
        self, lines: Lines, tries: int, pause: float, others: int, factor: float
    ) -> None:
        for other in range(1, others + 1):
            lines.park(other, line=other)
        (waiting,) = lines.park(0)
        for _ in range(tries):
            lines.wake(1.0)
            waiting.since = lines.now
            lines.lines.park(waiting)
        (due,) = [due for due, _, name in lines.lines._due if name == 0]
        assert due - lines.now == pytest.approx(pause * factor)

    async def test_timer_is_set_to_first_due_line(self, lines: Lines) -> None:
        lines.park(1, line=1)
        timer, loop = lines.lines._timer, asyncio.get_running_loop()
        assert timer is not None
        assert timer.when() - loop.time() <= 0.001
        timer.cancel()

    async def test_item_of_disconnected_client_is_not_retried(self, lines: Lines) -> None:
        first, _ = lines.park(1, 2)
        first.future.cancel()
        lines.wake(0.01)
        assert lines.retried == [2]

    async def test_all_overdue_items_expire_at_once(self, lines: Lines) -> None:
        lines.park(1, 2)
        lines.now += 1.0
        lines.park(3)
        lines.wake(0.9)
        assert (lines.expired, lines.retried) == ([1, 2], [3])
