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


class Crowd:
    """Requests that wait for one place, and the order in which they get it."""

    def __init__(self, most: int) -> None:
        self.queue = FairQueue(1, most)
        self.served: list[str] = []
        self.refused: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def come(self, *names: str, known: bool = False) -> None:
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
        crowd = Crowd(10)
        await crowd.come("a1", "a2", "a3")
        assert await crowd.serve() == ["a1", "a2", "a3"]

    async def test_sources_take_turns(self) -> None:
        crowd = Crowd(10)
        await crowd.come("a0", "a1", "a2", "a3", "b1", "b2", "c1")
        assert await crowd.serve() == ["a0", "a1", "b1", "c1", "a2", "b2", "a3"]

    async def test_known_sources_take_turns_with_the_crowd(self) -> None:
        crowd = Crowd(10)
        await crowd.come("z0", *"abcdefg")
        await crowd.come("k1", "l1", known=True)
        assert (await crowd.serve())[:5] == ["z0", "k1", "a", "l1", "b"]


class TestFullQueue:
    async def test_source_with_most_requests_gives_way(self) -> None:
        crowd = Crowd(3)
        await crowd.come("a0", "a1", "a2", "a3", "b1")
        assert crowd.refused == ["a3"]
        assert await crowd.serve() == ["a0", "a1", "b1", "a2"]

    async def test_source_with_most_requests_gets_no_more_places(self) -> None:
        crowd = Crowd(3)
        await crowd.come("a0", "a1", "a2", "b1", "a3")
        assert crowd.refused == ["a3"]

    async def test_equal_sources_keep_requests(self) -> None:
        crowd = Crowd(2)
        await crowd.come("a0", "a1", "b1", "c1")
        assert crowd.refused == ["c1"]

    async def test_crowd_leaves_room_for_known_sources(self) -> None:
        crowd = Crowd(2)
        await crowd.come("z0", "a", "b", "c")
        await crowd.come("k1", known=True)
        assert crowd.refused == ["c"]
        assert await crowd.serve() == ["z0", "k1", "a", "b"]

    async def test_queue_without_room_refuses_immediately(self) -> None:
        crowd = Crowd(0)
        await crowd.come("a0", "b1")
        assert crowd.refused == ["b1"]


class TestCancelledRequests:
    async def test_cancelled_request_frees_place(self) -> None:
        crowd = Crowd(1)
        await crowd.come("a0", "a1")
        await crowd.give_up(1)
        await crowd.come("b1")
        assert (await crowd.serve(), crowd.refused) == (["a0", "b1"], [])

    async def test_place_given_to_a_cancelled_request_is_passed_on(self) -> None:
        crowd = Crowd(2)
        await crowd.come("a0", "a1", "b1")
        crowd.queue.leave()
        await crowd.give_up(1)
        await settle()
        assert crowd.served == ["a0", "b1"]


class TestClosedQueue:
    async def test_waiting_and_later_requests_are_refused(self) -> None:
        crowd = Crowd(2)
        await crowd.come("a0", "a1")
        await crowd.come("k1", known=True)
        crowd.queue.close()
        await settle()
        await crowd.come("b1")
        assert sorted(crowd.refused) == ["a1", "b1", "k1"]
