"""A small data set for the reference servers of the benchmarks, and the servers."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec
import pytest_asyncio

from messenger.app import create_app
from messenger.config import Settings
from messenger.container import Container
from messenger.testing.databases import temporary_database

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from _yardsticks.ceiling import Ceiling
from _yardsticks.world import World


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world_url(postgres_url: str, template_name: str) -> AsyncIterator[str]:
    """A database with the data set, shared by all tests of a file, because filling it takes longer than they do."""
    async with temporary_database(postgres_url, template_name) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def head(world_url: str) -> int:
    """The end of the hub's stream in that data set."""
    return await World.write(world_url, hubs=1)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ours(world_url: str, head: int, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """The product over that data set."""
    container = Container(
        msgspec.structs.replace(settings, database_url=world_url, activity_resolution=30.0, pool_size=2)
    )
    async with _client_of(create_app(container)) as client:
        yield client
    await container.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ceiling(world_url: str, head: int) -> AsyncIterator[httpx.AsyncClient]:
    """The ceiling server over that data set."""
    app = Ceiling(world_url, pool_size=2)
    await app.open()
    async with _client_of(app) as client:
        yield client
    await app.close()


def _client_of(app: object) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(cast(Any, app)), base_url="http://messenger.test")
