"""Batches: alone while there is little to do, together under load, and each item with its own outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from messenger.errors import DatabaseUnavailable, PeerNotFound
from messenger.services._batches import MOST, Batches, RunAlone


class Work:
    """Doubles numbers; holds each run until it is let go; refuses what is negative."""

    def __init__(self, lanes: int = 1) -> None:
        self.batches: Batches[int, int] = Batches(self.alone, self.together, lanes=lanes)
        self.runs: list[list[int]] = []
        self.gate = asyncio.Event()
        self.failure: Exception | None = None
        self.not_together: set[int] = set()
        self.away = False

    async def alone(self, item: int) -> int:
        self.runs.append([item])
        await self.gate.wait()
        if self.away:
            raise DatabaseUnavailable
        if item < 0:
            raise PeerNotFound
        return 2 * item

    async def together(self, items: Sequence[int]) -> list[int | Exception]:
        self.runs.append(list(items))
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return [RunAlone() if item in self.not_together else PeerNotFound() if item < 0 else 2 * item for item in items]

    async def ask(self, *items: int) -> list[asyncio.Task[int]]:
        """What was asked for, in this order, and is under way or waits."""
        tasks = [asyncio.create_task(self.batches.run(item)) for item in items]
        await asyncio.sleep(0)
        return tasks


class TestRuns:
    async def test_who_comes_first_goes_alone_and_the_others_share_the_next(self) -> None:
        work = Work()
        tasks = await work.ask(1, 2, 3)
        assert work.runs == [[1]]
        work.gate.set()
        assert await asyncio.gather(*tasks) == [2, 4, 6]
        assert work.runs == [[1], [2, 3]]

    async def test_free_lane_is_taken_at_once(self) -> None:
        work = Work(lanes=2)
        tasks = await work.ask(1, 2, 3)
        assert work.runs == [[1], [2]]
        work.gate.set()
        assert await asyncio.gather(*tasks) == [2, 4, 6]

    async def test_one_that_waits_by_itself_goes_alone(self) -> None:
        work = Work()
        tasks = await work.ask(1, 2)
        work.gate.set()
        await asyncio.gather(*tasks)
        assert work.runs == [[1], [2]]

    async def test_batch_has_its_bound(self) -> None:
        work = Work()
        tasks = await work.ask(*range(MOST + 3))
        work.gate.set()
        await asyncio.gather(*tasks)
        assert [len(run) for run in work.runs] == [1, MOST, 2]

    async def test_lane_is_free_again(self) -> None:
        work = Work()
        work.gate.set()
        for item in range(3):
            assert await work.batches.run(item) == 2 * item
        assert work.runs == [[0], [1], [2]]


class TestOutcomes:
    async def test_each_has_its_own(self) -> None:
        work = Work()
        tasks = await work.ask(1, 2, -3, 4)
        work.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert results[:2] + results[3:] == [2, 4, 8]
        assert isinstance(results[2], PeerNotFound)

    async def test_one_that_can_t_be_told_is_run_alone(self) -> None:
        work = Work()
        work.not_together = {3}
        tasks = await work.ask(1, 2, 3)
        work.gate.set()
        assert await asyncio.gather(*tasks) == [2, 4, 6]
        assert work.runs == [[1], [2, 3], [3]]

    async def test_others_don_t_wait_for_one_that_is_run_alone(self) -> None:
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

    async def test_failed_batch_is_run_one_by_one(self) -> None:
        work = Work()
        work.failure = RuntimeError("one of them")
        tasks = await work.ask(1, 2, -3)
        work.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert results[:2] == [2, 4]
        assert isinstance(results[2], PeerNotFound)

    async def test_database_that_is_away_is_asked_once(self) -> None:
        work = Work()
        work.failure = DatabaseUnavailable()
        tasks = await work.ask(1, 2, 3)
        work.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results[1:]] == [DatabaseUnavailable, DatabaseUnavailable]
        assert work.runs == [[1], [2, 3]]

    @pytest.mark.parametrize("first", [[1], [1, 2], [1, 2, 3]], ids=["alone", "one of a queue", "together"])
    async def test_who_waited_behind_it_is_not_made_to_wait_again(
        self, first: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        work = Work()
        tasks = await work.ask(*first)
        if len(first) > 1:
            # The lane goes on with the others, which stay under way.
            work.gate.set()
            work.gate.clear()
            await tasks[0]
            await asyncio.sleep(0)
        monkeypatch.setattr("messenger.services._batches._WAITED_SECONDS", 0.0)
        waiting = await work.ask(8, 9)
        work.away, work.failure = True, DatabaseUnavailable()
        runs = len(work.runs)
        work.gate.set()
        results = await asyncio.gather(*tasks[len(first) > 1 :], *waiting, return_exceptions=True)
        assert {type(result) for result in results} == {DatabaseUnavailable}
        assert len(work.runs) == runs

    async def test_who_has_only_just_come_is_asked_for(self) -> None:
        work = Work()
        tasks = await work.ask(-1, 2)
        work.away = True
        waiting = await work.ask(8)
        work.gate.set()
        await asyncio.gather(*tasks, *waiting, return_exceptions=True)
        assert work.runs == [[-1], [2, 8]]


class TestCancellation:
    async def test_who_goes_away_while_waiting_is_not_run(self) -> None:
        work = Work()
        tasks = await work.ask(1, 2, 3)
        tasks[1].cancel()
        await asyncio.sleep(0)
        work.gate.set()
        assert await tasks[0] == 2
        assert await tasks[2] == 6
        assert work.runs == [[1], [3]]

    async def test_who_goes_away_while_running_leaves_the_others_theirs(self) -> None:
        work = Work()
        tasks = await work.ask(1, 2, 3)
        tasks[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        await asyncio.sleep(0)
        tasks[1].cancel()
        work.gate.set()
        assert await tasks[2] == 6
        assert await work.batches.run(4) == 8
