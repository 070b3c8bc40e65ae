"""A client whose every answer is compared with the document, over one application for all tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import httpx
import pytest
import pytest_asyncio
from litestar import Litestar
from sqlalchemy.ext.asyncio import AsyncEngine

from messenger.app import create_app
from messenger.clock import FixedClock
from messenger.config import Settings
from messenger.container import Container
from messenger.testing import Factory, Person, StatementLog
from tests.support.http import Witness

Snapshot = Callable[[Person], Awaitable[Any]]


@pytest.fixture(scope="session")
def clock() -> FixedClock:
    """One time for all: a test may move it on, and may not say what time it is."""
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
    """Making an application takes longer than most of these tests."""
    return create_app(container)


def client_of(app: Litestar, **options: Any) -> httpx.AsyncClient:
    """A client of an application, in this event loop."""
    transport = httpx.ASGITransport(cast(Any, app), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://messenger.test", **options)


@pytest_asyncio.fixture(loop_scope="session")
async def client(app: Litestar) -> AsyncIterator[httpx.AsyncClient]:
    """A client; at the end of the test the document must have told of all that it was answered."""
    witness = Witness()
    async with client_of(app, event_hooks={"response": [witness.see]}) as client:
        yield client
    assert witness.faults == []


@pytest_asyncio.fixture(loop_scope="session")
async def unwatched(app: Litestar) -> AsyncIterator[httpx.AsyncClient]:
    """A client for what the document doesn't tell of: faults of our own."""
    async with client_of(app) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def ada(make: Factory) -> Person:
    """Somebody who is signed in."""
    return await make.person()


@pytest_asyncio.fixture(loop_scope="session")
async def bob(make: Factory, ada: Person) -> Person:
    """A mutual contact of Ada's."""
    bob = await make.person(name="Bob")
    await make.befriend(ada, bob)
    return bob


@pytest.fixture
def snapshot(client: httpx.AsyncClient) -> Snapshot:
    """All that a person can see of their account: it must not change by what was refused."""

    async def take(person: Person) -> Any:
        paths = ("/profile", "/devices", "/contacts", "/conversations", "/statuses")
        answers = [await client.get(path, headers=person.headers) for path in paths]
        return [answer.json() for answer in answers]

    return take
