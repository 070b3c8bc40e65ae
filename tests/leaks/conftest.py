"""Many requests to a server of its own, with a working database and with one that refuses everything; then the
evidence.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
import pytest_asyncio

from messenger.config import Settings
from messenger.container import Container
from messenger.testing.databases import temporary_database
from tests.leaks._canaries import Canaries
from tests.leaks._evidence import Logs, Problems, dump
from tests.leaks._walk import Walk
from tests.support.served import serving
from tests.support.sockets import Realtime


class Evidence(msgspec.Struct, frozen=True):
    """Everything that remains after all requests."""

    canaries: Canaries
    tokens: list[str]
    """Every access token, refresh token and ticket that was given."""
    log_text: str
    log_json: str
    problems: list[str]
    statuses: set[int]
    metrics: str
    database: dict[str, str]
    password_hashes: list[str]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def own_database(postgres_url: str, template_name: str) -> AsyncIterator[tuple[Any, str]]:
    """A connection to a database of this folder's own, and its address."""
    async with temporary_database(postgres_url, template_name) as url:
        connection = await asyncpg.connect(url)
        yield connection, url
        await connection.close()


def _settings(database_url: str, folder: Path, canaries: Canaries) -> Settings:
    return Settings(
        database_url=database_url,
        data_dir=folder,
        storage_url="memory:///",
        bus_url="local:",
        password_time_cost=1,
        password_memory_cost=32,
        activity_resolution=0,
        access_log="on",
        log_level="debug",
        turn_urls=("turn:turn.example:3478",),
        secret=canaries["server_secret"],
        metrics_token=canaries["metrics_token"],
        turn_secret=canaries["turn_secret"],
    )


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def evidence(own_database: tuple[Any, str], tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """The evidence of all requests, successful and failing."""
    canaries, logs, problems = Canaries(), Logs(), Problems()
    connection, url = own_database
    container = Container(_settings(url, tmp_path_factory.mktemp("secrets"), canaries))
    with logs.writing():
        async with (
            container.realtime.running(),
            serving(container) as (_, port),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", event_hooks={"response": [problems.see]}) as client,
        ):
            ada, bob = [Walk(client, Realtime(port), canaries, problems) for _ in range(2)]
            await _walk(ada, bob, connection)
        await container.close()
    return Evidence(
        canaries,
        [token for walk in (ada, bob) for token in walk.tokens],
        logs.text.getvalue(),
        logs.json.getvalue(),
        problems.texts,
        problems.statuses,
        container.metrics.render().decode(),
        await dump(connection),
        [row["password_hash"] for row in await connection.fetch("SELECT password_hash FROM users")],
    )


async def _walk(ada: Walk, bob: Walk, connection: Any) -> None:
    await bob.sign_up("harbour-violet-tundra-58")
    await ada.sign_up(ada.canaries["password"])
    await _do_all(ada, bob)
    await ada.renew()
    tables = [row[0] for row in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    # Every write is refused, and PostgreSQL's error contains the whole row.
    for table in tables:
        await connection.execute(f"ALTER TABLE {table} ADD CONSTRAINT broken CHECK (false) NOT VALID")
    await _do_all(ada, bob)
    await ada.sign_up(ada.canaries["password"])
    # Reading images is refused, too.
    await connection.execute("ALTER TABLE avatars RENAME COLUMN state TO lost")
    await ada.wander()
    await connection.execute("ALTER TABLE avatars RENAME COLUMN lost TO state")


async def _do_all(ada: Walk, bob: Walk) -> None:
    await ada.describe()
    await ada.meet(bob)
    await ada.write(bob)
    await ada.gather(bob)
    await ada.talk(bob)
    await ada.wander()
