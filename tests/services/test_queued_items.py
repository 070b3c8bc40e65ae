"""Group commit: the order of the queue, what happens behind a failed or cancelled run, and when a run is slow."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

import pytest

from messenger.errors import DatabaseUnavailable
from messenger.services import _group_commit
from messenger.services._group_commit import MOST
from tests.services._work import Work

REQUEST: ContextVar[str] = ContextVar("request", default="none")


@pytest.fixture(autouse=True)
def never_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """No run counts as slow, however busy the machine is."""
    monkeypatch.setattr(_group_commit, "_LEAST_SLOW", 60.0)
    monkeypatch.setattr(_group_commit, "_MOST_SLOW", 60.0)


@pytest.fixture
def always_slow(never_slow: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run counts as slow from its start, so that the queue uses all free lanes."""
    monkeypatch.setattr(_group_commit, "_LEAST_SLOW", 0.0)
    monkeypatch.setattr(_group_commit, "_MOST_SLOW", 0.0)


async def finished(tasks: list[asyncio.Task[int]]) -> list[int]:
    """The outcomes; fails if an item is forgotten."""
    return await asyncio.wait_for(asyncio.gather(*tasks), 5)


class TestOrder:
    @pytest.mark.usefixtures("always_slow")
    async def test_items_of_busy_key_keep_order(self) -> None:
        work = Work(lanes=2, key=lambda item: item % 10)
        tasks = await work.ask(1, 11, 21, 31)
        assert work.runs == [[1]]
        work.gate.set()
        assert await finished(tasks) == [2, 22, 42, 62]
        assert work.runs == [[1], [11, 21, 31]]

    @pytest.mark.usefixtures("always_slow")
    async def test_items_of_busy_key_stay_before_oversized_items(self) -> None:
        work = Work(lanes=2, key=lambda item: 1 if item < 10 else item)
        tasks = await work.ask(1, 50)
        tasks += await work.ask(2, *range(100, 100 + MOST + 1))
        work.gate.set()
        await finished(tasks)
        assert work.runs[2:] == [[2, *range(100, 100 + MOST - 1)], [100 + MOST - 1, 100 + MOST]]

    @pytest.mark.usefixtures("always_slow")
    async def test_batch_is_formed_from_head_of_queue(self) -> None:
        work = Work(lanes=2, key=lambda item: 0 if item else 1)
        tasks = await work.ask(*range(1, 4 * MOST + 2))
        tasks += await work.ask(0)
        assert work.runs == [[1]]
        work.gate.set()
        await finished(tasks)
        assert work.runs[1] == list(range(2, MOST + 2))

    async def test_items_run_alone_in_order(self) -> None:
        work = Work()
        work.not_together = {2, 3, 4}
        tasks = await work.ask(1, 2, 3, 4)
        work.gate.set()
        assert await finished(tasks) == [2, 4, 6, 8]
        assert work.runs == [[1], [2, 3, 4], [2], [3], [4]]

    async def test_item_waits_for_outcome_of_equal_key_in_committed_batch(self) -> None:
        work = Work(lanes=2, key=lambda item: item % 10)
        tasks = await work.ask(0, 1, 2)
        await work.pass_gate()
        failing = await work.ask(3, 4)
        work.answers.clear()
        await work.pass_gate()
        await asyncio.sleep(0)
        assert work.runs == [[0], [1, 2], [3, 4]]
        # The second batch ends, while the first one prepares its outcomes.
        work.failure = DatabaseUnavailable()
        await work.pass_gate()
        await asyncio.wait(failing)
        later = await work.ask(11)
        assert work.runs == [[0], [1, 2], [3, 4]]
        work.gate.set()
        work.answers.set()
        assert await finished(tasks + later) == [0, 2, 4, 22]


class TestFailedRuns:
    async def test_item_behind_unavailable_database_fails_only_after_long_wait(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_group_commit, "_WAITED_SECONDS", 60.0)
        work = Work()
        first, old, new = await work.ask(1, 2, 3)
        work.batches._queue[0].since -= 60.0
        work.away = True
        await work.pass_gate()
        results = await asyncio.gather(first, old, return_exceptions=True)
        assert [type(result) for result in results] == [DatabaseUnavailable] * 2
        work.away = False
        work.gate.set()
        assert await finished([new]) == [6]


class TestShutdown:
    @pytest.mark.parametrize("lanes", [1, 2], ids=["in a lane", "waiting for locks"])
    async def test_items_of_line_continue_after_cancelled_run(
        self, lanes: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_group_commit, "_PATIENT_AFTER", 0.0)
        work = Work(lanes=lanes)
        work.line = lambda item: 0
        work.busy[1] = 1
        (first,) = await work.ask(1)
        await work.pass_gate()
        (second,) = await work.ask(2)
        # The second attempt is under way.
        assert [await work.started.get(), await work.started.get()] == [[1], [1]]
        (run,) = work.batches._runs
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(first), 5)
        assert first.cancelled()
        work.gate.set()
        assert await finished([second]) == [4]

    async def test_finished_runs_are_not_kept(self) -> None:
        work = Work()
        tasks = await work.ask(1, 2, 3)
        work.gate.set()
        await finished(tasks)
        await asyncio.sleep(0)
        assert work.batches._runs == set()


class TestContext:
    async def test_run_does_not_inherit_context_of_starting_request(self) -> None:
        seen: list[str] = []

        class Noting(Work):
            def start(self, items: list[int]) -> None:
                seen.append(REQUEST.get())
                super().start(items)

        work = Noting()
        REQUEST.set("one")
        tasks = await work.ask(1, 2, 3)
        work.gate.set()
        await finished(tasks)
        assert seen == ["one", "none"]


class Clock:
    """The time of the module under test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(_group_commit, "perf_counter", lambda: self.now)


class TestSlowness:
    @pytest.mark.parametrize(
        ("usual", "slow"),
        [(0.001, 0.01), (0.005, 0.02), (1.0, 0.05)],
        ids=["at least 10 ms", "four times as long as usual", "at most 50 ms"],
    )
    async def test_run_is_slow_after_multiple_of_usual_time(
        self, monkeypatch: pytest.MonkeyPatch, usual: float, slow: float
    ) -> None:
        monkeypatch.undo()
        Clock(monkeypatch)
        work = Work(lanes=2)
        tasks = await work.ask(1)
        work.batches._usual = usual
        assert work.batches._delay() == pytest.approx(slow)
        work.gate.set()
        await finished(tasks)

    async def test_queue_waits_until_latest_run_is_slow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = Clock(monkeypatch)
        work = Work(lanes=3)
        work.batches._writing = {1: clock.now - 50, 2: clock.now - 10}
        assert work.batches._delay() == pytest.approx(50)

    async def test_usual_time_follows_runs_and_caps_slow_runs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = Clock(monkeypatch)
        work = Work()
        work.batches._usual = 0.1
        for taken, usual in ((0.2, 0.1125), (1000.0, 0.1125 + (8 - 1) * 0.1125 / 8)):
            tasks = await work.ask(1, 2, 3)
            await work.pass_gate()
            assert await tasks[0] == 2
            clock.now += taken
            work.gate.set()
            await finished(tasks)
            work.gate.clear()
            assert work.batches._usual == pytest.approx(usual)

    async def test_rest_of_queue_does_not_wait_for_slow_full_batch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_group_commit, "_LEAST_SLOW", 0.01)
        monkeypatch.setattr(_group_commit, "_MOST_SLOW", 0.01)
        work = Work(lanes=2)
        work.gate.set()
        work.batches._free = 0
        tasks = await work.ask(*range(MOST + 2))
        work.gate.clear()
        work.batches._free = 2
        work.batches._dispatch()
        # Nothing commits: the timer alone starts the next run.
        started = [await asyncio.wait_for(work.started.get(), 5) for _ in range(2)]
        assert started == [list(range(MOST)), [MOST, MOST + 1]]
        work.gate.set()
        await finished(tasks)
