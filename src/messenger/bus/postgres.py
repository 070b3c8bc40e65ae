"""The bus over LISTEN and NOTIFY of the server's own database: the default, with nothing more to run."""

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
# PostgreSQL refuses 8,000 bytes and more; the head of a part takes some.
_PART_BYTES = 7900
_HEAD = re.compile(r"(\d{1,3})/(\d{1,3}):")
# The parts of a payload in one transaction: nobody else's notifications come between them.
_NOTIFY = "SELECT pg_notify($1, part) FROM unnest($2::text[]) AS part"
# The server keeps its queue of notifications until the slowest listener has read it, so it should notice soon that a
# worker is gone without a word. Set after the connection is made: a pooler may not know them.
_SETTINGS = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
_SET = "SELECT set_config(name, value, false) FROM unnest($1::text[], $2::text[]) AS setting(name, value)"


class PostgresTransport:
    """One connection a worker, outside of the pool, that listens and notifies.

    One is enough: asyncpg hands notifications on while no statement runs, ours take one round trip, and a lock keeps
    them apart. A second would double what the server must hold for each worker. It must be a real connection: a pooler
    that lends a server connection out a transaction at a time loses the LISTEN.
    """

    max_payload = MAX_PAYLOAD

    def __init__(self, database_url: str, namespace: str, *, probe_seconds: float = PROBE_SECONDS) -> None:
        self._url = database_url
        self._channel = channel_of(namespace)
        self.probe_seconds = probe_seconds

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[_PostgresConnection]:
        """A connection that listens."""
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
        """What the driver says, as the end of the connection."""
        return translated(self._url, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class _PostgresConnection:
    def __init__(self, transport: PostgresTransport, driver: Any, channel: str) -> None:
        self.inbox = TransportInbox(transport.probe_seconds)
        self._transport = transport
        self._driver = driver
        self._channel = channel
        self._parts = _Parts()
        # asyncpg refuses a second statement while one runs.
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
        """Say good-bye; asyncpg cuts the connection where that takes too long."""
        self._driver.remove_termination_listener(self._on_end)
        with contextlib.suppress(OSError), self._transport.translated():
            await self._driver.close(timeout=CLOSE_SECONDS)

    def _on_notification(self, _: object, process: int, __: str, text: str) -> None:
        payload = self._parts.add(process, text)
        if payload is not None:
            self.inbox.put(payload)

    def _on_end(self, _: object) -> None:
        self.inbox.end(BusConnectionLost("PostgreSQL ended the connection"))


class _Parts:
    """Puts parts together that come in order; a broken row of them is dropped."""

    def __init__(self) -> None:
        self._process = 0
        self._texts: list[str] = []

    def add(self, process: int, text: str) -> str | None:
        """The payload that this part completes. What is no part is handed on as it is."""
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
    # A character has up to four bytes, but what the bus says is nearly always ASCII.
    step = _PART_BYTES if payload.isascii() else _PART_BYTES // 4
    texts = [payload[start : start + step] for start in range(0, len(payload), step)]
    # The number also keeps equal parts apart, of which PostgreSQL would deliver one.
    return [f"{number}/{len(texts)}:{text}" for number, text in enumerate(texts, 1)]
