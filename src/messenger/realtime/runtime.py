"""Assembles the realtime side of one process, and runs its background tasks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from uuid import UUID

from messenger.actor import Actor
from messenger.bus.bus import Bus
from messenger.clock import Clock
from messenger.errors import MessengerError
from messenger.realtime.connection import SocketConnection
from messenger.realtime.delivery_acks import DeliveryAcks
from messenger.realtime.frames import Codec
from messenger.realtime.hub import Hub
from messenger.realtime.interfaces import SocketRef, Streams
from messenger.realtime.presence import PresenceTracker
from messenger.realtime.receipt_signals import ReceiptSignals
from messenger.realtime.socket import Socket
from messenger.realtime.typing_signals import TypingSignals
from messenger.realtime.upkeep import Upkeep


class Realtime:
    """The realtime side of a process; `worker_id` identifies the process among all that share the database."""

    def __init__(
        self,
        worker_id: UUID,
        clock: Clock,
        bus: Bus,
        hub: Hub,
        presence: PresenceTracker,
        streams: Streams,
        acks: DeliveryAcks,
        receipts: ReceiptSignals,
        *,
        socket_timeout: float,
        limited: bool,
    ) -> None:
        self.worker_id = worker_id
        self.bus = bus
        self.hub = hub
        self.presence = presence
        self.upkeep = Upkeep(hub, presence, bus, streams, socket_timeout=socket_timeout)
        self.limited = limited
        self._clock = clock
        self.streams = streams
        self.acks = acks
        self.receipts = receipts
        hub.on_receipts = self.receipts.on_receipts

    def socket(
        self, actor: Actor, generation: int, connection: SocketConnection, codec: Codec, *, after: int, epoch: str = ""
    ) -> Socket:
        """A socket for this device, not yet connected."""
        return Socket(
            actor, generation, connection, codec, self.streams, self.acks, after=after, epoch=epoch, is_registered=False
        )

    def typing_signals(self, user_id: int) -> TypingSignals:
        """The typing signals of one socket's user."""
        return TypingSignals(user_id, self._clock, self.hub.signal)

    @contextlib.contextmanager
    def connected(self, socket: Socket, *, latest: int) -> Iterator[None]:
        """While in the block, the socket receives events, and its user is online."""
        ref = SocketRef(socket.actor, socket.generation)
        if self.hub.connect(socket, latest=latest):
            self.presence.connected(ref)
        try:
            yield
        finally:
            self.hub.disconnect(socket)
            self.receipts.forget(socket)
            # When the server stops, its clients reconnect to another one within seconds, so no disconnection is
            # announced. Those that do not reconnect go offline when this worker's lease expires.
            if not self.hub.closing:
                self.presence.disconnected(ref)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the background tasks; at the end, write pending acknowledgements for up to two seconds."""
        # Sockets of a worker without a lease do not count. If the database is unavailable, the task retries later.
        with contextlib.suppress(MessengerError):
            await self.presence.renew()
        loops = (
            self.bus.run,
            self.upkeep.renew,
            self.presence.run,
            self.upkeep.check_heartbeats,
            self.upkeep.reconcile,
            self.receipts.run,
        )
        tasks = [asyncio.create_task(loop(), name=f"realtime.{loop.__name__}") for loop in loops]
        try:
            yield
        finally:
            self.hub.close()
            await self.acks.finish()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
