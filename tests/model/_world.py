"""Two workers of a server in this event loop, on a database of their own, with a bus that can lose messages."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec
import pytest
import uvicorn

from messenger.app import create_app
from messenger.config import Settings
from messenger.container import Container
from messenger.events import Announcer, WakeUp
from messenger.server.websocket_protocol import MAX_FRAME_BYTES, UvicornConnection
from messenger.testing.buses import MemoryBroker

# Bounds and delays that short runs can reach; the behaviour is the same.
NARROW: dict[str, Any] = {
    "messenger.realtime.socket.MAX_QUEUED": 6,
    "messenger.realtime.socket.PAGE": 4,
    "messenger.server.websocket_protocol._BUFFERED_BYTES": 2048,
    "messenger.realtime.upkeep.RECONCILE_SECONDS": 0.5,
    "messenger.realtime.upkeep.RECONCILE_SECONDS_WITHOUT_BUS": 0.2,
    "messenger.realtime.presence.EVERY_SECONDS": 0.2,
    "messenger.bus.bus._LAST_RETRY": 0.2,
}
_KERNEL_BYTES = 8 * 1024


class LossyBroker(MemoryBroker):
    """Loses the next payloads."""

    losing = 0

    def deliver(self, payload: str) -> None:
        if self.losing:
            self.losing -= 1
        else:
            super().deliver(payload)


class LossyAnnouncer:
    """Does not announce the next commits, like a worker that dies right after one."""

    def __init__(self, announcer: Announcer) -> None:
        self.losing = 0
        self._announcer = announcer

    async def announce(self, news: list[WakeUp]) -> None:
        if self.losing:
            self.losing -= 1
        else:
            await self._announcer.announce(news)

    def announce_receipts(self, group_ids: Iterable[int]) -> None:
        self._announcer.announce_receipts(group_ids)


class Worker:
    """A worker, and its port."""

    def __init__(self, container: Container, announcer: LossyAnnouncer, port: int) -> None:
        self.container = container
        self.announcer = announcer
        self.port = port


class World:
    """The servers of a run."""

    def __init__(self, workers: list[Worker], broker: LossyBroker, database: Any) -> None:
        self.workers = workers
        self.broker = broker
        self.database = database

    def target(self, chance: random.Random) -> tuple[str, int]:
        """One of the workers."""
        return "127.0.0.1", chance.choice(self.workers).port

    async def cut_database(self, connections: int) -> None:
        """End some of the workers' database connections, whatever they do."""
        await self.database.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND usename = current_user AND pid <> pg_backend_pid() ORDER BY random() LIMIT $1",
            connections,
        )

    def heal(self) -> None:
        """Lose no more messages."""
        self.broker.losing = 0
        self.broker.start()
        for worker in self.workers:
            worker.announcer.losing = 0


@asynccontextmanager
async def world(settings: Settings, database_url: str) -> AsyncIterator[World]:
    """Two workers and their database."""
    broker = LossyBroker()
    database = await asyncpg.create_pool(database_url, min_size=1, max_size=1)
    settings = msgspec.structs.replace(
        settings, database_url=database_url, bus_url="postgres:", pool_size=8, activity_resolution=3600.0
    )
    try:
        async with _worker(settings, broker) as one, _worker(settings, broker) as two:
            yield World([one, two], broker, database)
    finally:
        await database.close()


@asynccontextmanager
async def _worker(settings: Settings, broker: LossyBroker) -> AsyncIterator[Worker]:
    container = Container(settings)
    container.bus.transport = broker.transport()
    container.uow.announcer = announcer = LossyAnnouncer(container.uow.announcer)
    listening = socket.socket()
    # Small kernel buffers, so that the server soon notices a device that stops reading.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BYTES)
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        create_app(container),
        ws=UvicornConnection,
        ws_max_size=MAX_FRAME_BYTES,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    async with container.realtime.running():
        # Without signal handlers: the process belongs to the test.
        serving = asyncio.create_task(server._serve([listening]))
        while not server.started:
            await asyncio.sleep(0.005)
        yield Worker(container, announcer, listening.getsockname()[1])
        server.should_exit = True
        await serving
    await container.close()


def narrow(patch: pytest.MonkeyPatch) -> None:
    """Set small bounds."""
    for name, value in NARROW.items():
        patch.setattr(name, value)
