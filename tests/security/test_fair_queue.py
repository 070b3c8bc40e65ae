"""The queue for password checks: sources take turns, and none can fill the queue for the others."""

from __future__ import annotations

import asyncio

import pytest

from messenger.errors import Overloaded
from messenger.security.fair_queue import FairQueue


async def settle() -> None:
    """Let every runnable task run: a task woken by another runs in the next turn of the loop."""
    for _ in range(3):
        await asyncio.sleep(0)


class Callers:
    """Requests that wait for one place, and the order in which they get it."""

    def __init__(self, most: int) -> None:
        self.queue = FairQueue(1, most)
        self.served: list[str] = []
        self.refused: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def arrive(self, *names: str, known: bool = False) -> None:
        """Add requests; the source is the first letter of the name."""
        for name in names:
            self._tasks.append(asyncio.create_task(self._ask(name, known)))
            await settle()

    async def _ask(self, name: str, known: bool) -> None:
        try:
            await self.queue.enter(name[0], known=known)
        except Overloaded:
            self.refused.append(name)
            return
        self.served.append(name)

    async def serve(self) -> list[str]:
        """Give the place to one request after the other; return their order."""
        while not all(task.done() for task in self._tasks):
            self.queue.leave()
            await settle()
        return self.served

    async def give_up(self, number: int) -> None:
        task = self._tasks[number]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


class TestFairness:
    async def test_requests_of_single_source_are_served_in_order(self) -> None:
        callers = Callers(10)
        await callers.arrive("a1", "a2", "a3")
        assert await callers.serve() == ["a1", "a2", "a3"]

    async def test_sources_take_turns(self) -> None:
        callers = Callers(10)
        await callers.arrive("a0", "a1", "a2", "a3", "b1", "b2", "c1")
        assert await callers.serve() == ["a0", "a1", "b1", "c1", "a2", "b2", "a3"]

    async def test_known_sources_take_turns_with_the_crowd(self) -> None:
        callers = Callers(10)
        await callers.arrive("z0", *"abcdefg")
        await callers.arrive("k1", "l1", known=True)
        assert (await callers.serve())[:5] == ["z0", "k1", "a", "l1", "b"]


class TestFullQueue:
    async def test_source_with_most_requests_gives_way(self) -> None:
        callers = Callers(3)
        await callers.arrive("a0", "a1", "a2", "a3", "b1")
        assert callers.refused == ["a3"]
        assert await callers.serve() == ["a0", "a1", "b1", "a2"]

    async def test_source_with_most_requests_gets_no_more_places(self) -> None:
        callers = Callers(3)
        await callers.arrive("a0", "a1", "a2", "b1", "a3")
        assert callers.refused == ["a3"]

    async def test_equal_sources_keep_requests(self) -> None:
        callers = Callers(2)
        await callers.arrive("a0", "a1", "b1", "c1")
        assert callers.refused == ["c1"]

    async def test_crowd_leaves_room_for_known_sources(self) -> None:
        callers = Callers(2)
        await callers.arrive("z0", "a", "b", "c")
        await callers.arrive("k1", known=True)
        assert callers.refused == ["c"]
        assert await callers.serve() == ["z0", "k1", "a", "b"]

    async def test_queue_without_room_refuses_immediately(self) -> None:
        callers = Callers(0)
        await callers.arrive("a0", "b1")
        assert callers.refused == ["b1"]


class TestCancelledRequests:
    async def test_cancelled_request_frees_place(self) -> None:
        callers = Callers(1)
        await callers.arrive("a0", "a1")
        await callers.give_up(1)
        await callers.arrive("b1")
        assert (await callers.serve(), callers.refused) == (["a0", "b1"], [])

    async def test_place_given_to_a_cancelled_request_is_passed_on(self) -> None:
        callers = Callers(2)
        await callers.arrive("a0", "a1", "b1")
        callers.queue.leave()
        await callers.give_up(1)
        await settle()
        assert callers.served == ["a0", "b1"]


class TestClosedQueue:
    async def test_waiting_and_later_requests_are_refused(self) -> None:
        callers = Callers(2)
        await callers.arrive("a0", "a1")
        await callers.arrive("k1", known=True)
        callers.queue.close()
        await settle()
        await callers.arrive("b1")
        assert sorted(callers.refused) == ["a1", "b1", "k1"]
