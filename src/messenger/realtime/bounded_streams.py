"""Limits concurrent database work for sockets, so that requests always find a free connection."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from messenger.actor import Actor, Caller
from messenger.realtime.interfaces import DeliveryAck, Handshake, SocketAudit, SocketRef, StreamPage, Streams


class BoundedStreams:
    """Runs at most `width` handshakes and page reads at a time; the others wait here, without a time limit.

    The pool refuses a caller after two seconds: right for a request, wrong for 5,000 sockets that reconnect at once.
    Handshakes and pages have separate queues: in a single queue, the first socket would get its first page only after
    the last handshake.
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
