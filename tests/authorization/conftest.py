"""A database of this folder's own, which only the tests change, and a server over it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest
import pytest_asyncio
from litestar import Litestar
from sqlalchemy.ext.asyncio import AsyncEngine

from messenger.app import create_app
from messenger.config import Settings
from messenger.container import Container
from messenger.database.engine import create_engine
from messenger.media.processor import Avatar
from messenger.testing import Factory, StatementLog
from messenger.testing.databases import temporary_database
from tests.authorization._people import Cast
from tests.support.http import client_of
from tests.support.served import serving
from tests.support.sockets import Realtime


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def settings(settings: Settings, postgres_url: str, template_name: str) -> AsyncIterator[Settings]:
    """The settings of all tests with another database, with metrics, so that access to them can be refused, and with
    rare activity stamps.
    """
    async with temporary_database(postgres_url, template_name) as url:
        token = "a token of the operator's alone, 32+"
        yield msgspec.structs.replace(settings, database_url=url, metrics_token=token, activity_resolution=3600.0)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def observed_engine(settings: Settings) -> AsyncIterator[tuple[AsyncEngine, StatementLog]]:
    engine = create_engine(settings.database_url, settings)
    yield engine, StatementLog(engine)
    await engine.dispose()


@pytest.fixture(scope="session")
def engine(observed_engine: tuple[AsyncEngine, StatementLog]) -> AsyncEngine:
    return observed_engine[0]


@pytest.fixture(scope="session")
def statements(observed_engine: tuple[AsyncEngine, StatementLog]) -> StatementLog:
    return observed_engine[1]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def container(settings: Settings, engine: AsyncEngine, statements: StatementLog) -> AsyncIterator[Container]:
    """With the real clock. Only the background tasks that sockets need are run, and only for tests with sockets."""
    container = Container(settings, engine=engine)
    patch = pytest.MonkeyPatch()
    patch.setattr(container.images, "avatar", _decoded)
    yield container
    patch.undo()
    await container.close()


async def _decoded(data: bytes) -> Avatar:
    """Accept any bytes as an image: decoding is tested elsewhere."""
    return Avatar(hashlib.sha256(data).hexdigest(), data, data, 64, 64, "cGxhY2Vob2xkZXI=")


@pytest.fixture
def make(container: Container) -> Factory:
    """Users and their relations."""
    return Factory(container)


@pytest.fixture(scope="session")
def app(container: Container) -> Litestar:
    """One application for all tests: creating it takes longer than most of them."""
    return create_app(container)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def client(app: Litestar) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application, in this event loop."""
    async with client_of(app) as client:
        yield client


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def workers(settings: Settings) -> AsyncIterator[list[Realtime]]:
    """Two servers on real ports with one database, each with a pool of its own; they wake each other over the bus."""
    async with contextlib.AsyncExitStack() as undo:
        yield [await undo.enter_async_context(_worker(settings)) for _ in range(2)]


@contextlib.asynccontextmanager
async def _worker(settings: Settings) -> AsyncIterator[Realtime]:
    container = Container(msgspec.structs.replace(settings, bus_url="postgres:", pool_size=5))
    async with container.realtime.running(), serving(container) as (_, port):
        yield Realtime(port, container.realtime.presence._pass)
    await container.close()


@pytest.fixture(scope="session")
def realtime(workers: list[Realtime]) -> Realtime:
    """The first of the two servers."""
    return workers[0]


@pytest.fixture(scope="session")
def standing(container: Container) -> Cast:
    """Users that no test changes: for refused and read-only requests."""
    return Cast(container)


@pytest.fixture
def cast(container: Container) -> Cast:
    """Users of this test's own."""
    return Cast(container)
