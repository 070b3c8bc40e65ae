"""The bus over NATS (core publish and subscribe), for several hosts."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from messenger.bus.transport_common import (
    CLOSE_SECONDS,
    MAX_PAYLOAD,
    PROBE_SECONDS,
    BusConnectionLost,
    TransportInbox,
    abort_connection,
    channel_of,
    connection_lost,
    translated,
)

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

_CONNECT_SECONDS = 2
_NEVER = 10**9


class NatsTransport:
    """One connection per worker. The URL may be a comma-separated list; the first server that responds is used."""

    def __init__(self, url: str, namespace: str, *, probe_seconds: float = PROBE_SECONDS) -> None:
        try:
            from nats.aio.client import Client
            from nats.errors import Error
        except ImportError:
            raise ValueError("nats:// requires the extra `nats` of this project: pip install nats-py") from None
        self.max_payload = MAX_PAYLOAD
        self.url = url
        self.servers = [server.strip() for server in url.split(",")]
        if not all(map(_is_server, self.servers)):
            raise ValueError("it must look like nats://user:password@host:4222, odd characters as %XX")
        self.channel = channel_of(namespace)
        self.probe_seconds = probe_seconds
        self._client = Client
        self._error = Error

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[_NatsConnection]:
        """Open a connection that has subscribed."""
        connection = _NatsConnection(self, self._client())
        try:
            with self.translated():
                async with asyncio.timeout(2 * self.probe_seconds):
                    await connection.open()
            async with connection.inbox.probed(connection.ping):
                yield connection
        finally:
            await connection.close()

    def translated(self) -> contextlib.AbstractContextManager[None]:
        """Translate errors of the library to `BusConnectionLost`."""
        return translated(self.url, self._error)


class _NatsConnection:
    def __init__(self, transport: NatsTransport, client: Client) -> None:
        self.inbox = TransportInbox(transport.probe_seconds)
        self._transport = transport
        self._client = client
        self._subscriptions: list[Subscription] = []
        self._ping_subject = f"{transport.channel}.{secrets.token_hex(8)}"
        self._echoes: deque[asyncio.Future[None]] = deque()
        self._opened = False
        self._last: Exception | None = None

    async def open(self) -> None:
        await self._connect()
        if any(server.startswith("tls:") for server in self._transport.servers) and not self._encrypted():
            # The library encrypts only if the server requires it; a tls: URL requires it from the server.
            raise BusConnectionLost("the server does not offer TLS, which tls:// requires")
        self._transport.max_payload = min(MAX_PAYLOAD, self._client.max_payload)
        for subject, handle in ((self._transport.channel, self._on_message), (self._ping_subject, self._on_echo)):
            self._subscriptions.append(await self._client.subscribe(subject, cb=handle))
        self._opened = True
        await self.ping()

    async def send(self, payload: str) -> None:
        with self._transport.translated():
            await self._client.publish(self._transport.channel, payload.encode())
            # The library only buffers the payload. The response to a ping proves that the server has read it, which
            # bounds the buffer and detects losses.
            await self.ping()

    async def ping(self) -> None:
        """Return once the server has processed everything sent before."""
        # A message to oneself, not the protocol's PING: cancelling the wait for a PONG stops the library's reader.
        with self._transport.translated():
            echo: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._echoes.append(echo)
            await self._client.publish(self._ping_subject)
            await self.inbox.wait_for(echo)

    def payloads(self) -> AsyncIterator[str]:
        return self.inbox.payloads()

    async def close(self) -> None:
        """Close gracefully; abort the connection after the timeout."""
        self._opened = False
        if self._encrypted():
            # Everything sent has been acknowledged. The library's TLS shutdown causes warnings of asyncio.
            abort_connection(self._writer())
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._client.close()
        except Exception as error:
            # It fails an assertion if it never connected, and waits for unresponsive peers; the connection is aborted
            # below in both cases.
            self._last = error
        finally:
            for subscription in self._subscriptions:
                subscription._stop_processing()
            abort_connection(self._writer())

    async def _connect(self) -> None:
        from nats.errors import NoServersError

        user, password, token = _account(self._transport.servers)
        try:
            await self._client.connect(
                self._transport.servers,
                name="messenger bus",
                user=user,
                password=password,
                token=token,
                error_cb=self._on_error,
                closed_cb=self._on_closed,
                # The bus reconnects by itself, and must notice each loss.
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=_CONNECT_SECONDS,
                # `probed` detects unresponsive peers; the library's own detection first waits until buffered data has
                # been sent.
                ping_interval=_NEVER,
                # With a limit, the library waits for unresponsive peers, even if cancelled; `send` is the bound.
                pending_size=0,
            )
        except NoServersError:
            raise self._last or BusConnectionLost("no server responds") from None

    def _writer(self) -> object:
        return getattr(getattr(self._client, "_transport", None), "_io_writer", None)

    def _encrypted(self) -> bool:
        writer = self._writer()
        return isinstance(writer, asyncio.StreamWriter) and writer.get_extra_info("ssl_object") is not None

    async def _on_message(self, message: Msg) -> None:
        self.inbox.put(message.data.decode(errors="replace"))

    async def _on_echo(self, _: Msg) -> None:
        if self._echoes and not (echo := self._echoes.popleft()).done():
            echo.set_result(None)

    async def _on_error(self, error: Exception) -> None:
        self._last = error
        # Every error means a loss: of the connection, of permissions, or of messages that were not read in time.
        if self._opened:
            self.inbox.end(connection_lost(error, self._transport.url))

    async def _on_closed(self) -> None:
        self.inbox.end(BusConnectionLost("the server closed the connection"))


def _account(servers: list[str]) -> tuple[str | None, str | None, str | None]:
    """User and password, or token, of the first URL that has any, percent-decoded, which the library does not do."""
    for parts in map(urlsplit, servers):
        if parts.username is not None and parts.password is not None:
            return unquote(parts.username), unquote(parts.password), None
        if parts.username is not None:
            return None, None, unquote(parts.username)
    return None, None, None


def _is_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"nats", "tls"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
