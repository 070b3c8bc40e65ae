"""The servers of the bus tests as fixtures: a PostgreSQL database, NATS, Redis."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Protocol
from urllib.parse import parse_qs, quote, urlsplit
from uuid import uuid4

import asyncpg
import msgspec
import psutil
import pytest
import pytest_asyncio

from messenger.bus.bus import Bus, Transport
from messenger.bus.messages import Signal
from messenger.bus.nats import NatsTransport
from messenger.bus.postgres import APPLICATION_NAME, PostgresTransport
from messenger.bus.redis import RedisTransport
from messenger.testing.buses import Listener
from messenger.testing.databases import name_of, temporary_database
from messenger.testing.servers import NatsServer, RedisServer, ServerProcess, freeze, give_up

PASSWORD = "p/ss:w@rd %41"


class Server(Protocol):
    """What the tests do to a server."""

    def transport(
        self, namespace: str = "tests", *, probe_seconds: float = 5.0, password: str | None = None, port: int = 0
    ) -> Transport: ...
    async def kill(self) -> None: ...
    async def restart(self) -> None: ...
    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]: ...
    async def freeze(self) -> None: ...
    async def thaw(self) -> None: ...


class Process:
    """A NATS or Redis process."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server

    def transport(
        self, namespace: str = "tests", *, probe_seconds: float = 5.0, password: str | None = None, port: int = 0
    ) -> Transport:
        url = self._server.url.replace(PASSWORD, quote(password or PASSWORD, safe=""))
        if port:
            url = url.replace(f":{self._server.port}", f":{port}")
        kind = NatsTransport if self._server.scheme == "nats" else RedisTransport
        return kind(url, namespace, probe_seconds=probe_seconds)

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self._server.host, self._server.port)

    async def kill(self) -> None:
        self._server.kill()

    async def restart(self) -> None:
        self._server.start()

    async def freeze(self) -> None:
        self._server.freeze()

    async def thaw(self) -> None:
        self._server.thaw()


class Postgres:
    """A database of its own, whose connections can be ended and refused."""

    def __init__(self, postgres_url: str, url: str) -> None:
        self.name = name_of(url)
        self._server_url = postgres_url
        self.url = url
        self._frozen: list[int] = []

    def transport(
        self, namespace: str = "tests", *, probe_seconds: float = 5.0, password: str | None = None, port: int = 0
    ) -> Transport:
        url = self.url
        if password is not None:
            right = urlsplit(url).password or ""
            url = url.replace(f":{right}@", f":{quote(password, safe='')}@")
        if port:
            parts = urlsplit(url)
            url = f"postgresql://{parts.username}:{parts.password}@127.0.0.1:{port}{parts.path}"
        return PostgresTransport(url, namespace, probe_seconds=probe_seconds)

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(self.url)
        options = parse_qs(parts.query)
        port = int(options.get("port", [parts.port or 5432])[0])
        host = options.get("host", [parts.hostname or "127.0.0.1"])[0]
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)

    async def kill(self) -> None:
        await self.sql(f"ALTER DATABASE {self.name} ALLOW_CONNECTIONS false")
        await self.sql("SELECT pg_terminate_backend(pid)" + self._its_connections())

    async def restart(self) -> None:
        await self.sql(f"ALTER DATABASE {self.name} ALLOW_CONNECTIONS true")

    async def freeze(self) -> None:
        self._frozen = [row["pid"] for row in await self.sql("SELECT pid" + self._its_connections())]
        assert self._frozen
        try:
            for process in self._frozen:
                freeze(process)
        except (PermissionError, ProcessLookupError):
            self._frozen = []
            give_up("NOT TESTED: PostgreSQL runs elsewhere, or as somebody else")

    async def thaw(self) -> None:
        frozen, self._frozen = self._frozen, []
        for process in frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)

    async def sql(self, statement: str) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self._server_url)
        try:
            return list(await connection.fetch(statement))
        finally:
            await connection.close()

    def _its_connections(self) -> str:
        where = f"application_name = '{APPLICATION_NAME}' AND datname = '{self.name}'"
        return f" FROM pg_stat_activity WHERE {where}"


@pytest_asyncio.fixture(loop_scope="session")
async def bus_database(postgres_url: str) -> AsyncIterator[Postgres]:
    async with temporary_database(postgres_url) as url:
        server = Postgres(postgres_url, url)
        yield server
        await server.thaw()


@pytest.fixture(params=["postgres", "nats", "redis"])
def bus_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "postgres":
        yield request.getfixturevalue("bus_database")
    else:
        with (NatsServer if request.param == "nats" else RedisServer)(password=PASSWORD) as process:
            yield Process(process)


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No library and no leaked task logs anything."""
    yield
    gc.collect()
    said = [record for record in caplog.get_records("call") if not record.name.startswith("messenger.")]
    assert [f"{record.name}: {record.getMessage()}" for record in said if record.levelno >= logging.WARNING] == []


def bus_over(transport: Transport) -> Bus:
    return Bus(uuid4(), transport)


def signal_to(count: int, data: object = None) -> Signal:
    return Signal(tuple(range(10_000_000, 10_000_000 + count)), "typing", msgspec.Raw(msgspec.json.encode(data)))


def users_of(listener: Listener) -> list[int]:
    return [user for message in listener.heard if isinstance(message, Signal) for user in message.users]


async def nothing_more(process: psutil.Process, tasks: int, files: int) -> None:
    """Wait until there are no more tasks and open files than before: a socket is closed in the next
    turns of the loop.
    """
    async with asyncio.timeout(5):
        while len(asyncio.all_tasks()) > tasks or process.num_fds() > files:
            await asyncio.sleep(0.01)
