"""Fixtures that several folders share: an application with a test clock, and a server on a real port."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio
from litestar import Litestar
from sqlalchemy.ext.asyncio import AsyncEngine

from messenger.app import create_app
from messenger.clock import FixedClock
from messenger.config import Settings
from messenger.container import Container
from messenger.testing import Factory, StatementLog
from tests.support.served import serving
from tests.support.sockets import Realtime


@pytest.fixture(scope="session")
def clock() -> FixedClock:
    """One clock for all tests: a test may advance it, and may not set it."""
    return FixedClock()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def container(
    settings: Settings, engine: AsyncEngine, statements: StatementLog, clock: FixedClock
) -> AsyncIterator[Container]:
    container = Container(settings, engine=engine, clock=clock)
    yield container
    await container.close()


@pytest.fixture(scope="session")
def app(container: Container) -> Litestar:
    """Creating an application takes longer than most of these tests."""
    return create_app(container)


@pytest_asyncio.fixture(loop_scope="session")
async def hosted(settings: Settings, engine: AsyncEngine) -> AsyncIterator[Container]:
    """Services with the real clock and their background tasks; activity stamps are rare, since they are not tested
    here.
    """
    container = Container(msgspec.structs.replace(settings, activity_resolution=3600.0), engine=engine)
    async with container.realtime.running():
        yield container
    await container.close()


@pytest_asyncio.fixture(loop_scope="session")
async def realtime(hosted: Container) -> AsyncIterator[Realtime]:
    """A server, and sockets to it."""
    async with serving(hosted) as (_, port):
        yield Realtime(port, hosted.realtime.presence._pass)


@pytest_asyncio.fixture(loop_scope="session")
async def people(hosted: Container) -> Factory:
    """Users of the hosted container: their actions are announced to its sockets."""
    return Factory(hosted)
