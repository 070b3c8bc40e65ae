"""The bus: messages between workers. Only hints and signals: a lost one delays events, never drops them."""

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

from messenger.bus.messages import BusMessage, Signal, coalesced

logger = logging.getLogger(__name__)

COALESCE_SECONDS = 0.002
"""Minimum interval between two payloads; messages published meanwhile are sent together."""
MAX_WAITING = 10_000
"""Maximum number of unsent messages; beyond it the oldest are dropped."""
_FIRST_RETRY, _LAST_RETRY, _ATTEMPTS = 0.1, 2.0, 3
STEADY_SECONDS = 5.0
"""A connection must last this long to reset the reconnect delay."""


class _Batch(msgspec.Struct, frozen=True, array_like=True):
    """One payload on the wire. `origin` identifies the sending worker, which ignores its own batches."""

    origin: UUID
    messages: list[BusMessage]


class BusReceiver(Protocol):
    """Receives the messages of other workers in this process."""

    def on_message(self, message: BusMessage) -> None:
        """Handle a message of another worker. Must not block."""
        ...

    def on_disconnect(self) -> None:
        """The connection was lost: read the tables frequently."""
        ...

    def on_reconnect(self) -> None:
        """Messages sent while disconnected are lost: read the tables."""
        ...


class Transport(Protocol):
    """Connects a worker to the other workers."""

    max_payload: int
    """Maximum bytes of a payload."""

    def connect(self) -> contextlib.AbstractAsyncContextManager[BusConnection]:
        """Open a connection that has subscribed. Raises `OSError` on failure."""
        ...


class BusConnection(Protocol):
    """An open connection. Both methods raise `OSError` when it is lost or the peer does not respond."""

    async def send(self, payload: str) -> None: ...
    def payloads(self) -> AsyncIterator[str]: ...


_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[_Batch] = msgspec.json.Decoder(_Batch)


class Bus:
    """Publishes the messages of this worker in batches, delivers those of others, and reconnects indefinitely.

    `publishes=False`: sends nothing, and still receives messages of command-line tools. `dropped`: discarded messages.
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
        """Deliver received messages to this receiver."""
        self._receiver = receiver

    def publish(self, *messages: BusMessage) -> None:
        """Send to the other workers, soon. Never blocks, never fails."""
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
                    # Other exceptions are bugs of the transport, so they are logged with a traceback.
                    trace = None if isinstance(error, OSError) else error
                    logger.warning(
                        "the bus is disconnected: %s; streams are read every second", _text(error), exc_info=trace
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
        """Send unsent messages over a new connection, before the process exits. Failures are logged."""
        if self.transport is None or not self._waiting:
            return
        try:
            async with asyncio.timeout(2), self.transport.connect() as connection:
                await self._publish(connection)
        except OSError as error:
            logger.warning("the bus is disconnected, other workers were not notified: %s", _text(error))

    def _on_connected(self) -> None:
        logger.info("the bus is connected again")
        if self._receiver is not None:
            self._notify(self._receiver.on_reconnect)

    def _notify(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:
            logger.exception("a change of the bus connection could not be handled")

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
            # Messages published meanwhile are sent together.
            await asyncio.sleep(COALESCE_SECONDS)

    async def _publish(self, connection: BusConnection) -> None:
        self._wake.clear()
        waiting, self._waiting = self._waiting, []
        payloads = deque(self._payloads(coalesced(waiting)))
        try:
            while payloads:
                await connection.send(payloads[0][0])
                payloads.popleft()
                self._failures = 0
        finally:
            if payloads:
                self._requeue(payloads)

    def _requeue(self, payloads: deque[tuple[str, list[BusMessage]]]) -> None:
        """Keep unsent messages for the next connection. The first may be sent twice, which is harmless for hints."""
        self._failures += 1
        if self._failures >= _ATTEMPTS:
            # This payload may be the cause of the failures; it must not block the others forever.
            self._failures = 0
            self.dropped += len(payloads.popleft()[1])
        self._waiting[:0] = [message for _, messages in payloads for message in messages]
        self._trim()
        self._wake.set()

    def _payloads(self, messages: list[BusMessage]) -> list[tuple[str, list[BusMessage]]]:
        """The fewest payloads that hold the messages, each with its messages. Splits or drops a too large message."""
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
        logger.warning("a signal of %d bytes exceeds the size limit of the bus", len(whole))
        self.dropped += 1
        return []

    async def _receive(self, connection: BusConnection) -> None:
        async for payload in connection.payloads():
            try:
                batch = _decoder.decode(payload)
            except (msgspec.DecodeError, UnicodeError):
                logger.warning("the bus delivered a malformed payload")
                continue
            if batch.origin == self.origin or self._receiver is None:
                continue
            for message in batch.messages:
                try:
                    self._receiver.on_message(message)
                except Exception:
                    logger.exception("a bus message could not be handled")


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__


def transport_of(url: str, *, database_url: str, namespace: str) -> Transport | None:
    """The transport for a bus URL; None for `local:`. Raises `ValueError` with a description of the fault."""
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
