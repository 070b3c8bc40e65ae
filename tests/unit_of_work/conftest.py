"""A factory over the pool of all tests, what it announces, and a connection outside of that pool."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from messenger.config import Settings
from messenger.unit_of_work import UnitOfWorkFactory
from tests.support.units_of_work import Recorder, factory_over


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def factory(engine: AsyncEngine, recorder: Recorder) -> UnitOfWorkFactory:
    made: UnitOfWorkFactory = factory_over(engine, recorder)
    return made


@pytest.fixture
async def outside(settings: Settings) -> AsyncIterator[Any]:
    """A connection that does not belong to the pool."""
    connection = await asyncpg.connect(settings.database_url)
    yield connection
    await connection.close()


@pytest.fixture
def key() -> str:
    """A key that no other test uses."""
    return secrets.token_hex(8)
