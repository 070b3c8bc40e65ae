"""Connects to PostgreSQL, to the first available host of several, and detects transaction poolers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import asyncpg

from messenger.database_url import Host, hosts_of, wants_writable, without_hosts

TRANSACTION_POOLER = "a transaction pooler is not supported; use session pooling, or a URL that bypasses the pooler"
UNREACHABLE = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""Errors of connecting, including asyncpg's errors for an invalid URL."""

APPLICATION_NAME = "messenger"
# The host does not respond, refuses the connection, is starting up, or is read-only: try the next one.
_NEXT_HOST = (OSError, asyncpg.CannotConnectNowError, asyncpg.TargetServerAttributeNotMatched)
_SET = "SELECT set_config(name, value, false) FROM unnest($1::text[], $2::text[]) AS setting(name, value)"


OnConnect = Callable[[Any], Awaitable[None]]


class Connector:
    """Connects to a URL; with several hosts it first tries the one that it connected to last.

    `on_connect` is awaited with each new connection before the connection is used.
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
        """A connection with the settings applied. Raises asyncpg's errors, and `TimeoutError`."""
        connection = await self._connect()
        if self._settings or self._on_connect is not None:
            try:
                # Not in the startup message: poolers reject or silently drop parameters that they do not know.
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
        # Divide the timeout, so that an unresponsive host leaves time for the others.
        share = self._timeout / len(self._hosts)
        url = without_hosts(self._url)
        return await asyncpg.connect(url, host=host.name, port=host.port, timeout=share, **self._options)


async def connect(url: str, *, timeout: float, **options: Any) -> asyncpg.Connection:
    """Open a single connection, without the settings of the pool."""
    return await Connector(url, timeout=timeout, **options).connect()


async def is_pooled_by_transaction(url: str, *, timeout: float) -> bool:
    """Whether the URL leads to a pooler that assigns server connections by transaction.

    Behind such a pooler two open sessions share one PostgreSQL backend, or a session moves between backends.
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
