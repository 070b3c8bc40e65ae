"""The bus over LISTEN and NOTIFY of the server's own database: the default, which needs no further service."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg

from messenger.bus.transport_common import (
    CLOSE_SECONDS,
    MAX_PAYLOAD,
    PROBE_SECONDS,
    BusConnectionLost,
    TransportInbox,
    channel_of,
    translated,
)
from messenger.database.connection import connect

APPLICATION_NAME = "messenger bus"
# PostgreSQL rejects payloads of 8,000 bytes or more; the part header needs some of them.
_PART_BYTES = 7900
_HEAD = re.compile(r"(\d{1,3})/(\d{1,3}):")
# One transaction delivers all parts of a payload without other notifications in between.
_NOTIFY = "SELECT pg_notify($1, part) FROM unnest($2::text[]) AS part"
# The server keeps notifications until the slowest listener has read them, so it must detect a lost worker early. Set
# after connecting, because a pooler may not support them as connection parameters.
_SETTINGS = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
_SET = "SELECT set_config(name, value, false) FROM unnest($1::text[], $2::text[]) AS setting(name, value)"


class PostgresTransport:
    """One connection per worker, outside of the pool, for both LISTEN and NOTIFY.

    A second one would double the server's cost per worker and is not needed: asyncpg delivers notifications between
    statements, each statement takes one round trip, and a lock serializes them. A pooler in transaction mode does not
    work, because it loses the LISTEN.
    """

    max_payload = MAX_PAYLOAD

    def __init__(self, database_url: str, namespace: str, *, probe_seconds: float = PROBE_SECONDS) -> None:
        self._url = database_url
        self._channel = channel_of(namespace)
        self.probe_seconds = probe_seconds

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[_PostgresConnection]:
        """Open a connection that listens."""
        with self.translated():
            driver = await connect(
                self._url,
                timeout=self.probe_seconds,
                command_timeout=self.probe_seconds,
                server_settings={"application_name": APPLICATION_NAME},
            )
        connection = _PostgresConnection(self, driver, self._channel)
        try:
            await connection.listen()
            async with connection.inbox.probed(connection.ping):
                yield connection
        finally:
            await connection.close()

    def translated(self) -> contextlib.AbstractContextManager[None]:
        """Translate errors of the driver to `BusConnectionLost`."""
        return translated(self._url, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class _PostgresConnection:
    def __init__(self, transport: PostgresTransport, driver: Any, channel: str) -> None:
        self.inbox = TransportInbox(transport.probe_seconds)
        self._transport = transport
        self._driver = driver
        self._channel = channel
        self._parts = _Parts()
        # asyncpg does not allow concurrent statements.
        self._lock = asyncio.Lock()

    async def listen(self) -> None:
        self._driver.add_termination_listener(self._on_end)
        with self._transport.translated():
            await self._driver.execute(_SET, list(_SETTINGS), list(_SETTINGS.values()))
            await self._driver.add_listener(self._channel, self._on_notification)

    async def send(self, payload: str) -> None:
        async with self._lock:
            with self._transport.translated():
                await self._driver.execute(_NOTIFY, self._channel, _split(payload))

    async def ping(self) -> None:
        async with self._lock:
            with self._transport.translated():
                await self._driver.fetchval("SELECT 1")

    def payloads(self) -> AsyncIterator[str]:
        return self.inbox.payloads()

    async def close(self) -> None:
        """Close gracefully; asyncpg aborts the connection after the timeout."""
        self._driver.remove_termination_listener(self._on_end)
        with contextlib.suppress(OSError), self._transport.translated():
            await self._driver.close(timeout=CLOSE_SECONDS)

    def _on_notification(self, _: object, process: int, __: str, text: str) -> None:
        payload = self._parts.add(process, text)
        if payload is not None:
            self.inbox.put(payload)

    def _on_end(self, _: object) -> None:
        self.inbox.end(BusConnectionLost("PostgreSQL closed the connection"))


class _Parts:
    """Reassembles payloads from parts that arrive in order; incomplete ones are dropped."""

    def __init__(self) -> None:
        self._process = 0
        self._texts: list[str] = []

    def add(self, process: int, text: str) -> str | None:
        """Returns the payload that this part completes, or None. A text without a part header is a whole payload."""
        head = _HEAD.match(text)
        if head is None:
            return text
        number, total = int(head[1]), int(head[2])
        if number == 1:
            self._process, self._texts = process, []
        elif process != self._process or number != len(self._texts) + 1:
            self._texts = []
            return None
        self._texts.append(text[head.end() :])
        if number < total:
            return None
        texts, self._texts = self._texts, []
        return "".join(texts)


def _split(payload: str) -> list[str]:
    # A character has up to four bytes; most payloads are ASCII.
    step = _PART_BYTES if payload.isascii() else _PART_BYTES // 4
    texts = [payload[start : start + step] for start in range(0, len(payload), step)]
    # PostgreSQL delivers equal notifications of a transaction once; the part number makes them different.
    return [f"{number}/{len(texts)}:{text}" for number, text in enumerate(texts, 1)]
