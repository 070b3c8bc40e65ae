"""The bus over Redis or Valkey pub/sub, for several hosts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Protocol, cast

from messenger.bus.transport_common import (
    MAX_PAYLOAD,
    PROBE_SECONDS,
    BusConnectionLost,
    abort_connection,
    channel_of,
    translated,
)


class RedisTransport:
    """Two connections per worker, because a subscribed connection cannot publish.

    Uses the library's connections, not its client or its PubSub: those reconnect by themselves, and the bus must notice
    every loss.
    """

    max_payload = MAX_PAYLOAD

    def __init__(self, url: str, namespace: str, *, probe_seconds: float = PROBE_SECONDS) -> None:
        try:
            from redis.asyncio import Connection
            from redis.asyncio.connection import parse_url
            from redis.exceptions import RedisError
        except ImportError:
            raise ValueError("redis:// requires the extra `redis` of this project: pip install redis") from None
        self._url = url
        self.channel = channel_of(namespace)
        self.probe_seconds = probe_seconds
        self._error = RedisError
        try:
            options = cast(dict[str, Any], dict(parse_url(url)))
            self._kind = options.pop("connection_class", Connection)
            self._options = (
                options | _OPTIONS | {"socket_timeout": probe_seconds, "socket_connect_timeout": probe_seconds}
            )
            self._kind(**self._options)
        except (ValueError, TypeError, RedisError):
            raise ValueError("it must look like redis://user:password@host:6379/0, odd characters as %XX") from None

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[_RedisConnection]:
        """Open two connections, one of which has subscribed."""
        async with contextlib.AsyncExitStack() as stack:
            with self.translated():
                async with asyncio.timeout(2 * self.probe_seconds):
                    publisher, subscriber = await self._open(stack), await self._open(stack)
                    await subscriber.send_command("SUBSCRIBE", self.channel)
                    await subscriber.read_response()
            yield _RedisConnection(self, subscriber, publisher)

    async def _open(self, stack: contextlib.AsyncExitStack) -> _LibraryConnection:
        connection = cast(_LibraryConnection, self._kind(**self._options))
        stack.push_async_callback(self._close, connection)
        await connection.connect()
        # Runs before the library's own disconnect, which waits for unresponsive peers.
        stack.callback(abort_connection, getattr(connection, "_writer", None))
        return connection

    async def _close(self, connection: _LibraryConnection) -> None:
        with contextlib.suppress(OSError, self._error):
            await connection.disconnect(nowait=True)

    def translated(self) -> contextlib.AbstractContextManager[None]:
        """Translate errors of the library to `BusConnectionLost`."""
        return translated(self._url, self._error)


_OPTIONS = {
    "retry_on_timeout": False,
    "health_check_interval": 0,
    "client_name": "messenger-bus",
    "decode_responses": False,
    # With version 3 of the protocol, maintenance notifications make the library reconnect by itself.
    "protocol": 2,
}


class _LibraryConnection(Protocol):
    """The part of the library's connections that is used; its own methods have no types."""

    is_connected: bool

    async def connect(self) -> None: ...
    async def disconnect(self, nowait: bool) -> None: ...
    async def send_command(self, *words: str) -> None: ...
    async def read_response(self, *, timeout: float | None = None) -> Any: ...


class _RedisConnection:
    def __init__(
        self, transport: RedisTransport, subscriber: _LibraryConnection, publisher: _LibraryConnection
    ) -> None:
        self._transport = transport
        self._subscriber = subscriber
        self._publisher = publisher
        self._lock = asyncio.Lock()

    async def send(self, payload: str) -> None:
        with self._transport.translated():
            await self._command("PUBLISH", self._transport.channel, payload)

    async def payloads(self) -> AsyncIterator[str]:
        probe_seconds = self._transport.probe_seconds
        clock = asyncio.get_running_loop().time
        due, pinged = clock() + probe_seconds, False
        while True:
            with self._transport.translated():
                reply = await self._subscriber.read_response(timeout=probe_seconds)
                if reply is None:
                    if pinged:
                        raise BusConnectionLost("no response in time")
                    await self._subscriber.send_command("PING")
                pinged = reply is None
                if clock() >= due:
                    # Some servers close idle connections.
                    await self._command("PING")
                    due = clock() + probe_seconds
            if reply is not None and reply[0] == b"message":
                yield reply[2].decode(errors="replace")

    async def _command(self, *words: str) -> None:
        async with self._lock:
            # The library reconnects by itself after a failed command.
            if not self._publisher.is_connected:
                raise BusConnectionLost("an earlier command failed")
            await self._publisher.send_command(*words)
            await self._publisher.read_response()
