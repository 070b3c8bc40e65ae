"""Connecting to PostgreSQL: to the first of several hosts that serves, and never through a transaction pooler."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import asyncpg

from messenger.database_url import Host, hosts_of, wants_writable

TRANSACTION_POOLER = "a transaction pooler is not supported; use session pooling, or a URL that leads past the pooler"
UNREACHABLE = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What connecting raises; asyncpg's errors for a URL that it can't read are among them."""

APPLICATION_NAME = "messenger"
# Hosts that don't answer, refuse, start up, or don't take writes: another one may serve.
_NEXT_HOST = (OSError, asyncpg.CannotConnectNowError, asyncpg.TargetServerAttributeNotMatched)
_SET = "SELECT set_config(name, value, false) FROM unnest($1::text[], $2::text[]) AS setting(name, value)"


OnConnect = Callable[[Any], Awaitable[None]]


class Connector:
    """Connects to a URL; of several hosts it tries the one that served last first.

    `on_connect` is awaited with each new connection before it is used.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float,
        settings: Mapping[str, str] | None = None,
        on_connect: OnConnect | None = None,
        **options: Any,
    ) -> None:
        self._url = url
        self._timeout = timeout
        self._settings = dict(settings or {})
        self._on_connect = on_connect
        self._options = {"server_settings": {"application_name": APPLICATION_NAME}, **options}
        self._hosts = hosts_of(url)
        if wants_writable(url):
            self._options["target_session_attrs"] = "read-write"

    async def connect(self) -> asyncpg.Connection:
        """A connection with the settings in force. Raises what asyncpg raises, and `TimeoutError`."""
        connection = await self._connect()
        if self._settings or self._on_connect is not None:
            try:
                # Not in the startup message: a pooler refuses what it doesn't know there, or drops it silently.
                async with asyncio.timeout(self._timeout):
                    await connection.execute(_SET, list(self._settings), list(self._settings.values()))
                    if self._on_connect is not None:
                        await self._on_connect(connection)
            except BaseException:
                connection.terminate()
                raise
        return connection

    async def _connect(self) -> asyncpg.Connection:
        if len(self._hosts) < 2:
            return await asyncpg.connect(self._url, timeout=self._timeout, **self._options)
        failure: BaseException | None = None
        for host in tuple(self._hosts):
            try:
                connection = await self._connect_to(host)
            except _NEXT_HOST as error:
                failure = failure or error
                continue
            self._hosts.sort(key=lambda each: each != host)
            return connection
        assert failure is not None
        raise failure

    async def _connect_to(self, host: Host) -> asyncpg.Connection:
        # A host without a word would else use up the time of those after it.
        share = self._timeout / len(self._hosts)
        return await asyncpg.connect(self._url, host=host.name, port=host.port, timeout=share, **self._options)


async def connect(url: str, *, timeout: float, **options: Any) -> asyncpg.Connection:
    """One connection, without settings of its own."""
    return await Connector(url, timeout=timeout, **options).connect()


async def is_pooled_by_transaction(url: str, *, timeout: float) -> bool:
    """Whether what is at the URL lends a server connection for one transaction at a time.

    Two sessions that are open at once share a process of PostgreSQL there, or one session moves from one to another.
    """
    connector = Connector(url, timeout=timeout, statement_cache_size=0)
    first = second = None
    try:
        first, second = await connector.connect(), await connector.connect()
        seen = [await each.fetchval("SELECT pg_backend_pid()") for each in (first, second, first, second)]
    finally:
        for each in (first, second):
            if each is not None:
                await each.close(timeout=timeout)
    return bool(seen[0] == seen[1] or seen[0] != seen[2] or seen[1] != seen[3])
