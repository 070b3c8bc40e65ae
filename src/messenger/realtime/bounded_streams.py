"""A turnstile before the database: however many sockets come at once, requests find a connection too."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from messenger.actor import Actor, Caller
from messenger.realtime.interfaces import Arrival, Lookout, Socketed, StreamPage, Streams, Taken


class Turnstile:
    """The same streams, `width` arrivals and pages of sockets at a time; the others wait here, without a time limit.

    The pool gives up on who waits there for two seconds: right for a request, wrong for 5,000 sockets that come back.
    Arrivals and pages stand in two lines: in one, who came first would get their first page after the last one came.
    """

    def __init__(self, streams: Streams, width: int) -> None:
        self._streams = streams
        self._arrivals = asyncio.Semaphore(max(1, width // 2))
        self._pages = asyncio.Semaphore(max(1, width - width // 2))

    async def arrive(self, caller: Caller | None, ticket: str | None = None) -> Arrival:
        async with self._arrivals:
            return await self._streams.arrive(caller, ticket)

    async def read(self, actor: Actor, *, after: int, limit: int) -> StreamPage:
        async with self._pages:
            return await self._streams.read(actor, after=after, limit=limit)

    async def take(self, taken: Sequence[Taken]) -> None:
        await self._streams.take(taken)

    async def look(self, sockets: Sequence[Socketed], waiting: Sequence[int]) -> Lookout:
        return await self._streams.look(sockets, waiting)
