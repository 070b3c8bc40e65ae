"""An in-memory bus whose broker can stop, and a receiver that records messages."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from messenger.bus.bus import Bus
from messenger.bus.messages import BusMessage


class MemoryBroker:
    """The broker: delivers each message to all connections, including the sender's."""

    def __init__(self) -> None:
        self.payloads: list[str] = []
        self.up = True
        self.refused = 0
        self.refuses: Callable[[str], bool] = lambda _: False
        self._links: set[_MemoryLink] = set()

    def transport(self, *, max_payload: int = 100_000) -> MemoryTransport:
        """Create a transport to this broker."""
        return MemoryTransport(self, max_payload)

    def deliver(self, payload: str) -> None:
        """Deliver a message to all connections."""
        for link in self._links:
            link.incoming.put_nowait(payload)

    def stop(self) -> None:
        """Close all connections and refuse new ones."""
        self.up = False
        self.drop()

    def start(self) -> None:
        """Accept connections again."""
        self.up = True

    def drop(self) -> None:
        """Close all connections."""
        for link in self._links:
            link.incoming.put_nowait(None)


class MemoryTransport:
    """A transport to a `MemoryBroker`."""

    def __init__(self, broker: MemoryBroker, max_payload: int) -> None:
        self.max_payload = max_payload
        self.up = True
        self._broker = broker
        self._link: _MemoryLink | None = None

    def stop(self) -> None:
        """Close the connections of this transport and refuse new ones, until `start`."""
        self.up = False
        if self._link is not None:
            self._link.incoming.put_nowait(None)

    def start(self) -> None:
        """Allow connections again."""
        self.up = True

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[_MemoryLink]:
        """Connect. Raises an error while the broker or this transport is stopped."""
        if not (self._broker.up and self.up):
            self._broker.refused += 1
            raise ConnectionRefusedError("the broker is stopped")
        self._link = link = _MemoryLink(self._broker)
        self._broker._links.add(link)
        try:
            yield link
        finally:
            self._broker._links.discard(link)


class _MemoryLink:
    def __init__(self, broker: MemoryBroker) -> None:
        self.incoming: asyncio.Queue[str | None] = asyncio.Queue()
        self._broker = broker

    async def send(self, payload: str) -> None:
        # Like a real transport, let other tasks run during the send.
        await asyncio.sleep(0)
        if not self._broker.up or self._broker.refuses(payload):
            raise ConnectionResetError("the broker does not accept the message")
        self._broker.payloads.append(payload)
        self._broker.deliver(payload)

    async def payloads(self) -> AsyncIterator[str]:
        while (payload := await self.incoming.get()) is not None:
            yield payload
        raise ConnectionResetError("the broker has stopped")


class Listener:
    """The receiver of a bus: records messages and connection changes, which tests can await."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.heard: list[BusMessage] = []
        self.disconnects = self.reconnects = 0
        self._changed = asyncio.Event()
        bus.subscribe(self)

    def on_message(self, message: BusMessage) -> None:
        """Record a message."""
        self.heard.append(message)
        self._changed.set()

    def on_disconnect(self) -> None:
        """Count a disconnection."""
        self.disconnects += 1
        self._changed.set()

    def on_reconnect(self) -> None:
        """Count a reconnection."""
        self.reconnects += 1
        self._changed.set()

    async def until(self, happened: Callable[[], bool], *, seconds: float = 20) -> None:
        """Wait for a condition, which is also checked every 10 ms, since the bus does not report every change."""
        async with asyncio.timeout(seconds):
            while not happened():
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 0.01)

    async def until_heard(self, *messages: BusMessage, seconds: float = 20) -> None:
        """Wait until all of these messages were received."""
        await self.until(lambda: all(message in self.heard for message in messages), seconds=seconds)

    async def until_connected(self, connected: bool = True, *, seconds: float = 20) -> None:
        """Wait until the bus is connected, or disconnected."""
        await self.until(lambda: self.bus.connected is connected, seconds=seconds)


@contextlib.asynccontextmanager
async def running(*buses: Bus) -> AsyncIterator[list[Listener]]:
    """Run buses, each connected and with a listener, until the end of the block."""
    listeners = [Listener(bus) for bus in buses]
    tasks = [asyncio.create_task(bus.run()) for bus in buses]
    try:
        for listener in listeners:
            await listener.until_connected()
        yield listeners
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
