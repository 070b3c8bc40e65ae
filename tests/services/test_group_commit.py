"""Group commit: items run alone under low load and in batches under high load, each with its own outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from messenger.errors import DatabaseUnavailable, Overloaded, PeerNotFound
from messenger.services._group_commit import MOST, GroupCommit, RowsBusy, RunAlone


class Work:
    """Doubles numbers, and refuses negative ones; each run waits until `gate` is set."""

    def __init__(self, lanes: int = 1, key: Callable[[int], int] = int) -> None:
        self.batches: GroupCommit[int, int] = GroupCommit(self.alone, self.together, self.patiently, lanes=lanes)
        self.key = key
        self.line: Callable[[int], int] = int
        self.busy: dict[int, int] = {}
        self.waited: list[int] = []
        self.queued: set[int] = set()
        self.runs: list[list[int]] = []
        self.gate = asyncio.Event()
        self.failure: Exception | None = None
        self.not_together: set[int] = set()
        self.away = False
        self.poison: int | None = None

    async def run(self, item: int) -> int:
        return await self.batches.run(item, self.key(item), self.line(item))

    async def alone(self, item: int) -> int:
        self.runs.append([item])
        await self.gate.wait()
        if item == self.poison:
            raise RuntimeError("what the database refuses")
        if self.away:
            raise DatabaseUnavailable
        if self.is_busy(item):
            raise RowsBusy
        if item < 0:
            raise PeerNotFound
        return 2 * item

    async def patiently(self, item: int) -> int:
        self.waited.append(item)
        return 2 * item if item in self.queued else await self.alone(item)

    def is_busy(self, item: int) -> bool:
        """Whether another transaction holds the item's rows; `busy` is the number of attempts for which it does."""
        left = self.busy.get(item, 0)
        self.busy[item] = left - 1
        return left > 0

    async def together(self, items: Sequence[int]) -> list[int | Exception]:
        self.runs.append(list(items))
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        if self.poison in items:
            raise RuntimeError("what the database refuses")
        return [self.outcome(item) for item in items]

    def outcome(self, item: int) -> int | Exception:
        if self.is_busy(item):
            return RowsBusy()
        return RunAlone() if item in self.not_together else PeerNotFound() if item < 0 else 2 * item

    async def ask(self, *items: int) -> list[asyncio.Task[int]]:
        """Start these items in order; they are under way or wait."""
        tasks = [asyncio.create_task(self.run(item)) for item in items]
        await asyncio.sleep(0)
        return tasks


class TestBatching:
    async def test_first_item_runs_alone_and_waiting_items_share_next_run(self) -> None:
        work = Work()
        tasks = await work.ask(1, 2, 3)
        assert work.runs == [[1]]
        work.gate.set()
        assert await asyncio.gather(*tasks) == [2, 4, 6]
        assert work.runs == [[1], [2, 3]]

    async def test_free_lane_is_used_immediately(self) -> None:
        work = Work(lanes=2)
        tasks = await work.ask(1, 2, 3)
        assert work.runs == [[1], [2]]
        work.gate.set()
        assert await asyncio.gather(*tasks) == [2, 4, 6]

    async def test_single_waiting_item_runs_alone(self) -> None:
        work = Work()
        tasks = await work.ask(1, 2)
        work.gate.set()
        await asyncio.gather(*tasks)
        assert work.runs == [[1], [2]]

    async def test_batch_size_is_bounded(self) -> None:
        work = Work()
        tasks = await work.ask(*range(MOST + 3))
        work.gate.set()
        await asyncio.gather(*tasks)
        assert [len(run) for run in work.runs] == [1, MOST, 2]

    async def test_finished_lane_is_reused(self) -> None:
        work = Work()
        work.gate.set()
        for item in range(3):
            assert await work.run(item) == 2 * item
        assert work.runs == [[0], [1], [2]]


class TestOutcomes:
    async def test_each_item_gets_own_outcome(self) -> None:
        work = Work()
        tasks = await work.ask(1, 2, -3, 4)
        work.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert results[:2] + results[3:] == [2, 4, 8]
        assert isinstance(results[2], PeerNotFound)

    async def test_item_without_an_outcome_in_the_batch_runs_alone(self) -> None:
        work = Work()
        work.not_together = {3}
        tasks = await work.ask(1, 2, 3)
        work.gate.set()
        assert await asyncio.gather(*tasks) == [2, 4, 6]
        assert work.runs == [[1], [2, 3], [3]]

    async def test_batch_does_not_wait_for_item_running_alone(self) -> None:
        work = Work()
        work.not_together = {2}
        first, again, other = await work.ask(1, 2, 3)
        work.gate.set()
        await first
        work.gate.clear()
        together = asyncio.create_task(asyncio.wait_for(other, 5))
        await asyncio.sleep(0)
        work.gate.set()
        assert await together == 6
        assert await again == 4
        assert work.runs == [[1], [2, 3], [2]]

    async def test_failed_batch_is_halved_until_success(self) -> None:
        work = Work()
        work.poison = 7
        tasks = await work.ask(*range(1, 10))
        work.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [result for result in results if isinstance(result, int)] == [2, 4, 6, 8, 10, 12, 16, 18]
        assert isinstance(results[6], RuntimeError)
        assert work.runs[1:] == [[2, 3, 4, 5, 6, 7, 8, 9], [2, 3, 4, 5], [6, 7, 8, 9], [6, 7], [6], [7], [8, 9]]

    async def test_failed_batch_runs_items_individually(self) -> None:
        work = Work()
        work.failure = RuntimeError("one of them")
        tasks = await work.ask(1, 2, -3)
        work.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert results[:2] == [2, 4]
        assert isinstance(results[2], PeerNotFound)

    async def test_unavailable_database_is_tried_once(self) -> None:
        work = Work()
        work.failure = DatabaseUnavailable()
        tasks = await work.ask(1, 2, 3)
        work.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results[1:]] == [DatabaseUnavailable, DatabaseUnavailable]
        assert work.runs == [[1], [2, 3]]

    @pytest.mark.parametrize("first", [[1], [1, 2], [1, 2, 3]], ids=["alone", "one of a queue", "together"])
    async def test_waiting_items_fail_with_unavailable_database(
        self, first: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        work = Work()
        tasks = await work.ask(*first)
        if len(first) > 1:
            # The lane continues with the others, which stay under way.
            work.gate.set()
            work.gate.clear()
            await tasks[0]
            await asyncio.sleep(0)
        monkeypatch.setattr("messenger.services._group_commit._WAITED_SECONDS", 0.0)
        waiting = await work.ask(8, 9)
        work.away, work.failure = True, DatabaseUnavailable()
        runs = len(work.runs)
        work.gate.set()
        results = await asyncio.gather(*tasks[len(first) > 1 :], *waiting, return_exceptions=True)
        assert {type(result) for result in results} == {DatabaseUnavailable}
        assert len(work.runs) == runs

    async def test_recently_queued_items_are_still_tried(self) -> None:
        work = Work()
        tasks = await work.ask(-1, 2)
        work.away = True
        waiting = await work.ask(8)
        work.gate.set()
        await asyncio.gather(*tasks, *waiting, return_exceptions=True)
        assert work.runs == [[-1], [2, 8]]


class TestCancellation:
    async def test_item_cancelled_while_waiting_does_not_run(self) -> None:
        work = Work()
        tasks = await work.ask(1, 2, 3)
        tasks[1].cancel()
        await asyncio.sleep(0)
        work.gate.set()
        assert await tasks[0] == 2
        assert await tasks[2] == 6
        assert work.runs == [[1], [3]]

    async def test_item_cancelled_while_running_does_not_affect_batch(self) -> None:
        work = Work()
        tasks = await work.ask(1, 2, 3)
        tasks[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        await asyncio.sleep(0)
        tasks[1].cancel()
        work.gate.set()
        assert await tasks[2] == 6
        assert await work.run(4) == 8


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
        monkeypatch.setattr("messenger.services._group_commit._BUSY_SECONDS", 0.02)
        work = Work()
        work.gate.set()
        work.busy[1] = 10**6
        with pytest.raises(Overloaded):
            await work.run(1)
        assert await work.run(2) == 4

    async def test_pauses_grow_with_each_try_and_with_the_number_of_lines(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("messenger.services._group_commit._BUSY_SECONDS", 0.2)
        monkeypatch.setattr("messenger.services._group_commit._MANY_LINES", 4)
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
        monkeypatch.setattr("messenger.services._group_commit._BUSY_SECONDS", 0.02)
        work = Work(lanes=1)
        work.line = lambda item: 0
        work.gate.set()
        for item in (1, 2, 3):
            work.busy[item] = 10**6
        results = await asyncio.gather(*(work.run(item) for item in (1, 2, 3)), return_exceptions=True)
        assert {type(result) for result in results} == {Overloaded}
        assert await work.run(4) == 8


class TestLaneKeys:
    async def test_items_of_same_key_never_use_two_lanes(self) -> None:
        work = Work(lanes=3, key=lambda item: item % 2)
        tasks = await work.ask(1, 3, 5, 2)
        assert work.runs == [[1], [2]]
        work.gate.set()
        assert await asyncio.gather(*tasks) == [2, 6, 10, 4]
        assert work.runs == [[1], [2], [3, 5]]

    async def test_item_with_free_key_overtakes_items_of_busy_key(self) -> None:
        work = Work(lanes=2, key=lambda item: item % 10)
        tasks = await work.ask(1, 2, 11, 21, 3)
        work.gate.set()
        await asyncio.gather(*tasks)
        assert work.runs[2] in ([11, 21, 3], [11, 21], [3])
        assert sorted(item for run in work.runs[2:] for item in run) == [3, 11, 21]
