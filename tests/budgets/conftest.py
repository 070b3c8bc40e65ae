"""Services over one connection whose statements are counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import msgspec
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from messenger.app import create_app
from messenger.clock import FixedClock
from messenger.config import Settings
from messenger.container import Container
from messenger.database.engine import create_engine
from messenger.testing import StatementLog

METRICS_TOKEN = "numbers-for-prometheus-alone-47"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def one_connection(settings: Settings) -> AsyncIterator[AsyncEngine]:
    """A pool of one connection, so that asyncpg looks up each type once, before anything is counted."""
    engine = create_engine(settings.database_url, msgspec.structs.replace(settings, pool_size=1))
    yield engine
    await engine.dispose()


@pytest.fixture(scope="module")
def log(one_connection: AsyncEngine) -> StatementLog:
    return StatementLog(one_connection)


@pytest_asyncio.fixture(loop_scope="session")
async def settled(
    settings: Settings, one_connection: AsyncEngine, log: StatementLog, clock: FixedClock
) -> AsyncIterator[Container]:
    """Services with the default activity resolution, and users who have just been active."""
    settled = msgspec.structs.replace(settings, activity_resolution=30.0, metrics_token=METRICS_TOKEN)
    container = Container(settled, engine=one_connection, clock=clock)
    yield container
    await container.close()


@pytest_asyncio.fixture(loop_scope="session")
async def http(settled: Container) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(cast(Any, create_app(settled)))
    async with httpx.AsyncClient(transport=transport, base_url="http://messenger.test") as client:
        yield client
