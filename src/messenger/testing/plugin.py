"""The pytest fixtures; see `messenger.testing`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any, cast

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
from messenger.database.engine import create_engine
from messenger.embedded.postgres import EmbeddedPostgres
from messenger.events import Announcer, WakeUp
from messenger.testing.databases import create_database, name_of, temporary_database
from messenger.testing.factories import Factory
from messenger.testing.folders import memory_folder
from messenger.testing.statements import StatementLog


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL whose role may create databases: `MESSENGER_TEST_DATABASE_URL`, or a new one in memory.

    `MESSENGER_TEST_POSTGRES_BIN` selects its binaries, for example `/usr/lib/postgresql/15/bin`.
    """
    given = os.environ.get("MESSENGER_TEST_DATABASE_URL")
    if given:
        yield given
        return
    binaries = os.environ.get("MESSENGER_TEST_POSTGRES_BIN")
    bin_dir = Path(binaries) if binaries else None
    with (
        memory_folder("tests") as folder,
        EmbeddedPostgres(folder / "postgres", bin_dir=bin_dir, durable=False) as server,
    ):
        yield server.start()


@pytest.fixture(scope="session")
def template_name(postgres_url: str) -> str:
    """A template database, whose schema was created by the migrations."""
    url = asyncio.run(create_database(postgres_url))
    migrations.upgrade(url)
    return name_of(url)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def database_url(postgres_url: str, template_name: str) -> str:
    """The database shared by the tests of this process."""
    return await create_database(postgres_url, template_name)


@pytest_asyncio.fixture(loop_scope="session")
async def fresh_database_url(postgres_url: str, template_name: str) -> AsyncIterator[str]:
    """A new database for this test."""
    async with temporary_database(postgres_url, template_name) as url:
        yield url


@pytest.fixture(scope="session")
def settings(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings for tests: cheap password hashes, no rate limits, an activity stamp on every request."""
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
    """The engine and a log of its statements; the log must be created before the connections."""
    engine = create_engine(settings.database_url, settings)
    yield engine, StatementLog(engine)
    await engine.dispose()


@pytest.fixture(scope="session")
def engine(observed_engine: tuple[AsyncEngine, StatementLog]) -> AsyncEngine:
    """The engine, shared by all tests."""
    return observed_engine[0]


@pytest.fixture(scope="session")
def statements(observed_engine: tuple[AsyncEngine, StatementLog]) -> StatementLog:
    """The log of statements: `async with statements.recording() as sent`."""
    return observed_engine[1]


@pytest.fixture
def clock() -> FixedClock:
    """The clock of the container."""
    return FixedClock()


@pytest_asyncio.fixture(loop_scope="session")
async def container(
    settings: Settings, engine: AsyncEngine, statements: StatementLog, clock: FixedClock
) -> AsyncIterator[Container]:
    """All services, on the shared engine, with a fixed clock."""
    container = Container(settings, engine=engine, clock=clock)
    yield container
    await container.close()


@pytest_asyncio.fixture(loop_scope="session")
async def limited(settings: Settings, engine: AsyncEngine, clock: FixedClock) -> AsyncIterator[Container]:
    """`container` with rate limits."""
    container = Container(msgspec.structs.replace(settings, rate_limits="on"), engine=engine, clock=clock)
    yield container
    await container.close()


@pytest.fixture
def make(container: Container) -> Factory:
    """The factory of users, contacts and messages."""
    return Factory(container)


class AnnouncementRecorder:
    """Records announced events, and passes them on."""

    def __init__(self, announcer: Announcer) -> None:
        self.announcer = announcer
        self.news: list[WakeUp] = []
        self.receipts: list[int] = []

    async def announce(self, news: list[WakeUp]) -> None:
        self.news.extend(news)
        await self.announcer.announce(news)

    def announce_receipts(self, group_ids: Iterable[int]) -> None:
        groups = list(group_ids)
        self.receipts.extend(groups)
        self.announcer.announce_receipts(groups)


@pytest.fixture
def recorder(container: Container) -> Iterator[AnnouncementRecorder]:
    """What is announced after commits."""
    recorder = AnnouncementRecorder(container.uow.announcer)
    container.uow.announcer = recorder
    yield recorder
    container.uow.announcer = recorder.announcer


@pytest.fixture
def published(recorder: AnnouncementRecorder) -> list[WakeUp]:
    """The events announced after commits."""
    return recorder.news


@pytest.fixture
def app(container: Container) -> Litestar:
    """The application with the container of this test."""
    return create_app(container)


@pytest_asyncio.fixture(loop_scope="session")
async def client(app: Litestar) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the application, without a network."""
    transport = httpx.ASGITransport(cast(Any, app), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://messenger.test") as client:
        yield client
