"""A bus without a server: a transport in memory that can go away, and a receiver that keeps what it hears."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from messenger.bus.bus import Bus, BusMessage


class MemoryBroker:
    """What a server would be: everybody who is connected gets everything, the speaker included."""

    def __init__(self) -> None:
        self.payloads: list[str] = []
        self.up = True
        self.refused = 0
        self.refuses: Callable[[str], bool] = lambda _: False
        self._links: set[_MemoryLink] = set()

    def transport(self, *, max_payload: int = 100_000) -> MemoryTransport:
        """A way to it."""
        return MemoryTransport(self, max_payload)

    def deliver(self, payload: str) -> None:
        """Bring this to everybody, as if somebody had published it."""
        for link in self._links:
            link.incoming.put_nowait(payload)

    def stop(self) -> None:
        """Go away: connections end, new ones are refused."""
        self.up = False
        self.drop()

    def start(self) -> None:
        """Come back."""
        self.up = True

    def drop(self) -> None:
        """End the connections that are."""
        for link in self._links:
            link.incoming.put_nowait(None)


class MemoryTransport:
    """A transport to a broker in this process."""

    def __init__(self, broker: MemoryBroker, max_payload: int) -> None:
        self.max_payload = max_payload
        self.up = True
        self._broker = broker
        self._link: _MemoryLink | None = None

    def stop(self) -> None:
        """Lose this way alone, and find no other, until `start`."""
        self.up = False
        if self._link is not None:
            self._link.incoming.put_nowait(None)

    def start(self) -> None:
        """Find the way again."""
        self.up = True

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[_MemoryLink]:
        """A connection, unless the broker is away."""
        if not (self._broker.up and self.up):
            self._broker.refused += 1
            raise ConnectionRefusedError("the broker is away")
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
        # As a real one: others get their turn while it is sent.
        await asyncio.sleep(0)
        if not self._broker.up or self._broker.refuses(payload):
            raise ConnectionResetError("the broker does not take it")
        self._broker.payloads.append(payload)
        self._broker.deliver(payload)

    async def payloads(self) -> AsyncIterator[str]:
        while (payload := await self.incoming.get()) is not None:
            yield payload
        raise ConnectionResetError("the broker went away")


class Listener:
    """Receives for a bus: keeps what it hears, and can be waited for."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.heard: list[BusMessage] = []
        self.disconnects = self.reconnects = 0
        self._changed = asyncio.Event()
        bus.subscribe(self)

    def on_message(self, message: BusMessage) -> None:
        """Keep it."""
        self.heard.append(message)
        self._changed.set()

    def on_disconnect(self) -> None:
        """Count it."""
        self.disconnects += 1
        self._changed.set()

    def on_reconnect(self) -> None:
        """Count it."""
        self.reconnects += 1
        self._changed.set()

    async def until(self, happened: Callable[[], bool], *, seconds: float = 20) -> None:
        """Wait for it; what the bus itself does not announce is looked at every hundredth of a second."""
        async with asyncio.timeout(seconds):
            while not happened():
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 0.01)

    async def until_heard(self, *messages: BusMessage, seconds: float = 20) -> None:
        """Wait until each of them was heard."""
        await self.until(lambda: all(message in self.heard for message in messages), seconds=seconds)

    async def until_connected(self, connected: bool = True, *, seconds: float = 20) -> None:
        """Wait until the bus has a connection, or has none."""
        await self.until(lambda: self.bus.connected is connected, seconds=seconds)


@contextlib.asynccontextmanager
async def running(*buses: Bus) -> AsyncIterator[list[Listener]]:
    """Each with a listener, connected, until the block ends."""
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
