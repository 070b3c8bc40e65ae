"""Many simultaneous catch-ups: a bounded number runs at a time, and no socket waits for all others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import pytest

from messenger.actor import Actor
from messenger.realtime.bounded_streams import BoundedStreams
from messenger.realtime.interfaces import DeliveryAck, Handshake, SocketAudit, SocketRef, StreamPage

ADA = Actor(1, uuid4())


class Slow:
    """Slow streams that record the order in which they are read."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.served: list[str] = []

    async def _serve(self, what: str) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        self.served.append(what)

    async def open_socket(self, caller: Any, ticket: str | None = None) -> Handshake:
        await self._serve("arrival")
        return Handshake(ADA, 0, 0, "", 1)

    async def read_page(self, actor: Actor, *, after: int, limit: int) -> StreamPage:
        await self._serve("page")
        return StreamPage([], 0, 0, 0)

    async def record_delivered(self, acks: Sequence[DeliveryAck]) -> None:
        await self._serve("proof")

    async def reconcile(self, sockets: Sequence[SocketRef], waiting: Sequence[int]) -> SocketAudit:
        await self._serve("look")
        return SocketAudit({}, None, set(), set(), set())


@pytest.mark.parametrize(("width", "most"), [(1, 2), (2, 2), (5, 5), (6, 6)])
async def test_concurrent_catch_ups_are_bounded(width: int, most: int) -> None:
    streams = Slow()
    bounded = BoundedStreams(streams, width)
    await asyncio.gather(
        *(bounded.open_socket(None) for _ in range(50)), *(bounded.read_page(ADA, after=0, limit=1) for _ in range(50))
    )
    assert (streams.most, len(streams.served)) == (most, 100)


async def test_first_page_does_not_wait_for_last_socket() -> None:
    streams = Slow()
    bounded = BoundedStreams(streams, 4)

    async def connect() -> None:
        await bounded.open_socket(None)
        await bounded.read_page(ADA, after=0, limit=1)

    await asyncio.gather(*(connect() for _ in range(100)))
    assert "page" in streams.served[:10]


async def test_acknowledgements_and_polls_do_not_queue() -> None:
    streams = Slow()
    bounded = BoundedStreams(streams, 1)
    pages = [asyncio.create_task(bounded.read_page(ADA, after=0, limit=1)) for _ in range(20)]
    await asyncio.sleep(0)
    await asyncio.gather(bounded.record_delivered([]), bounded.reconcile([], []))
    assert set(streams.served[:4]) >= {"proof", "look"}
    await asyncio.gather(*pages)
