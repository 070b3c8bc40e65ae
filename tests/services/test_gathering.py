"""After a batch, the queue of a group commit waits a moment for the clients that were answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.services._work import Work


@pytest.fixture(autouse=True)
def never_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """No run counts as slow, however busy the machine is."""
    monkeypatch.setattr("messenger.services._group_commit._LEAST_SLOW", 60.0)
    monkeypatch.setattr("messenger.services._group_commit._MOST_SLOW", 60.0)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue waits for many seconds, so that only its size ends the wait."""
    monkeypatch.setattr("messenger.services._group_commit._LONGEST_GATHERING", 60.0)


async def answered_together(work: Work, items: Sequence[int]) -> None:
    """Run a batch of these items; all of them have their outcomes."""
    tasks = await work.ask(0, *items)
    work.gate.set()
    await asyncio.gather(*tasks)
    assert work.runs == [[0], list(items)]
    work.gate.clear()


class TestGathering:
    @pytest.mark.usefixtures("patient")
    async def test_queue_waits_for_as_many_items_as_were_answered(self) -> None:
        work = Work(lanes=4)
        await answered_together(work, [1, 2, 3, 4])
        tasks = await work.ask(5, 6, 7)
        assert work.runs[2:] == []
        tasks += await work.ask(8)
        assert work.runs[2:] == [[5, 6, 7, 8]]
        work.gate.set()
        assert await asyncio.gather(*tasks) == [10, 12, 14, 16]

    async def test_wait_ends_without_further_items(self) -> None:
        work = Work(lanes=4)
        await answered_together(work, [1, 2, 3, 4])
        work.gate.set()
        tasks = await work.ask(5, 6)
        assert await asyncio.wait_for(asyncio.gather(*tasks), 5) == [10, 12]
        assert work.runs[2:] == [[5, 6]]

    @pytest.mark.usefixtures("patient")
    async def test_item_after_small_batch_runs_immediately(self) -> None:
        work = Work(lanes=4)
        await answered_together(work, [1, 2, 3])
        tasks = await work.ask(4)
        assert work.runs[2:] == [[4]]
        work.gate.set()
        assert await asyncio.gather(*tasks) == [8]

    @pytest.mark.usefixtures("patient")
    async def test_item_after_single_item_runs_immediately(self) -> None:
        work = Work(lanes=4)
        work.gate.set()
        assert await work.run(1) == 2
        work.gate.clear()
        tasks = await work.ask(2)
        assert work.runs == [[1], [2]]
        work.gate.set()
        assert await asyncio.gather(*tasks) == [4]

    @pytest.mark.usefixtures("patient")
    async def test_queued_items_count_in_addition_to_answered_items(self) -> None:
        work = Work(lanes=4)
        tasks = await work.ask(0, 1, 2, 3, 4)
        await work.pass_gate()
        waiting = await work.ask(5, 6)
        await work.pass_gate()
        await asyncio.gather(*tasks)
        waiting += await work.ask(7, 8, 9)
        assert work.runs[2:] == []
        waiting += await work.ask(10)
        assert work.runs[2:] == [[5, 6, 7, 8, 9, 10]]
        work.gate.set()
        await asyncio.gather(*waiting)

    @pytest.mark.parametrize(("usual", "longest"), [(0.002, 0.002), (5.0, 0.01)], ids=["usual time", "10 ms"])
    async def test_wait_is_as_long_as_usual_run_and_bounded(self, usual: float, longest: float) -> None:
        work = Work()
        work.batches._usual = usual
        work.batches._gather(4)
        assert work.batches._gathering is not None
        assert work.batches._gathering.when() - asyncio.get_running_loop().time() <= longest
        work.batches._gathering.cancel()
