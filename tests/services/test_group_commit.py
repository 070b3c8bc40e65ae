"""Group commit: items run alone under low load and in batches under high load, each with its own outcome."""

from __future__ import annotations

import asyncio

import pytest

from messenger.errors import DatabaseUnavailable, PeerNotFound
from messenger.services._group_commit import MOST
from tests.services._work import Work


@pytest.fixture(autouse=True)
def never_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """No run counts as slow, however busy the machine is."""
    monkeypatch.setattr("messenger.services._group_commit._LEAST_SLOW", 60.0)
    monkeypatch.setattr("messenger.services._group_commit._MOST_SLOW", 60.0)


@pytest.fixture
def sometimes_slow(never_slow: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run counts as slow after 10 ms."""
    monkeypatch.setattr("messenger.services._group_commit._LEAST_SLOW", 0.01)
    monkeypatch.setattr("messenger.services._group_commit._MOST_SLOW", 0.01)


@pytest.fixture
def always_slow(never_slow: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run counts as slow from its start, so that the queue uses all free lanes."""
    monkeypatch.setattr("messenger.services._group_commit._LEAST_SLOW", 0.0)
    monkeypatch.setattr("messenger.services._group_commit._MOST_SLOW", 0.0)


class TestBatching:
    async def test_first_item_runs_alone_and_waiting_items_share_next_run(self) -> None:
        work = Work()
        tasks = await work.ask(1, 2, 3)
        assert work.runs == [[1]]
        work.gate.set()
        assert await asyncio.gather(*tasks) == [2, 4, 6]
        assert work.runs == [[1], [2, 3]]

    async def test_items_wait_for_commit_under_way_despite_free_lanes(self) -> None:
        work = Work(lanes=4)
        tasks = await work.ask(1, 2, 3)
        assert work.runs == [[1]]
        work.gate.set()
        assert await asyncio.gather(*tasks) == [2, 4, 6]
        assert work.runs == [[1], [2, 3]]

    async def test_item_runs_immediately_without_commit_under_way(self) -> None:
        work = Work(lanes=4)
        work.gate.set()
        running = asyncio.create_task(work.run(1))
        await asyncio.sleep(0)
        assert work.runs == [[1]]
        assert await running == 2

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


class TestPipeline:
    async def test_full_batch_starts_at_commit_of_previous_batch(self) -> None:
        work = Work(lanes=2)
        tasks = await work.ask(0, 1, 2)
        await work.pass_gate()
        assert await tasks[0] == 0
        later = await work.ask(3, 4)
        assert work.runs == [[0], [1, 2]]
        work.answers.clear()
        await work.pass_gate()
        await asyncio.sleep(0)
        assert work.runs == [[0], [1, 2], [3, 4]]
        assert not any(task.done() for task in tasks[1:])
        work.gate.set()
        work.answers.set()
        assert await asyncio.gather(*tasks, *later) == [0, 2, 4, 6, 8]

    async def test_smaller_batch_waits_for_outcomes_of_previous_batch(self) -> None:
        work = Work(lanes=2)
        tasks = await work.ask(0, 1, 2)
        await work.pass_gate()
        assert await tasks[0] == 0
        later = await work.ask(3)
        work.answers.clear()
        await work.pass_gate()
        await asyncio.sleep(0)
        later += await work.ask(4)
        assert work.runs == [[0], [1, 2]]
        work.gate.set()
        work.answers.set()
        assert await asyncio.gather(*tasks, *later) == [0, 2, 4, 6, 8]
        assert work.runs == [[0], [1, 2], [3, 4]]


class TestSlowRuns:
    @pytest.mark.usefixtures("sometimes_slow")
    async def test_queue_does_not_wait_for_slow_run(self) -> None:
        work = Work(lanes=2)
        tasks = await work.ask(1, 2, 3)
        assert await work.started.get() == [1]
        # Nothing commits: the timer alone starts the next run.
        assert await asyncio.wait_for(work.started.get(), 5) == [2, 3]
        work.gate.set()
        assert await asyncio.gather(*tasks) == [2, 4, 6]

    @pytest.mark.usefixtures("sometimes_slow")
    async def test_item_does_not_wait_for_slow_run(self) -> None:
        work = Work(lanes=3)
        first = await work.ask(1)
        assert await work.started.get() == [1]
        for item in (2, 3):
            first += await work.ask(item)
            assert await asyncio.wait_for(work.started.get(), 5) == [item]
        work.gate.set()
        assert await asyncio.gather(*first) == [2, 4, 6]

    @pytest.mark.usefixtures("always_slow")
    async def test_slow_runs_leave_queue_when_all_lanes_are_used(self) -> None:
        work = Work(lanes=2)
        tasks = await work.ask(1, 2, 3, 4)
        assert work.runs == [[1], [2]]
        work.gate.set()
        assert await asyncio.gather(*tasks) == [2, 4, 6, 8]
        assert work.runs == [[1], [2], [3, 4]]


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

    async def test_first_item_cancelled_while_running_does_not_stop_queue(self) -> None:
        work = Work()
        tasks = await work.ask(1, 2, 3)
        tasks[0].cancel()
        work.gate.set()
        assert await asyncio.gather(*tasks[1:]) == [4, 6]

    async def test_shutdown_cancels_items_of_run_under_way(self) -> None:
        work = Work()
        before = asyncio.all_tasks()
        tasks = await work.ask(1, 2, 3)
        await work.pass_gate()
        assert await tasks[0] == 2
        assert [await work.started.get(), await work.started.get()] == [[1], [2, 3]]
        (run,) = asyncio.all_tasks() - before - set(tasks)
        run.cancel()
        async with asyncio.timeout(5):
            results = await asyncio.gather(*tasks[1:], return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError] * 2
        work.gate.set()
        assert await work.run(4) == 8


@pytest.mark.usefixtures("always_slow")
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
