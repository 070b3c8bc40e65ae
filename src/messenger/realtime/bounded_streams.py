"""Limits concurrent database work for sockets, so that requests always find a free connection."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from messenger.actor import Actor, Caller
from messenger.realtime.interfaces import DeliveryAck, Handshake, SocketAudit, SocketRef, StreamPage, Streams


class BoundedStreams:
    """The same streams, `width` arrivals and pages of sockets at a time; the others wait here, without a time limit.

    The pool gives up on who waits there for two seconds: right for a request, wrong for 5,000 sockets that come back.
    Arrivals and pages stand in two lines: in one, who came first would get their first page after the last one came.
    """

    def __init__(self, streams: Streams, width: int) -> None:
        self._streams = streams
        self._handshakes = asyncio.Semaphore(max(1, width // 2))
        self._pages = asyncio.Semaphore(max(1, width - width // 2))

    async def open_socket(self, caller: Caller | None, ticket: str | None = None) -> Handshake:
        async with self._handshakes:
            return await self._streams.open_socket(caller, ticket)

    async def read_page(self, actor: Actor, *, after: int, limit: int) -> StreamPage:
        async with self._pages:
            return await self._streams.read_page(actor, after=after, limit=limit)

    async def record_delivered(self, acks: Sequence[DeliveryAck]) -> None:
        await self._streams.record_delivered(acks)

    async def reconcile(self, sockets: Sequence[SocketRef], waiting: Sequence[int]) -> SocketAudit:
        return await self._streams.reconcile(sockets, waiting)
