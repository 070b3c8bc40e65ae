"""The bus: how workers wake each other. Hints and signals only: a lost one costs delay, never an event."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Protocol
from uuid import UUID

import msgspec

logger = logging.getLogger(__name__)

COALESCE_SECONDS = 0.002
"""How long hints are gathered before they are sent together."""
MAX_WAITING = 10_000
"""Messages that may wait to be sent; past it the oldest are dropped: they are hints."""
_FIRST_RETRY, _LAST_RETRY = 0.1, 2.0
STEADY_SECONDS = 5.0
"""A connection that lived shorter is no success: the wait before the next one grows on."""
_ATTEMPTS = 3


class StreamAdvanced(msgspec.Struct, frozen=True, tag="n", array_like=True):
    """A user's stream has events up to this position."""

    user_id: int
    position: int


class Signal(msgspec.Struct, frozen=True, tag="s", array_like=True):
    """Something fleeting for these users' sockets; `data` is JSON."""

    users: tuple[int, ...]
    event: str
    data: msgspec.Raw


class SocketOpened(msgspec.Struct, frozen=True, tag="c", array_like=True):
    """A device has a new socket; every other one of it is closed."""

    user_id: int
    device_id: UUID


class DevicesRevoked(msgspec.Struct, frozen=True, tag="r", array_like=True):
    """Devices of this user may have been signed out: look."""

    user_id: int


BusMessage = StreamAdvanced | Signal | SocketOpened | DevicesRevoked


class _Batch(msgspec.Struct, frozen=True, array_like=True):
    """What goes over the wire at once. `origin` is the sender, which ignores it."""

    origin: UUID
    messages: list[BusMessage]


class BusReceiver(Protocol):
    """Who listens in this process."""

    def on_message(self, message: BusMessage) -> None:
        """Another worker says something. Must not block."""
        ...

    def on_disconnect(self) -> None:
        """Nothing is heard from here on: look at the table, often."""
        ...

    def on_reconnect(self) -> None:
        """What was said meanwhile is lost: look at the table."""
        ...


class Transport(Protocol):
    """A way to other workers."""

    max_payload: int
    """Bytes of text that one payload may have."""

    def connect(self) -> contextlib.AbstractAsyncContextManager[BusConnection]:
        """A live connection, subscribed already; raises `OSError` where there is none to be had."""
        ...


class BusConnection(Protocol):
    """A live connection of a transport. Both methods raise `OSError` when it is lost, and don't hang on a dead one."""

    async def send(self, payload: str) -> None: ...
    def payloads(self) -> AsyncIterator[str]: ...


_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[_Batch] = msgspec.json.Decoder(_Batch)


class Bus:
    """Sends what this worker says, in payloads, and hands on what others say; connects again for ever.

    `publishes=False`: nobody else is expected to listen, so nothing is sent; what a command line says is still heard.
    """

    def __init__(self, origin: UUID, transport: Transport | None = None, *, publishes: bool = True) -> None:
        self.origin = origin
        self.transport = transport
        self.connected = transport is None
        self.dropped = 0
        self._publishes = publishes and transport is not None
        self._waiting: list[BusMessage] = []
        self._failures = 0
        self._wake = asyncio.Event()
        self._receiver: BusReceiver | None = None

    def subscribe(self, receiver: BusReceiver) -> None:
        """Hand on what comes to this one."""
        self._receiver = receiver

    def publish(self, *messages: BusMessage) -> None:
        """Tell the other workers, soon; never blocks, never fails."""
        if not self._publishes:
            return
        self._waiting.extend(messages)
        self._trim()
        self._wake.set()

    async def run(self) -> None:
        """Keep connected until cancelled."""
        if self.transport is None:
            return
        clock = asyncio.get_running_loop().time
        wait, since = _FIRST_RETRY, 0.0
        first = True
        while True:
            try:
                async with self.transport.connect() as connection:
                    since = clock()
                    self.connected = True
                    if not first:
                        self._on_connected()
                    first = False
                    await self._serve(connection)
            except Exception as error:
                if self.connected or first:
                    # What is no OSError is a fault of the transport's; without a trace nobody would find it.
                    trace = None if isinstance(error, OSError) else error
                    logger.warning(
                        "the bus is away: %s; streams are looked at every second", _text(error), exc_info=trace
                    )
                if self.connected and clock() - since > STEADY_SECONDS:
                    wait = _FIRST_RETRY
                first = False
            finally:
                was_connected, self.connected = self.connected, False
            if was_connected and self._receiver is not None:
                self._notify(self._receiver.on_disconnect)
            await asyncio.sleep(wait * random.uniform(0.5, 1))  # noqa: S311
            wait = min(_LAST_RETRY, wait * 2)

    async def flush(self) -> None:
        """Send what waits over a connection made for it; for a process that is about to end. Failure is logged."""
        if self.transport is None or not self._waiting:
            return
        try:
            async with asyncio.timeout(2), self.transport.connect() as connection:
                await self._publish(connection)
        except OSError as error:
            logger.warning("the bus is away, nobody was told: %s", _text(error))

    def _on_connected(self) -> None:
        logger.info("the bus is back")
        if self._receiver is not None:
            self._notify(self._receiver.on_reconnect)

    def _notify(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:
            logger.exception("what was lost could not be looked for")

    def _trim(self) -> None:
        if len(self._waiting) > MAX_WAITING:
            self.dropped += len(self._waiting) - MAX_WAITING
            del self._waiting[: len(self._waiting) - MAX_WAITING]

    async def _serve(self, connection: BusConnection) -> None:
        tasks = [asyncio.create_task(self._send(connection)), asyncio.create_task(self._receive(connection))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            raise ConnectionResetError("the connection ended")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self, connection: BusConnection) -> None:
        while True:
            await self._wake.wait()
            await self._publish(connection)
            # What is said meanwhile goes together: at most one batch in this time.
            await asyncio.sleep(COALESCE_SECONDS)

    async def _publish(self, connection: BusConnection) -> None:
        self._wake.clear()
        waiting, self._waiting = self._waiting, []
        payloads = deque(self._payloads(_coalesced(waiting)))
        try:
            while payloads:
                await connection.send(payloads[0][0])
                payloads.popleft()
                self._failures = 0
        finally:
            if payloads:
                self._requeue(payloads)

    def _requeue(self, payloads: deque[tuple[str, list[BusMessage]]]) -> None:
        """What was not sent waits for the next connection; one in doubt is sent again, which hints bear."""
        self._failures += 1
        if self._failures >= _ATTEMPTS:
            # It may be this one that the connections end of; the others must not wait behind it for ever.
            self._failures = 0
            self.dropped += len(payloads.popleft()[1])
        self._waiting[:0] = [message for _, messages in payloads for message in messages]
        self._trim()
        self._wake.set()

    def _payloads(self, messages: list[BusMessage]) -> list[tuple[str, list[BusMessage]]]:
        """As few payloads as hold them, each with what it says; what is too large alone is split, or else dropped."""
        assert self.transport is not None
        whole = _encoder.encode(_Batch(self.origin, messages))
        if len(whole) <= self.transport.max_payload:
            return [(whole.decode(), messages)] if messages else []
        if len(messages) > 1:
            middle = len(messages) // 2
            return self._payloads(messages[:middle]) + self._payloads(messages[middle:])
        (message,) = messages
        if isinstance(message, Signal) and len(message.users) > 1:
            middle = len(message.users) // 2
            parts = message.users[:middle], message.users[middle:]
            return self._payloads([msgspec.structs.replace(message, users=part) for part in parts])
        logger.warning("a signal of %d bytes is too large for this bus", len(whole))
        self.dropped += 1
        return []

    async def _receive(self, connection: BusConnection) -> None:
        async for payload in connection.payloads():
            try:
                batch = _decoder.decode(payload)
            except (msgspec.DecodeError, UnicodeError):
                logger.warning("the bus brought something that is no batch of ours")
                continue
            if batch.origin == self.origin or self._receiver is None:
                continue
            for message in batch.messages:
                try:
                    self._receiver.on_message(message)
                except Exception:
                    logger.exception("a message of the bus could not be handled")


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _coalesced(messages: list[BusMessage]) -> list[BusMessage]:
    """The same with one `StreamAdvanced` a user, at its newest position; order is kept otherwise."""
    positions: dict[int, int] = {}
    for message in messages:
        if isinstance(message, StreamAdvanced):
            positions[message.user_id] = max(message.position, positions.get(message.user_id, 0))
    kept: list[BusMessage] = [message for message in messages if not isinstance(message, StreamAdvanced)]
    return [*(StreamAdvanced(user, position) for user, position in positions.items()), *kept]


def transport_of(url: str, *, database_url: str, namespace: str) -> Transport | None:
    """The transport that a bus URL names; None for `local:`. Raises `ValueError` with what is wrong."""
    scheme = url.partition(":")[0].lower()
    if scheme == "local":
        return None
    if scheme in {"postgres", "postgresql"}:
        from messenger.bus.postgres import PostgresTransport

        return PostgresTransport(url if "://" in url else database_url, namespace)
    if scheme in {"nats", "tls"}:
        from messenger.bus.nats import NatsTransport

        return NatsTransport(url, namespace)
    if scheme in {"redis", "rediss", "unix"}:
        from messenger.bus.redis import RedisTransport

        return RedisTransport(url, namespace)
    raise ValueError("it must begin with local:, postgres:, nats:// or redis://")
