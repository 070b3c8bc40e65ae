"""A client whose every response is compared with the OpenAPI document, over one application for this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio
from litestar import Litestar

from messenger.testing import Factory, Person
from tests.support.fixtures import app, clock, container
from tests.support.http import Witness, client_of

__all__ = ["app", "clock", "container"]

Snapshot = Callable[[Person], Awaitable[Any]]


@pytest_asyncio.fixture(loop_scope="session")
async def client(app: Litestar) -> AsyncIterator[httpx.AsyncClient]:
    """A client; at the end of the test every response must have matched the document."""
    witness = Witness()
    async with client_of(app, event_hooks={"response": [witness.see]}) as client:
        yield client
    assert witness.faults == []


@pytest_asyncio.fixture(loop_scope="session")
async def unwatched(app: Litestar) -> AsyncIterator[httpx.AsyncClient]:
    """A client for what the document does not describe: server errors."""
    async with client_of(app) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def ada(make: Factory) -> Person:
    """A signed-in user."""
    return await make.person()


@pytest_asyncio.fixture(loop_scope="session")
async def bob(make: Factory, ada: Person) -> Person:
    """A mutual contact of Ada's."""
    bob = await make.person(name="Bob")
    await make.befriend(ada, bob)
    return bob


@pytest.fixture
def snapshot(client: httpx.AsyncClient) -> Snapshot:
    """Everything that a user can see of the account: a refused request must not change it."""

    async def take(person: Person) -> Any:
        paths = ("/profile", "/devices", "/contacts", "/conversations", "/statuses")
        answers = [await client.get(path, headers=person.headers) for path in paths]
        return [answer.json() for answer in answers]

    return take
